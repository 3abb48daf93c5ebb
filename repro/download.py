"""Fetching a file over HTTP: resumed after a break, checked against its checksum, in place only when whole.

A checksum is written "md5:..." or "sha256:..."; of a sha256 the first digits are enough.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from repro.errors import DownloadError

Progress = Callable[[int, int | None], object]  # bytes here so far, bytes in all (None = not told)
PIECE = 2**16  # what a break can lose
ATTEMPTS = 4
WAIT_S = 1.0  # doubled after each failed attempt
TIMEOUT_S = 60.0
SHORTEST_SHA256 = 8  # torchvision and OpenMMLab print the first 8 hex digits in their file names


def fetch(url: str, path: Path, *, checksum: str | None, progress: Progress | None = None) -> str:
    """Fetch `url` to `path` and return its digest (hex), of the kind of `checksum`; sha256 without one.

    What came before a break lies in `<path>.part` and is not fetched again. A file with another checksum is
    deleted and a DownloadError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    _complete(url, part, path.name, progress)
    try:
        again = "repeat the command; if it happens again, the source changed"
        found = checked(part, checksum, where=url, hint=again)
    except DownloadError:
        part.unlink()  # the next try starts anew
        raise
    part.replace(path)
    return found


def checked(path: Path, checksum: str | None, *, where: object = None, hint: str | None = None) -> str:
    """The digest (hex) of `path`, of the kind of `checksum`; DownloadError when it is another one."""
    kind, _, wanted = (checksum or "sha256:").partition(":")
    found = digest(path, kind)
    enough = SHORTEST_SHA256 if kind == "sha256" else len(found)
    if checksum is not None and not (len(wanted) >= enough and found.startswith(wanted.lower())):
        what = f"the file has another {kind}: {found}"
        raise DownloadError(what, where=where or path, allowed=wanted, hint=hint)
    return found


def digest(path: Path, kind: str) -> str:
    """The digest (hex) of a file, `kind` as hashlib names it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


@contextmanager
def or_by_hand(way: str) -> Iterator[None]:
    """Add the way by hand to what a DownloadError raised inside advises."""
    try:
        yield
    except DownloadError as error:
        error.hint = f"{error.hint}; or {way}" if error.hint else way
        raise


def _complete(url: str, part: Path, name: str, progress: Progress | None) -> None:
    """Request what is not in `part` yet; a connection that breaks is tried again."""
    import requests  # a tenth of a second that only a download should pay

    breaks = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _request(url, part, name, progress)
        except requests.RequestException as error:
            if attempt == ATTEMPTS or not isinstance(error, breaks):
                again = "repeat the command: it goes on from there"
                raise DownloadError(
                    f"cannot fetch {name}: {_reason(error)}", where=url, hint=again
                ) from error
        time.sleep(WAIT_S * 2 ** (attempt - 1))


def _request(url: str, part: Path, name: str, progress: Progress | None) -> None:
    """One request for the rest, which goes to the end of `part`; a server without ranges sends everything."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        if have and answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # the part is whole already; the checksum decides
        if not answer.ok:
            what = f"cannot fetch {name}: the server says {answer.status_code} {answer.reason}"
            raise DownloadError(what, where=url)
        resumed = answer.status_code == HTTPStatus.PARTIAL_CONTENT
        length = answer.headers.get("Content-Length")
        total = int(length) + (have if resumed else 0) if length else None
        with part.open("ab" if resumed else "wb") as file:
            for piece in answer.iter_content(PIECE):
                file.write(piece)
                if progress:
                    progress(file.tell(), total)


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection ended early"
    return "could not reach the server" if isinstance(error, requests.ConnectionError) else str(error)
