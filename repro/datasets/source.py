"""The owner's files, wherever they lie: a folder, a zip, a tar, or a folder with the owner's archives in it.

Nothing is unpacked. Every name is checked before it is used: an archive whose members climb out of it
(`../x`, `/x`, `C:x`, links) is refused as a whole.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import shutil
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from repro.errors import DataError

Read = Callable[[], bytes]
_ZIP = (".zip",)
_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class Closable(Protocol):
    """An open archive."""

    def close(self) -> object: ...


class Source:
    """Files by their name relative to `prefix`, from a folder or from archives; a context manager."""

    def __init__(self, where: Path, index: _Index, prefix: str = "") -> None:
        self.where = where
        self._index = index
        self._files = index.files
        self._prefix = prefix

    @classmethod
    def open(cls, path: Path) -> Source:
        """Index a folder, a zip or a tar; DataError when it is missing, unreadable or unsafe."""
        index = _Index()
        try:
            _scan(path.resolve(strict=True), index)
            return cls(path, index)
        except BaseException as error:
            index.close()
            told = _told(error, path)
            if told is None:
                raise
            raise told from error

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        self._index.close()

    def under(self, *markers: str) -> Source:
        """The view from the one folder that has all `markers` (files or folders), outermost first."""
        if not markers:
            return self
        prefixes = sorted(set(self._prefixes(markers[0])), key=lambda p: (p.count("/"), p))
        for prefix in prefixes:
            view = Source(self.where, self._index, prefix)
            if all(view.has(marker) for marker in markers):
                return view
        raise DataError(
            f"no folder with {' and '.join(markers)} among {_some(self.top())}",
            where=self.where,
            hint="name the folder, zip or tar that has them inside",
        )

    def find(self, marker: str) -> Source | None:
        """The view from the outermost folder that has `marker`, or None."""
        if marker not in self._index.found:
            prefixes = sorted(set(self._prefixes(marker)), key=lambda p: (p.count("/"), p))
            self._index.found[marker] = prefixes[0] if prefixes else None
        prefix = self._index.found[marker]
        return None if prefix is None else Source(self.where, self._index, prefix)

    @property
    def prefix(self) -> str:
        """What all names of this view begin with in the view from the top."""
        return self._prefix

    def under_prefix(self, folder: str) -> Source:
        """The view from a folder of this view."""
        return Source(self.where, self._index, self._prefix + folder)

    def remembered(self, name: str, parse: Callable[[bytes], dict[str, Any]]) -> dict[str, Any]:
        """A file, read and parsed once for all views."""
        with self._index.lock:
            if name not in self._index.parsed:
                try:
                    self._index.parsed[name] = parse(self.read(name))
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(f"cannot be understood: {error!r}", where=self.place(name)) from error
            return self._index.parsed[name]

    def archives(self) -> list[Path]:
        """The zip and tar files in this source."""
        return [path for path in self._index.paths if path.name.lower().endswith(_ZIP + _TAR)]

    def whole(self) -> Source:
        """The view from the very top."""
        return Source(self.where, self._index)

    def note(self, pair_id: str, text: str) -> None:
        """Remember something unusual but usable about a pair, to be told at the end."""
        self._index.notes.setdefault(pair_id, []).append(text)

    def notes(self, pair_id: str) -> list[str]:
        """What was remembered about a pair."""
        return self._index.notes.get(pair_id, [])

    def has(self, name: str) -> bool:
        """Whether a file or a folder of this name exists."""
        full = self._prefix + name
        return full in self._files or full in self._folders()

    def names(self, folder: str = "", suffix: str | tuple[str, ...] = "") -> list[str]:
        """Sorted names of the files below `folder` that end with `suffix`."""
        start = self._prefix + (folder.rstrip("/") + "/" if folder else "")
        cut = len(self._prefix)
        return sorted(n[cut:] for n in self._files if n.startswith(start) and n.endswith(suffix))

    def top(self) -> list[str]:
        """The first parts of all names: what a person sees when opening the source."""
        return sorted({name[len(self._prefix) :].split("/")[0] for name in self._files})

    def read(self, name: str) -> bytes:
        """The bytes of one file; missing, empty, damaged or unreadable is a DataError that names it."""
        read = self._files.get(self._prefix + name)
        if read is None:
            raise DataError("missing file", where=self.place(name))
        try:
            data = read()
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, zlib.error) as error:
            raise DataError(f"cannot be read: {error}", where=self.place(name)) from error
        if not data:
            raise DataError("empty file (0 bytes)", where=self.place(name), hint="copy or download it again")
        return data

    def lines(self, name: str) -> list[str]:
        """The non-blank lines of a text file, stripped."""
        return [line.strip() for line in self.read(name).decode("utf-8").splitlines() if line.strip()]

    def stamp(self) -> str:
        """A hash of size and time of every file on the disk: equal stamps mean nothing was touched."""
        stats = ((str(path), path.stat()) for path in sorted(self._index.paths))
        text = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)
        return hashlib.sha256(text.encode()).hexdigest()

    def place(self, name: str) -> str:
        """How to call a file in a message."""
        return f"{self.where}/{self._prefix}{name}"

    def _folders(self) -> set[str]:
        return self._index.folders

    def _prefixes(self, marker: str) -> Iterable[str]:
        for name in (*self._files, *self._folders()):
            if name == marker or name.endswith("/" + marker):
                yield name[: -len(marker)]


def _told(error: BaseException, path: Path) -> DataError | None:
    """What went wrong while a source was opened, in words that help; None: nothing of ours."""
    if isinstance(error, FileNotFoundError):
        hint = "`repro data list` says where it comes from, then `repro data link NAME PATH`"
        return DataError("the data set is not there", where=path, hint=hint)
    if isinstance(error, PermissionError):
        return DataError("no permission to read the data", where=error.filename or path)
    if isinstance(error, (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)):
        return DataError(f"damaged archive: {error}", where=path, hint="download it again")
    return None


class _Index:
    """Name -> reader of everything in a source, and the files on the disk behind it."""

    def __init__(self) -> None:
        self.files: dict[str, Read] = {}
        self.paths: list[Path] = []
        self.notes: dict[str, list[str]] = {}
        self.found: dict[str, str | None] = {}
        self.parsed: dict[str, dict[str, Any]] = {}
        self.lock = threading.Lock()
        self.handles: list[Closable] = []

    def close(self) -> None:
        """Close the archives; folders need nothing."""
        for handle in self.handles:
            handle.close()

    @cached_property
    def folders(self) -> set[str]:
        parents = {name.rpartition("/")[0] for name in self.files} - {""}
        return {
            "/".join(parent.split("/")[: i + 1]) for parent in parents for i in range(parent.count("/") + 1)
        }


def _scan(path: Path, index: _Index, inside: str = "") -> None:
    """Add a folder or an archive; its names begin with `inside`."""
    lower = path.name.lower()
    if path.is_dir():
        _scan_folder(path, index)
    elif lower.endswith(_ZIP + _TAR):
        index.paths.append(path)
        members = _zip(path, index) if lower.endswith(_ZIP) else _tar(path, index)
        index.files |= {inside + name: read for name, read in members.items()}
    else:
        raise DataError("neither a folder nor a zip or tar", where=path, allowed=", ".join(_ZIP + _TAR))


def _scan_folder(root: Path, index: _Index) -> None:
    """Files of a folder (links to folders are followed, once each); archives in it are looked into."""
    seen: set[str] = set()
    for here, folders, names in os.walk(root, followlinks=True, onerror=_raise):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        inside = "" if Path(here) == root else Path(here).relative_to(root).as_posix() + "/"
        for name in names:
            path = Path(here, name)
            if name.lower().endswith(_ZIP + _TAR):
                _scan(path, index, inside)
            else:
                index.files[inside + name] = path.read_bytes
                index.paths.append(path)


def _raise(error: OSError) -> None:
    raise error


def _zip(path: Path, index: _Index) -> dict[str, Read]:
    archive = zipfile.ZipFile(path)
    index.handles.append(archive)
    files: dict[str, Read] = {}
    for info in archive.infolist():
        if info.is_dir():
            continue
        if (info.external_attr >> 16) & 0o170000 == 0o120000:
            raise _unsafe(path, info.filename, "is a symbolic link")
        files[_safe(path, info.filename)] = lambda info=info: archive.read(info)  # type: ignore[misc]
    return files


def _tar(path: Path, index: _Index) -> dict[str, Read]:
    """Members of a tar by their offset; a compressed tar is expanded once into an unnamed temporary file."""
    handle = path.open("rb") if path.name.lower().endswith(".tar") else _expanded(path)
    index.handles.append(handle)
    lock = threading.Lock()

    def reader(offset: int, size: int) -> Read:
        def read() -> bytes:
            with lock:
                handle.seek(offset)
                data = handle.read(size)
            if len(data) != size:
                raise EOFError("the archive ends in the middle of this member")
            return data

        return read

    files: dict[str, Read] = {}
    with tarfile.open(fileobj=handle, mode="r:") as archive:
        for member in archive:
            if member.isdir():
                continue
            if not member.isreg():
                raise _unsafe(path, member.name, "is a link or a special file")
            files[_safe(path, member.name)] = reader(member.offset_data, member.size)
    return files


def _expanded(path: Path) -> IO[bytes]:
    kind = path.name.lower()
    opener: Any = gzip.open if kind.endswith("gz") else bz2.open if kind.endswith("bz2") else lzma.open
    target = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the readers of its members
    try:
        with opener(path, "rb") as packed:
            shutil.copyfileobj(packed, target, 1 << 20)
    except BaseException:
        target.close()
        raise
    target.seek(0)
    return target


def _safe(archive: Path, name: str) -> str:
    """The member's name without `./`; absolute names and names that climb out are refused."""
    parts = PurePosixPath(name).parts
    if "\\" in name or name.startswith("/") or ".." in parts or (parts and parts[0].endswith(":")):
        raise _unsafe(archive, name, "leaves the archive")
    return str(PurePosixPath(name))


def _unsafe(archive: Path, name: str, why: str) -> DataError:
    return DataError(
        f"unsafe archive: member '{name}' {why}",
        where=archive,
        allowed="plain files and folders inside the archive",
        hint="download it from the owner's page",
    )


def _some(names: list[str]) -> str:
    return (", ".join(names[:8]) or "nothing") + (" ..." if len(names) > 8 else "")
