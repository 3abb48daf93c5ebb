"""Fetching the owner's archives where an anonymous download is allowed: resumed, and checked by hash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from repro.datasets.spec import Download
from repro.errors import DownloadError

Progress = Callable[[str, int, int], None]  # file, bytes done, bytes in all (0: unknown)
CHUNK = 1 << 16  # what is lost when a connection breaks


def fetch(download: Download, folder: Path, *, progress: Progress | None = None) -> Path:
    """The file in `folder`; a part of it from an earlier try is continued. DownloadError says what failed.

    A file without a published checksum is only checked for its length.
    """
    if download.url is None:
        raise DownloadError(
            f"{download.name} cannot be fetched anonymously",
            where=download.page,
            hint="download it there in a browser, then `repro data link NAME FOLDER`",
        )
    target = folder / download.name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{download.name}.part"
        _transfer(download, download.url, part, progress)
        check(download, part)
        os.replace(part, target)
    return target


def check(download: Download, path: Path) -> None:
    """Compare with the owner's checksum; a wrong file is removed, so that the next try starts anew."""
    found = digest(path, download.checksum)
    if found != download.checksum:
        path.unlink()
        raise DownloadError(
            f"{download.name} has the wrong checksum: {found}",
            where=download.url,
            allowed=download.checksum,
            hint="repeat the command; if it happens again, look at the owner's page",
        )


def digest(path: Path, like: str | None) -> str | None:
    """The checksum of a file in the form of `like` ("md5:..." or "sha256:..."); None where that is None."""
    if like is None:
        return None
    kind = like.partition(":")[0]
    with path.open("rb") as handle:
        found = hashlib.file_digest(handle, lambda: hashlib.new(kind, usedforsecurity=False))
    return f"{kind}:{found.hexdigest()}"


def _transfer(download: Download, url: str, part: Path, progress: Progress | None) -> None:
    """Append to `part` from where it ends, or write it anew where the server cannot continue."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
            if have and answer.status_code == 416:  # nothing after the end: the part is whole
                return
            answer.raise_for_status()
            goes_on = answer.status_code == 206
            total = int(answer.headers.get("Content-Length", 0)) + (have if goes_on else 0)
            with part.open("ab" if goes_on else "wb") as out:
                for chunk in _chunks(answer.iter_content(CHUNK)):
                    out.write(chunk)
                    if progress:
                        progress(download.name, out.tell(), total)
        if total and part.stat().st_size != total:
            raise DownloadError("the connection ended early", where=url, hint="repeat the command to go on")
    except requests.RequestException as error:
        hint = "repeat the command to go on, or download it by hand from the owner's page: " + download.page
        why = "could not reach the server" if isinstance(error, requests.ConnectionError) else str(error)
        raise DownloadError(f"cannot fetch {download.name}: {why}", where=url, hint=hint) from error


def _chunks(content: Iterator[bytes]) -> Iterator[bytes]:
    return (chunk for chunk in content if chunk)
