"""Download of raw archives, if anonymous downloads are allowed."""

from __future__ import annotations

from pathlib import Path

from repro.datasets.sets.spec import Download
from repro.errors import DownloadError
from repro.io import download

TOLERATED = 2.0  # times the known size (two digits): archives may grow, but must not fill the disk


def fetch(file: Download, folder: Path, *, progress: download.DownloadProgress | None = None) -> Path:
    """Download a file into `folder`, resuming an earlier attempt. Raises DownloadError.

    An existing file is verified, and downloaded again if it is damaged.
    """
    if file.url is None:
        raise DownloadError(
            f"{file.name} has no anonymous download",
            where=file.page,
            hint="download it in a browser, then `repro data link NAME FOLDER`",
        )
    path = folder / file.name
    if not _is_good(path, file):
        with download.with_alternative(f"download it manually: {file.page}"):
            max_bytes = int((TOLERATED * file.size_GB + 0.1) * 1e9)
            download.fetch(file.url, path, checksum=file.checksum, progress=progress, max_bytes=max_bytes)
    return path


def _is_good(path: Path, file: Download) -> bool:
    """Whether `path` exists and is valid; an invalid download is deleted."""
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
