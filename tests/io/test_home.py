"""The cache folder of downloaded weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from repro.io.home import home


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without the variable."""
    monkeypatch.delenv("REPRO_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_it_is_in_the_cache_folder_of_the_user(user: Path) -> None:
    assert home() == user / "cache" / "deeplab-repro"


def test_a_variable_moves_it(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_HOME", "~/weights-of-mine")
    assert home() == user / "weights-of-mine"


def test_the_folder_of_an_earlier_release_is_found(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    old = user / "Library" / "Caches" / "deeplab-repro"
    assert home() != old
    old.mkdir(parents=True)
    assert home() == old
