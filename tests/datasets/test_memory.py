"""Large aerial images through the real commands: each process stays below one gigabyte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.large import COMMAND, LOAD, draw, peak

LIMIT = 1000  # megabytes


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("large") / "project")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["potsdam", "inria_aerial"])
def test_large_images_are_checked_and_prepared_in_a_gigabyte(project: Path, name: str) -> None:
    found = {
        "verify": peak(project, COMMAND, "data", "verify", name, "--deep", "--workers", "4"),
        "prepare": peak(project, COMMAND, "prepare", name, "--workers", "4"),
    }
    print(name, found)
    assert max(found.values()) < LIMIT


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whole_images_are_counted_and_read_for_evaluation_in_a_gigabyte(project: Path) -> None:
    peak(project, COMMAND, "prepare", "inria_aerial")
    found = {
        "stats": peak(project, COMMAND, "data", "stats", "inria_aerial"),
        "evaluation": peak(project, LOAD, "prepared/inria_aerial/val.zip"),
    }
    print(found)
    assert max(found.values()) < LIMIT
