"""Fetching the owner's archives where an anonymous download is allowed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from repro import download
from repro.datasets.spec import Download
from repro.errors import DownloadError

Progress = Callable[[str, int, int], None]  # file, bytes done, bytes in all (0: unknown)


def fetch(file: Download, folder: Path, *, progress: Progress | None = None) -> Path:
    """The file in `folder`; a part of it from an earlier try is continued. DownloadError says what failed.

    A file without a published checksum is only checked for its length.
    """
    if file.url is None:
        raise DownloadError(
            f"{file.name} cannot be fetched anonymously",
            where=file.page,
            hint="download it there in a browser, then `repro data link NAME FOLDER`",
        )
    path = folder / file.name
    if not path.exists():
        tell = partial(_tell, progress, file.name) if progress else None
        with download.or_by_hand(f"download it by hand from the owner's page: {file.page}"):
            download.fetch(file.url, path, checksum=file.checksum, progress=tell)
    return path


def _tell(progress: Progress, name: str, done: int, total: int | None) -> None:
    progress(name, done, total or 0)
