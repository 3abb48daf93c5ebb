"""Fetching the owner's archives where an anonymous download is allowed."""

from __future__ import annotations

from pathlib import Path

from repro.datasets.sets.spec import Download
from repro.errors import DownloadError
from repro.io import download

TOLERATED = 2.0  # times the known size (two digits): an owner may add files, a server may not fill the disk


def fetch(file: Download, folder: Path, *, progress: download.Progress | None = None) -> Path:
    """The file in `folder`, a part of an earlier attempt continued; DownloadError says what failed.

    A file that is here already is checked as a new one is, and fetched again where it is another or damaged.
    """
    if file.url is None:
        raise DownloadError(
            f"{file.name} cannot be fetched anonymously",
            where=file.page,
            hint="download it there in a browser, then `repro data link NAME FOLDER`",
        )
    path = folder / file.name
    if not _is_good(path, file):
        with download.with_alternative(f"download it by hand from the owner's page: {file.page}"):
            largest = int((TOLERATED * file.size_GB + 0.1) * 1e9)
            download.fetch(file.url, path, checksum=file.checksum, progress=progress, max_bytes=largest)
    return path


def _is_good(path: Path, file: Download) -> bool:
    """Whether `path` is here and whole; a bad one is deleted, for everything here was fetched."""
    if not path.exists():
        return False
    try:
        if file.checksum is None:
            download.check_content(path, file.name, where=path)
        download.verify_checksum(path, file.checksum)
    except DownloadError:
        path.unlink()
        return False
    return True
