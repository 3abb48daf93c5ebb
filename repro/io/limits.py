"""Size limits of all input files, and reads that check the size first.

Each limit is at least ten times the largest file this project has written. A larger file is rejected before
it is parsed, because a parser could take minutes or all memory for it.
"""

from __future__ import annotations

import stat
from pathlib import Path

from repro.errors import ReproError

MiB = 2**20
YAML_BYTES = MiB  # the root params.yaml has 12 kB
YAML_NODES = 100_000  # scalars, lists and mappings with all aliases expanded
LOCK_BYTES = 64 * MiB  # dvc.lock of a project: 1 kB per experiment
JSON_BYTES = 32 * MiB  # a record with 150 classes and ten protocols has 200 kB
NPZ_BYTES = 1024 * MiB  # per-image confusions, compressed and expanded; 2,000 images x 150 classes: 20 MB
CSV_BYTES = 32 * MiB  # a confusion matrix of 254 classes has 2 MB
JOURNAL_BYTES = 1024 * MiB  # about 100 bytes per line; the longest training wrote 2 MB
PAGE_BYTES = MiB  # a results page; the longest published one has 70 kB
PAGE_LINES = 5_000
LINE_CHARACTERS = 10_000  # of a results page; the longest published line has 700
TABLE_COLUMNS = 100
DEPTH = 50  # nesting of lists and mappings; params have 4
DIGITS = 40  # per number
OVERLAY_BYTES = 64 * MiB  # file size of an overlay image
OVERLAY_PIXELS = 64 * 2**20  # declared size of an overlay image


def read_limited(path: Path, limit: int, *, error: type[ReproError], hint: str | None = None) -> bytes:
    """Read a regular file of at most `limit` bytes. Raises `error` otherwise, FileNotFoundError if missing.

    A FIFO or a device is never opened, because reading it could block.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise error("cannot be read: a folder, not a file", where=path, hint=hint)
        if not stat.S_ISREG(found.st_mode):
            raise error("cannot be read: not a regular file", where=path, hint=hint)
        require_size(found.st_size, limit, path, error=error, hint=hint)
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as failed:
        raise error(f"cannot be read: {failed.strerror}", where=path, hint=hint) from None


def require_regular(path: Path, *, error: type[ReproError], hint: str | None = None) -> None:
    """Raise `error` if `path` is a FIFO or a device, which could block. Folders and missing files pass."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # the caller's open names it
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise error("cannot be read: not a regular file", where=path, hint=hint)


def require_size(size: int, limit: int, where: object, *, error: type[ReproError], hint: str | None) -> None:
    """Raise `error` if `size` exceeds `limit`, both in bytes."""
    if size > limit:
        allowed = f"at most {limit / MiB:g} MiB"
        raise error(f"the file is too large: {size / MiB:,.1f} MiB", where=where, allowed=allowed, hint=hint)


def read_text(path: Path, limit: int, *, error: type[ReproError], hint: str | None = None) -> str:
    """Read a UTF-8 text file; otherwise as `read_limited`."""
    return decode_utf8(read_limited(path, limit, error=error, hint=hint), path, error=error, hint=hint)


def decode_utf8(data: bytes, where: object, *, error: type[ReproError], hint: str | None = None) -> str:
    """Decode UTF-8. Raises `error` if `data` is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as wrong:
        raise error(f"not UTF-8 text: {wrong}", where=where, hint=hint) from None
