"""Index of the files in a folder, zip or tar, with functions to read them.

Names are validated: an archive with members outside of it (`../x`, `/x`, `C:x`, links) is rejected.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from repro.errors import DataError
from repro.io.limits import require_regular

_ZIP = (".zip",)
_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
ARCHIVES = _ZIP + _TAR  # suffixes


@dataclass(frozen=True)
class File:
    """A file of a source: functions for its first bytes (-1: all) and its size."""

    read: Callable[[int], bytes]
    size: Callable[[], int]


class Closable(Protocol):
    """An open archive."""

    def close(self) -> object: ...


class Index:
    """Files of a source by name, the paths on disk, and cached information about them."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.paths: list[Path] = []
        self.notes: dict[str, list[str]] = {}
        self.found: dict[str, str | None] = {}
        self.parsed: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()
        self.handles: list[Closable] = []

    def close(self) -> None:
        """Close the archives."""
        for handle in self.handles:
            handle.close()

    @cached_property
    def by_lower_extension(self) -> dict[str, list[str]]:
        """Original names by name with lower-case extension: some cameras write a.JPG."""
        found: dict[str, list[str]] = {}
        for name in self.files:
            found.setdefault(lower_extension(name), []).append(name)
        return found

    @cached_property
    def folders(self) -> set[str]:
        parents = {name.rpartition("/")[0] for name in self.files} - {""}
        return {
            "/".join(parent.split("/")[: i + 1]) for parent in parents for i in range(parent.count("/") + 1)
        }


def lower_extension(name: str) -> str:
    """Return the name with its extension in lower case."""
    stem, dot, extension = name.rpartition(".")
    return stem + dot + extension.lower()


def scan(path: Path, index: Index, inside: str = "") -> None:
    """Add a folder or an archive to the index; the names of members get the prefix `inside`."""
    lower = path.name.lower()
    if path.is_dir():
        _scan_folder(path, index)
    elif lower.endswith(ARCHIVES):
        require_regular(path, error=DataError)
        index.paths.append(path)
        members = _zip(path, index) if lower.endswith(_ZIP) else _tar(path, index)
        index.files |= {inside + name: file for name, file in members.items()}
    else:
        raise DataError("neither a folder nor a zip or tar", where=path, allowed=", ".join(ARCHIVES))


def _scan_folder(root: Path, index: Index) -> None:
    """Add the files of a folder and the members of archives in it; links to folders are followed once."""
    seen: set[str] = set()
    for here, folders, names in os.walk(root, followlinks=True, onerror=_raise):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not is_system_file(name)]
        inside = "" if Path(here) == root else Path(here).relative_to(root).as_posix() + "/"
        for name in names:
            if is_system_file(name):
                continue
            path = Path(here, name)
            if name.lower().endswith(ARCHIVES):
                scan(path, index, inside)
            else:
                index.files[inside + name] = File(partial(_first, path), partial(os.path.getsize, path))
                index.paths.append(path)


def _first(path: Path, count: int) -> bytes:
    require_regular(path, error=DataError)
    with path.open("rb") as file:
        return file.read(count)


def _raise(error: OSError) -> None:
    raise error


def _zip(path: Path, index: Index) -> dict[str, File]:
    archive = zipfile.ZipFile(path)
    index.handles.append(archive)
    files: dict[str, File] = {}
    for info in archive.infolist():
        if info.is_dir():
            continue
        if (info.external_attr >> 16) & 0o170000 == 0o120000:
            raise _unsafe(path, info.filename, "is a symbolic link")
        name = _safe(path, info.filename)
        if is_system_file(name):
            continue
        files[name] = File(partial(_first_inside, archive, info), partial(getattr, info, "file_size"))
    return files


def _first_inside(archive: zipfile.ZipFile, info: zipfile.ZipInfo, count: int) -> bytes:
    with archive.open(info) as file:
        return file.read(count)


def _tar(path: Path, index: Index) -> dict[str, File]:
    """Members of a tar by offset; a compressed tar is decompressed into an unnamed temporary file."""
    handle = path.open("rb") if path.name.lower().endswith(".tar") else _decompress(path)
    index.handles.append(handle)
    lock = threading.Lock()

    def reader(offset: int, size: int) -> File:
        def read(count: int) -> bytes:
            wanted = size if count < 0 else min(count, size)
            with lock:
                handle.seek(offset)
                data = handle.read(wanted)
            if len(data) != wanted:
                raise EOFError("the archive is truncated in this member")
            return data

        return File(read, lambda: size)

    files: dict[str, File] = {}
    with tarfile.open(fileobj=handle, mode="r:") as archive:
        for member in archive:
            if member.isdir():
                continue
            if not member.isreg():
                raise _unsafe(path, member.name, "is a link or a special file")
            name = _safe(path, member.name)
            if not is_system_file(name):
                files[name] = reader(member.offset_data, member.size)
    return files


def _decompress(path: Path) -> IO[bytes]:
    kind = path.name.lower()
    opener: Any = gzip.open if kind.endswith("gz") else bz2.open if kind.endswith("bz2") else lzma.open
    target = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the readers of its members
    try:
        with opener(path, "rb") as compressed:
            shutil.copyfileobj(compressed, target, 1 << 20)
    except BaseException:
        target.close()
        raise
    target.seek(0)
    return target


def _safe(archive: Path, name: str) -> str:
    """The member's name without `./`. Raises DataError for absolute names and names with `..`."""
    parts = PurePosixPath(name).parts
    if "\\" in name or name.startswith("/") or ".." in parts or (parts and parts[0].endswith(":")):
        raise _unsafe(archive, name, "leaves the archive")
    return str(PurePosixPath(name))


def _unsafe(archive: Path, name: str, why: str) -> DataError:
    return DataError(
        f"unsafe archive: member '{name}' {why}",
        where=archive,
        allowed="plain files and folders inside the archive",
        hint="download it from the official page",
    )


def read_error(error: Exception, where: str) -> DataError:
    """Return the error for a file that cannot be read, although it was found."""
    hint = "copy or download it again"
    if isinstance(error, FileNotFoundError):
        broken = os.path.islink(where)
        why = "broken link" if broken else "the file was removed"
        hint = f"restore {os.path.realpath(where)}, or remove the link" if broken else hint
    else:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
    return DataError(f"cannot be read: {why}", where=where, hint=hint)


def open_error(error: BaseException, path: Path) -> DataError | None:
    """Return the error for a source that cannot be opened; None for unexpected exceptions."""
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        hint = "`repro data list` shows where to get it, then `repro data link NAME PATH`"
        return DataError("the data set is missing", where=path, hint=hint)
    if isinstance(error, PermissionError):
        return DataError("no permission to read the data", where=error.filename or path)
    if isinstance(error, (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)):
        return DataError(f"damaged archive: {error}", where=path, hint="download it again")
    return None


_COMPANION = "._"  # macOS writes ._x.png next to x.png on other file systems and in archives
_NAMES = frozenset(
    {
        *(".ds_store", "__macosx", ".appledouble", ".spotlight-v100", ".trashes", ".fseventsd"),
        *("thumbs.db", "desktop.ini", ".ipynb_checkpoints", "@eadir"),
    }
)


def is_system_file(name: str) -> bool:
    """Return whether a file inside a folder or archive is, or is in, one of these system files."""
    return any(part.startswith(_COMPANION) or part.lower() in _NAMES for part in name.split("/"))
