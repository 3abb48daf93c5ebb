"""Checks of the paths that a command writes to, made before its work begins.

Most are callbacks of options: `typer.Option(callback=output_file)`. Whoever reads a file reports itself that
it is missing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from repro.errors import StorageError

_WHY = {
    errno.ENOENT: "no such file or folder",
    errno.EISDIR: "a folder, not a file",
    errno.ENOTDIR: "a file, not a folder",
}


def output_file(path: Path | None) -> Path | None:
    """`path`, a file whose folders exist or can be made; StorageError otherwise."""
    if path is not None:
        if path.is_dir():
            raise no_place(path, errno.EISDIR)
        output_folder(path.absolute().parent)
    return path


def output_folder(path: Path | None) -> Path | None:
    """`path`, a folder that exists or can be made; StorageError where a file is in the way."""
    if path is not None:
        whole = path.absolute()
        if not next(folder for folder in (whole, *whole.parents) if folder.exists()).is_dir():
            raise no_place(path, errno.ENOTDIR)
    return path


def file_in_folder(path: Path | None) -> Path | None:
    """`path`, a file in a folder that exists; StorageError otherwise."""
    if path is not None:
        require_file(path)
    return path


def require_file(path: Path) -> None:
    """StorageError where `path` is a folder, or is in none."""
    if path.is_dir():
        raise no_place(path, errno.EISDIR)
    folder = path.absolute().parent
    if not folder.is_dir():
        in_the_way = any(one.is_file() for one in (folder, *folder.parents))
        raise no_place(path, errno.ENOTDIR if in_the_way else errno.ENOENT)


def no_place(path: Path, number: int) -> StorageError:
    """The error for a path that cannot be written; `number` says why, as errno does."""
    what = f"cannot write there: {_WHY[number]}"
    return StorageError(what, where=os.path.abspath(path), hint="name another path")


def require_target(path: Path, kind: str, is_ours: Callable[[Path], bool], *, stream: bool = False) -> None:
    """StorageError where `path` cannot be written, or is a file that holds anything but `kind`.

    Args:
        path: what a command would replace.
        kind: what the command writes, e.g. "a report".
        is_ours: whether a file holds that; an empty file has nothing to lose and is not asked about.
        stream: the command writes without replacing, so a device such as /dev/stdout is allowed.
    """
    require_file(path)
    if path.exists() and not _replaceable(path, is_ours, stream):
        hint = "name another file, or remove this one first"
        raise StorageError(f"there is a file already, and it is not {kind}", where=path, hint=hint)


def _replaceable(path: Path, is_ours: Callable[[Path], bool], stream: bool) -> bool:
    return (not path.stat().st_size or is_ours(path)) if path.is_file() else stream
