"""HTTP downloads: resumable, verified, and renamed into place only when complete.

A checksum is "md5:..." or "sha256:..."; a prefix of a sha256 suffices. Files without a checksum are checked
for status, length, HTML in place of the file, and truncated archives. Size and duration are bounded, so no
server can fill the disk or block a command forever.
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

DownloadProgress = Callable[[int, int | None], object]  # bytes received, total bytes (None: unknown)
PIECE = 2**16  # bytes; at most this much is lost when a connection breaks
ATTEMPTS = 4
WAIT_S = 1.0  # doubled after each failed attempt
TIMEOUT_S = 60.0  # without receiving a byte
MAX_BYTES = 100 * 10**9  # the largest archive of a supported data set has 21 GB
MIN_BYTES_PER_S = 1_000  # of a request that lasts SPEED_CHECK_AFTER_S or longer
SPEED_CHECK_AFTER_S = 300.0
SHORTEST_SHA256 = 8  # torchvision and OpenMMLab put the first 8 hex digits in their file names
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
    url: str,
    path: Path,
    *,
    checksum: str | None,
    progress: DownloadProgress | None = None,
    max_bytes: int = MAX_BYTES,
) -> str:
    """Download `url` to `path`, resuming from `<path>.part` after an interruption.

    Args:
        checksum: "md5:..." or "sha256:..."; None checks the content only.
        progress: Called with (bytes received, total bytes or None).
        max_bytes: Upper bound of the file size.

    Returns:
        The hex digest of the file, of the same kind as `checksum` (sha256 by default).

    Raises:
        DownloadError: Wrong checksum, corrupt archive, web page or oversized file; the file is deleted. Also
            for connection failures, which keep the partial file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        _complete(url, part, path.name, progress, max_bytes)
    except DownloadError:
        if part.exists() and part.stat().st_size > max_bytes:
            part.unlink()
        raise
    try:
        again = "repeat the command; if it happens again, the source changed"
        if checksum is None:
            check_content(part, path.name, where=url)
        found = verify_checksum(part, checksum, where=url, hint=again)
    except DownloadError:
        part.unlink()  # the next attempt starts from scratch
        raise
    part.replace(path)
    return found


def verify_checksum(
    path: Path, checksum: str | None, *, where: object = None, hint: str | None = None
) -> str:
    """Return the hex digest of `path`. Raises DownloadError if it does not match `checksum`."""
    kind, _, wanted = (checksum or "sha256:").partition(":")
    found = digest(path, kind)
    enough = SHORTEST_SHA256 if kind == "sha256" else len(found)
    if checksum is not None and not (len(wanted) >= enough and found.startswith(wanted.lower())):
        what = f"wrong {kind}: {found}"
        raise DownloadError(what, where=where or path, allowed=wanted, hint=hint)
    return found


def digest(path: Path, kind: str) -> str:
    """Return the hex digest of a file; `kind` is a hashlib name such as "md5"."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def check_content(path: Path, name: str, *, where: object) -> None:
    """Raise DownloadError if `path` is not the file `name` but empty, a web page or a truncated archive."""
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
    """Why a .zip or .tar* cannot be read completely; "" if it can, and for other files."""
    try:
        if name.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                return "" if archive.infolist() else "it is empty"
        unpack = next((one for end, one in TARS.items() if name.endswith(end)), None)
        if unpack is not None:
            with unpack(path, "rb") as stream:
                with tarfile.open(fileobj=stream, mode="r|") as packed:
                    entries = sum(1 for _ in packed)
                while stream.read(2**20):
                    pass  # the checksum of a compressed file is at its end
            return "" if entries else "it is empty"
    except (OSError, EOFError, ValueError, *DAMAGE) as error:
        return str(error)[:200] or type(error).__name__
    return ""


@contextmanager
def with_alternative(hint: str) -> Iterator[None]:
    """Append `hint`, a way to get the file without this download, to any DownloadError raised inside."""
    try:
        yield
    except DownloadError as error:
        error.hint = f"{error.hint}; or {hint}" if error.hint else hint
        raise


@contextmanager
def requests_errors() -> Iterator[None]:
    """Convert errors that `requests` lets through into requests' own exceptions.

    For a redirect to `http://[::1`, a host label of 64 letters or a URL without a host, requests raises
    ValueError, UnicodeError or a urllib3 error.
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


def _complete(url: str, part: Path, name: str, progress: DownloadProgress | None, max_bytes: int) -> None:
    """Request what `part` does not hold yet; retry when the connection breaks."""
    import requests  # takes 0.1 s, so only when needed

    breaks = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with requests_errors():
                return _request(url, part, name, progress, max_bytes)
        except requests.RequestException as error:
            if attempt == ATTEMPTS or not isinstance(error, breaks):
                again = "repeat the command: it resumes the download"
                raise DownloadError(
                    f"cannot fetch {name}: {_reason(error)}", where=url, hint=again
                ) from error
        time.sleep(WAIT_S * 2 ** (attempt - 1))


def _request(url: str, part: Path, name: str, progress: DownloadProgress | None, max_bytes: int) -> None:
    """Request the remaining bytes and append them to `part`; a server without ranges sends the whole file."""
    import requests

    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        if have and answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _require_whole(answer, part, have, url)
        if not answer.ok:
            what = f"cannot fetch {name}: the server answered {answer.status_code} {answer.reason}"
            raise DownloadError(what, where=url)
        _check_headers(answer, name, url)
        resumed = answer.status_code == HTTPStatus.PARTIAL_CONTENT
        length = _length(answer)
        total = None if length is None else length + (have if resumed else 0)
        _receive(answer, part, have if resumed else 0, total, progress, max_bytes)


def _require_whole(answer: Response, part: Path, have: int, url: str) -> None:
    """Handle status 416: `part` is complete, unless the server reports another length."""
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    if total.isascii() and total.isdigit() and int(total) != have:
        part.unlink()
        what = f"the file changed: {have} bytes were downloaded, the server has {total[:20]}"
        raise DownloadError(what, where=url, hint="repeat the command: it starts from scratch")


def _check_headers(answer: Response, name: str, url: str) -> None:
    """Raise DownloadError for a web page or a compressed transfer, before anything is written."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") and not name.endswith(PAGES):
        raise _web_page(url)
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        what = f"the server sends {name} with unrequested Content-Encoding {encoding[:40]}"
        raise DownloadError(what, where=url, allowed="identity")


def _length(answer: Response) -> int | None:
    """Content-Length in bytes; None if it is absent or not a number."""
    text = answer.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _receive(
    answer: Response,
    part: Path,
    start: int,
    total: int | None,
    progress: DownloadProgress | None,
    max_bytes: int,
) -> None:
    """Write the body to `part` from byte `start`; ChunkedEncodingError if it ends before `total`."""
    import requests

    _check_size(max(total or 0, start), max_bytes, answer.url)
    with part.open("ab" if start else "wb") as file:
        for piece in read_body(answer):
            file.write(piece)
            _check_size(file.tell(), max_bytes, answer.url)
            if progress:
                progress(file.tell(), total)
        if total is not None and file.tell() < total:
            raise requests.exceptions.ChunkedEncodingError(f"received {file.tell()} of {total} bytes")


def read_body(answer: Response) -> Iterator[bytes]:
    """Yield the undecoded body as it arrives; DownloadError if it is slower than MIN_BYTES_PER_S.

    `raw.stream` waits for a whole piece: hours at 1 byte/s, without a timeout.
    """
    began, received = time.monotonic(), 0
    while piece := answer.raw.read1(PIECE, decode_content=False):
        received += len(piece)
        _check_speed(received, time.monotonic() - began, answer.url)
        yield piece


def _check_size(size: int, max_bytes: int, url: str) -> None:
    if size > max_bytes:
        raise DownloadError("the file is too large", where=url, allowed=f"at most {max_bytes / 1e9:g} GB")


def _check_speed(received: int, seconds: float, url: str) -> None:
    if seconds > SPEED_CHECK_AFTER_S and received < MIN_BYTES_PER_S * seconds:
        what = f"the server sends less than {MIN_BYTES_PER_S / 1000:g} kB/s"
        raise DownloadError(what, where=url, hint="repeat the command later: it resumes the download")


def _web_page(where: object) -> DownloadError:
    return DownloadError(
        "the server sent a web page, not the file",
        where=where,
        hint="it may require a login, a licence or have a quota: open the URL in a browser",
    )


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection ended early"
    if isinstance(error, requests.exceptions.InvalidURL):
        return f"invalid URL: {str(error)[:200]}"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"the server sent nothing for {TIMEOUT_S:g} seconds"
    return "could not reach the server" if isinstance(error, requests.ConnectionError) else str(error)[:300]
