"""Fetching the owner's archives where an anonymous download is allowed."""

from __future__ import annotations

from pathlib import Path

from repro import download
from repro.datasets.spec import Download
from repro.errors import DownloadError


def fetch(file: Download, folder: Path, *, progress: download.Progress | None = None) -> Path:
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
        with download.or_by_hand(f"download it by hand from the owner's page: {file.page}"):
            download.fetch(file.url, path, checksum=file.checksum, progress=progress)
    return path
