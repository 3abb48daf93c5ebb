"""Fetching a file over HTTP: resumed after a break, checked before it counts, in place only when whole.

A checksum is written "md5:..." or "sha256:..."; of a sha256 the first digits are enough. Without one the file
is checked all the same: status, length, no web page, and an archive can be read to its end. Size, time and
compression are bounded, so that no server can fill a disk or hold a command for ever.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.errors import DownloadError

if TYPE_CHECKING:
    from requests import Response

Progress = Callable[[int, int | None], object]  # bytes here so far, bytes in all (None: unknown)
PIECE = 2**16  # what a break can lose
ATTEMPTS = 4
WAIT_S = 1.0  # doubled after each failed attempt
TIMEOUT_S = 60.0  # without a byte
LARGEST = 100 * 10**9  # bytes; the largest archive of a data set here has 21 GB
SLOWEST = 1_000  # bytes a second over a request that lasts PATIENCE_S or more: a server that never ends
PATIENCE_S = 300.0
SHORTEST_SHA256 = 8  # torchvision and OpenMMLab print the first 8 hex digits in their file names
TARS: dict[str, Callable[..., Any]] = {
    ".tar": open,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}
DAMAGE = (lzma.LZMAError, zlib.error, zipfile.BadZipFile, tarfile.TarError)
PAGE_STARTS = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<script")
PAGES = (".html", ".htm", ".xml", ".svg")


def fetch(
    url: str, path: Path, *, checksum: str | None, progress: Progress | None = None, largest: int = LARGEST
) -> str:
    """Fetch `url` to `path` and return its digest (hex), of the kind of `checksum`; sha256 without one.

    What came before a break stays in `<path>.part` and is not fetched again. A file with another checksum, a
    damaged archive, a web page in place of the file, more than `largest` bytes: deleted, and a DownloadError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        _complete(url, part, path.name, progress, largest)
    except DownloadError:
        if part.exists() and part.stat().st_size > largest:
            part.unlink()
        raise
    try:
        again = "repeat the command; if it happens again, the source changed"
        if checksum is None:
            check_content(part, path.name, where=url)
        found = checked(part, checksum, where=url, hint=again)
    except DownloadError:
        part.unlink()  # the next attempt starts from nothing
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


def check_content(path: Path, name: str, *, where: object) -> None:
    """DownloadError where `path` cannot be the file `name`: empty, a web page, or an archive cut short."""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if not start:
        raise DownloadError("the server sent an empty file", where=where, hint="repeat the command later")
    if start.startswith(PAGE_STARTS) and not name.endswith(PAGES):
        raise _web_page(where)
    damaged = _archive_problem(path, name)
    if damaged:
        hint = "repeat the command; if it happens again, fetch the file in a browser"
        raise DownloadError(f"{name} is not a complete archive: {damaged}", where=where, hint=hint)


def _archive_problem(path: Path, name: str) -> str:
    """Why a .zip or .tar* cannot be read to its end; empty where it can, and for other files."""
    try:
        if name.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                return "" if archive.infolist() else "nothing is in it"
        unpack = next((one for end, one in TARS.items() if name.endswith(end)), None)
        if unpack is not None:
            with unpack(path, "rb") as stream:
                with tarfile.open(fileobj=stream, mode="r|") as packed:
                    entries = sum(1 for _ in packed)
                while stream.read(2**20):
                    pass  # a packed file's own checksum comes last
            return "" if entries else "nothing is in it"
    except (OSError, EOFError, ValueError, *DAMAGE) as error:
        return str(error)[:200] or type(error).__name__
    return ""


@contextmanager
def or_by_hand(way: str) -> Iterator[None]:
    """Add the way without a download to what a DownloadError raised inside advises."""
    try:
        yield
    except DownloadError as error:
        error.hint = f"{error.hint}; or {way}" if error.hint else way
        raise


@contextmanager
def answered() -> Iterator[None]:
    """Whatever an odd address or server makes `requests` raise, as one of its own errors.

    A redirect to `http://[::1`, a host of 64 letters between two dots, or an address without a host end as
    ValueError, UnicodeError or an error of urllib3.
    """
    import requests
    import urllib3

    try:
        yield
    except requests.RequestException:
        raise
    except urllib3.exceptions.TimeoutError as error:
        raise requests.Timeout(str(error)) from None
    except urllib3.exceptions.ProtocolError as error:
        raise requests.exceptions.ChunkedEncodingError(str(error)) from None
    except (ValueError, urllib3.exceptions.HTTPError) as error:
        raise requests.exceptions.InvalidURL(str(error)[:200]) from None


def _complete(url: str, part: Path, name: str, progress: Progress | None, largest: int) -> None:
    """Request what is not in `part` yet; a connection that breaks is tried again."""
    import requests  # a tenth of a second that only a download should pay

    breaks = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with answered():
                return _request(url, part, name, progress, largest)
        except requests.RequestException as error:
            if attempt == ATTEMPTS or not isinstance(error, breaks):
                again = "repeat the command: it resumes there"
                raise DownloadError(
                    f"cannot fetch {name}: {_reason(error)}", where=url, hint=again
                ) from error
        time.sleep(WAIT_S * 2 ** (attempt - 1))


def _request(url: str, part: Path, name: str, progress: Progress | None, largest: int) -> None:
    """One request for the rest, which goes to the end of `part`; a server without ranges sends everything."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        if have and answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _require_whole(answer, part, have, url)
        if not answer.ok:
            what = f"cannot fetch {name}: the server says {answer.status_code} {answer.reason}"
            raise DownloadError(what, where=url)
        _refuse(answer, name, url)
        resumed = answer.status_code == HTTPStatus.PARTIAL_CONTENT
        length = _length(answer)
        total = None if length is None else length + (have if resumed else 0)
        _receive(answer, part, have if resumed else 0, total, progress, largest)


def _require_whole(answer: Response, part: Path, have: int, url: str) -> None:
    """416: nothing lies behind what is here. Where the server says another length, it is another file."""
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if total.isascii() and total.isdigit() and int(total) != have:
        part.unlink()
        what = f"the file changed: {have} bytes are here, the server has {total[:20]}"
        raise DownloadError(what, where=url, hint="repeat the command: it starts from nothing")


def _refuse(answer: Response, name: str, url: str) -> None:
    """Before a byte is written: a web page, or content that is packed for the way."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") and not name.endswith(PAGES):
        raise _web_page(url)
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        what = f"the server sends {name} packed as {encoding[:40]}, unasked"
        raise DownloadError(what, where=url, allowed="the file as it is")


def _length(answer: Response) -> int | None:
    """Content-Length in bytes, None where the server gives no number."""
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _receive(
    answer: Response, part: Path, start: int, total: int | None, progress: Progress | None, largest: int
) -> None:
    """The body to `part` from byte `start`; ConnectionError where it ends before `total`."""
    import requests

    _refuse_size(max(total or 0, start), largest, answer.url)
    with part.open("ab" if start else "wb") as file:
        for piece in body_of(answer):
            file.write(piece)
            _refuse_size(file.tell(), largest, answer.url)
            if progress:
                progress(file.tell(), total)
        if total is not None and file.tell() < total:
            raise requests.exceptions.ChunkedEncodingError(f"{file.tell()} of {total} bytes came")


def body_of(answer: Response) -> Iterator[bytes]:
    """The body as it arrives, undecoded; DownloadError where less than SLOWEST bytes a second arrive.

    `raw.stream` would wait for a whole piece: at a byte a second hours, without a timeout.
    """
    began, received = time.monotonic(), 0
    while piece := answer.raw.read1(PIECE, decode_content=False):
        received += len(piece)
        _refuse_pace(received, time.monotonic() - began, answer.url)
        yield piece


def _refuse_size(size: int, largest: int, url: str) -> None:
    if size > largest:
        raise DownloadError("the file is too large", where=url, allowed=f"at most {largest / 1e9:g} GB")


def _refuse_pace(received: int, seconds: float, url: str) -> None:
    if seconds > PATIENCE_S and received < SLOWEST * seconds:
        what = f"the server sends less than {SLOWEST / 1000:g} kB a second"
        raise DownloadError(what, where=url, hint="repeat the command later: it resumes there")


def _web_page(where: object) -> DownloadError:
    return DownloadError(
        "the server sent a web page, not the file",
        where=where,
        hint="a login, a licence or a quota: open the address in a browser",
    )


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection ended early"
    if isinstance(error, requests.exceptions.InvalidURL):
        return f"not an address that can be fetched: {str(error)[:200]}"
    return "could not reach the server" if isinstance(error, requests.ConnectionError) else str(error)[:300]
