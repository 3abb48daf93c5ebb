"""Fetching a file over HTTP: resumed after a break, verified by sha256, in place only when whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import requests

from repro.checkpoints.foreign import sha256_of
from repro.errors import DownloadError

Progress = Callable[[int, int | None], object]  # bytes here so far, bytes in all (None = not told)
PIECE = 2**16  # what a break can lose
ATTEMPTS = 4
WAIT_S = 1.0  # doubled after each failed attempt
TIMEOUT_S = 30.0
SHORTEST_HASH = 8  # torchvision and OpenMMLab print the first 8 hex digits in their file names


def download(
    url: str, path: Path, *, sha256: str | None, progress: Progress | None = None, wait_s: float = WAIT_S
) -> str:
    """Fetch `url` to `path` and return its sha256 (hex).

    What came before a break lies in `<path>.part` and is not fetched again. `sha256` may be a prefix of at
    least 8 digits; another content is deleted and a DownloadError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    for attempt in range(ATTEMPTS):
        try:
            _fetch(url, part, progress)
            break
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            if attempt == ATTEMPTS - 1:
                raise DownloadError(
                    f"could not fetch it: {_reason(error)}",
                    where=url,
                    hint="repeat the command: it goes on from there",
                ) from None
            time.sleep(wait_s * 2**attempt)
    found = verify(part, sha256, what=url)
    part.replace(path)
    return found


def _fetch(url: str, part: Path, progress: Progress | None) -> None:
    """One request for what is not in `part` yet."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # the part is whole already; the sha256 decides
        if not answer.ok:
            raise DownloadError(f"the server says {answer.status_code} {answer.reason}", where=url)
        resumed = answer.status_code == requests.codes.partial_content
        done = have if resumed else 0  # a server that ignores ranges sends everything again
        length = answer.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            for piece in answer.iter_content(PIECE):
                file.write(piece)
                done += len(piece)
                if progress:
                    progress(done, total)


def verify(path: Path, sha256: str | None, *, what: object) -> str:
    """The sha256 of `path`; a file that does not begin with the expected one is deleted."""
    found = sha256_of(path)
    if sha256 is not None and not (len(sha256) >= SHORTEST_HASH and found.startswith(sha256.lower())):
        path.unlink()
        raise DownloadError(
            f"the file has another sha256: {found}",
            where=what,
            allowed=sha256,
            hint="the source changed, or the way did",
        )
    return found


def _reason(error: Exception) -> str:
    return type(error).__name__
