"""Output paths: checked before work begins, and one clear error where they cannot be written.

Only where the error is about such a path: itself, a folder above it, something in it while it is no folder,
or the temporary file beside it. Every other missing file is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
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
    for typed in sorted(typed_paths(), key=lambda typed: typed not in failed):  # the path itself goes first
        if any(is_about(path, typed) for path in failed):
            return no_place(typed, error.errno)
    return None


def no_place(path: Path, number: int) -> StorageError:
    """The error for a path at which nothing can be read or written; `number` says why, as errno does."""
    what = f"cannot read or write there: {_WHY[number]}"
    return StorageError(what, where=absolute(str(path)), hint="name another place")


def typed_paths() -> list[Path]:
    """Every word of the command line that may be a path: DIR, --out=DIR, -oDIR; an empty one is here."""
    words = [_value(word) for word in sys.argv[1:] if not word or _value(word) or word.endswith("=")]
    return [absolute(word) for word in words]


def is_about(path: Path, typed: Path) -> bool:
    """A folder above counts where it is none: every word, the command's too, has this folder above it."""
    beside = path.parent == typed.parent and typed.name in path.name
    above = path in typed.parents and not path.is_dir()
    return beside or above or (typed in path.parents and not typed.is_dir())


def absolute(path: str) -> Path:
    return Path(os.path.abspath(path))


def _value(word: str) -> str:
    if word.startswith("--"):
        return word.partition("=")[2]
    return word[2:] if word.startswith("-") else word


def require_target(path: Path, kind: str, is_ours: Callable[[Path], bool], *, stream: bool = False) -> None:
    """StorageError where `path` is a folder, lies in none, or is there and holds anything but `kind`.

    `is_ours` says of a file whether it is one. An empty file has nothing to lose. `stream`: the command
    writes without replacing, so that a device such as /dev/stdout is as good as a file.
    """
    if path.is_dir():
        raise no_place(path, errno.EISDIR)
    if not path.parent.is_dir():
        raise no_place(path, errno.ENOTDIR if path.parent.exists() else errno.ENOENT)
    if path.exists() and not _replaceable(path, is_ours, stream):
        hint = "name another file, or remove this one first"
        raise StorageError(f"there is a file already, and it is not {kind}", where=path, hint=hint)


def _replaceable(path: Path, is_ours: Callable[[Path], bool], stream: bool) -> bool:
    return (not path.stat().st_size or is_ours(path)) if path.is_file() else stream
