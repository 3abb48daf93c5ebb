"""Limits of every file that is read, in one place, and the read that asks for a file's size first.

Each is ten times what this project ever wrote, or more. What is larger is not what its name says, and a
parser would take minutes or all memory for it: it is refused before it is parsed.
"""

from __future__ import annotations

import stat
from pathlib import Path

from repro.errors import ReproError

MiB = 2**20
YAML_BYTES = MiB  # the root params.yaml has 12 kB
YAML_NODES = 100_000  # scalars, lists and mappings with every alias written out
JSON_BYTES = 32 * MiB  # a record with 150 classes and ten protocols has 200 kB
NPZ_BYTES = 1024 * MiB  # per-image confusions, as stored and unpacked; 2,000 images of 150 classes: 20 MB
CSV_BYTES = 32 * MiB  # the confusion of 254 classes has 2 MB
JOURNAL_BYTES = 1024 * MiB  # a line has 100 bytes; the longest training here wrote 2 MB
PAGE_BYTES = MiB  # a results page; the longest published one has 70 kB
PAGE_LINES = 5_000
LINE_CHARACTERS = 10_000  # of a results page; the longest published line has 700
TABLE_COLUMNS = 100
DEPTH = 50  # lists and mappings inside each other; params have 4
DIGITS = 40  # of one number
PICTURE_BYTES = 64 * MiB  # of an overlay, as it is stored
PICTURE_PIXELS = 64 * 2**20  # of an overlay, as it declares itself


def read_limited(path: Path, limit: int, *, error: type[ReproError], hint: str | None = None) -> bytes:
    """The bytes of a regular file of at most `limit` bytes; `error` for every other one.

    FileNotFoundError where there is none: what a missing file means is known to the caller alone. A FIFO or a
    device is never opened, so that nothing waits for it.
    """
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise error("cannot be read: a folder, not a file", where=path, hint=hint)
        if not stat.S_ISREG(found.st_mode):
            raise error("cannot be read: no regular file", where=path, hint=hint)
        require_size(found.st_size, limit, path, error=error, hint=hint)
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as failed:
        raise error(f"cannot be read: {failed.strerror}", where=path, hint=hint) from None


def require_size(size: int, limit: int, where: object, *, error: type[ReproError], hint: str | None) -> None:
    """`error` where `size` bytes are more than `limit`."""
    if size > limit:
        allowed = f"at most {limit / MiB:g} MiB"
        raise error(
            f"{size / MiB:,.1f} MiB are too much for this file", where=where, allowed=allowed, hint=hint
        )


def read_text(path: Path, limit: int, *, error: type[ReproError], hint: str | None = None) -> str:
    """As `read_limited`, as UTF-8."""
    return decoded(read_limited(path, limit, error=error, hint=hint), path, error=error, hint=hint)


def decoded(data: bytes, where: object, *, error: type[ReproError], hint: str | None = None) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as wrong:
        raise error(f"not UTF-8 text: {wrong}", where=where, hint=hint) from None
