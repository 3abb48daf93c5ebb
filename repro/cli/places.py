"""A path that the person typed and that cannot be used: one clear error in place of a traceback.

Only where the error is about such a path: itself, a folder above it, something in it while it is no folder,
or the temporary file beside it. Every other missing file is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from repro.errors import StorageError

_WHY = {
    errno.ENOENT: "no such file or folder",
    errno.EISDIR: "a folder, not a file",
    errno.EEXIST: "a file, not a folder",
    errno.ENOTDIR: "a file, not a folder",
}


def unusable(error: OSError) -> StorageError | None:
    """What to say of a typed path; None where the error is about anything else."""
    if error.errno not in _WHY:
        return None
    named = [os.fsdecode(path) for path in (error.filename, error.filename2) if isinstance(path, str | bytes)]
    failed = [absolute(path) for path in named]
    for typed in typed_paths():
        if any(is_about(path, typed) for path in failed):
            what = f"cannot read or write there: {_WHY[error.errno]}"
            return StorageError(what, where=typed, hint="name another place")
    return None


def typed_paths() -> list[Path]:
    """Every word of the command line that may be a path: DIR, --out=DIR, -oDIR."""
    words = [_value(word) for word in sys.argv[1:]]
    return [absolute(word) for word in words if word]


def is_about(path: Path, typed: Path) -> bool:
    beside = path.parent == typed.parent and typed.name in path.name
    return beside or path in typed.parents or (typed in path.parents and not typed.is_dir())


def absolute(path: str) -> Path:
    return Path(os.path.abspath(path))


def _value(word: str) -> str:
    if word.startswith("--"):
        return word.partition("=")[2]
    return word[2:] if word.startswith("-") else word
