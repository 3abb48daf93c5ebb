"""Files that would block are never opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from repro.datasets.prepare.prepared_split import Split
from repro.datasets.raw.source import Source
from repro.errors import DataError
from repro.io.limits import require_regular


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "a.png"
    path.parent.mkdir()
    os.mkfifo(path)
    return path


def test_a_fifo_among_the_data_is_named(fifo: Path) -> None:
    with Source.open(fifo.parent) as source, pytest.raises(DataError, match="not a regular file"):
        source.read("a.png")
    with pytest.raises(DataError, match="not a regular file"):
        Split.open(fifo)


def test_an_archive_that_is_a_fifo_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.zip")
    with pytest.raises(DataError, match="not a regular file"):
        Source.open(tmp_path)


def test_missing_files_and_folders_are_left_to_the_reader(tmp_path: Path) -> None:
    require_regular(tmp_path, error=DataError)
    require_regular(tmp_path / "missing", error=DataError)
