"""The file that a command is told to write: in a folder that is there, and never over a file of others."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from repro.cli.places import no_place
from repro.errors import StorageError


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
