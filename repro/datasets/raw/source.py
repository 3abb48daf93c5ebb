"""Uniform access to raw data in a folder, a zip, a tar, or a folder with archives. Nothing is unpacked."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from repro.datasets.raw.files import ARCHIVES, Index, lower_extension, open_error, read_error, scan
from repro.errors import DataError

T = TypeVar("T")


class Source:
    """Files of a folder or archives by name relative to `prefix`; a context manager."""

    def __init__(self, where: Path, index: Index, prefix: str = "") -> None:
        self.where = where
        self._index = index
        self._files = index.files
        self._prefix = prefix

    @classmethod
    def open(cls, path: Path) -> Source:
        """Index a folder, a zip or a tar. Raises DataError if it is missing, unreadable or unsafe."""
        index = Index()
        try:
            scan(path.resolve(strict=True), index)
            return cls(path, index)
        except BaseException as error:
            index.close()
            reason = open_error(error, path)
            if reason is None:
                raise
            raise reason from error

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        self._index.close()

    def under(self, *markers: str) -> Source:
        """Return a view of the outermost folder that contains all `markers` (files or folders)."""
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
            hint="name the folder, zip or tar that contains them",
        )

    def find(self, marker: str) -> Source | None:
        """Return a view of the outermost folder that contains `marker`, or None."""
        if marker not in self._index.found:
            prefixes = sorted(set(self._prefixes(marker)), key=lambda p: (p.count("/"), p))
            self._index.found[marker] = prefixes[0] if prefixes else None
        prefix = self._index.found[marker]
        return None if prefix is None else Source(self.where, self._index, prefix)

    @property
    def prefix(self) -> str:
        """Path of this view relative to the root, with a trailing slash."""
        return self._prefix

    def under_prefix(self, folder: str) -> Source:
        """Return a view of a folder of this view."""
        return Source(self.where, self._index, self._prefix + folder)

    def parse_once(self, name: str, parse: Callable[[bytes], dict[str, Any]]) -> dict[str, Any]:
        """Return the parsed content of a file, cached for all views."""
        with self._index.lock:
            if name not in self._index.parsed:
                try:
                    self._index.parsed[name] = parse(self.read(name))
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(f"invalid content: {error!r}", where=self.place(name)) from error
            return self._index.parsed[name]

    def archives(self) -> list[Path]:
        """Return the zip and tar files of this source."""
        return [path for path in self._index.paths if path.name.lower().endswith(ARCHIVES)]

    def root(self) -> Source:
        """Return a view of the whole source."""
        return Source(self.where, self._index)

    def note(self, pair_id: str, text: str) -> None:
        """Record a note about a pair, to be shown at the end."""
        known = self._index.notes.setdefault(pair_id, [])
        if text not in known:  # a pair can be in several splits
            known.append(text)

    def notes(self, pair_id: str) -> list[str]:
        """Return the notes about a pair."""
        return self._index.notes.get(pair_id, [])

    def has(self, name: str) -> bool:
        """Return whether a file or a folder of this name exists."""
        full = self._prefix + name
        return full in self._files or full in self._folders()

    def resolve_name(self, name: str) -> str | None:
        """Return the file of this name, ignoring the case of its extension, or None; two are a DataError."""
        found = self._index.by_lower_extension.get(lower_extension(self._prefix + name), [])
        if len(found) > 1:
            both = " and ".join(self.place(one[len(self._prefix) :]) for one in sorted(found))
            raise DataError("two files with the same name", where=both, hint="remove one of the two")
        return found[0][len(self._prefix) :] if found else None

    def names(self, folder: str = "", suffix: str | tuple[str, ...] = "") -> list[str]:
        """Return the sorted names of files below `folder` that end with `suffix`."""
        start = self._prefix + (folder.rstrip("/") + "/" if folder else "")
        cut = len(self._prefix)
        return sorted(n[cut:] for n in self._files if n.startswith(start) and n.endswith(suffix))

    def top(self) -> list[str]:
        """Return the names at the top level."""
        return sorted({name[len(self._prefix) :].split("/")[0] for name in self._files})

    def read(self, name: str, count: int = -1) -> bytes:
        """Read a file, or its first `count` bytes. Raises DataError if it is missing, empty or unreadable."""
        file = self._files.get(self._prefix + name)
        if file is None:
            raise DataError("missing file", where=self.place(name))
        data = self._checked(name, lambda: file.read(count))
        if not data:
            raise DataError("empty file (0 bytes)", where=self.place(name), hint="copy or download it again")
        return data

    def size(self, name: str) -> int:
        """Return the size of a file in bytes. Raises DataError if it is unreadable."""
        return self._checked(name, self._files[self._prefix + name].size)

    def _checked(self, name: str, access: Callable[[], T]) -> T:
        try:
            return access()
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, zlib.error) as error:
            raise read_error(error, self.place(name)) from error

    def numbered_lines(self, name: str) -> list[tuple[int, str]]:
        """Return (1-based number, stripped text) of non-blank lines. Raises DataError if it is not UTF-8."""
        data = self.read(name)
        try:
            text = data.decode("utf-8-sig")  # Windows editors write a byte order mark
        except UnicodeDecodeError as error:
            raise self._not_utf8(name, data[: error.start]) from error
        if "\0" in text:  # UTF-16 without a byte order mark
            raise self._not_utf8(name, data[: data.index(0)])
        return [(i, line.strip()) for i, line in enumerate(text.splitlines(), start=1) if line.strip()]

    def _not_utf8(self, name: str, before: bytes) -> DataError:
        line = before.count(b"\n") + 1
        hint = "save the list as UTF-8, or download it again"
        return DataError(f"line {line} is not UTF-8 text", where=self.place(name), allowed="UTF-8", hint=hint)

    def stamp(self) -> str:
        """Return a hash over size and modification time of all files on disk, to detect changes.

        Raises DataError for removed files and broken links.
        """
        try:
            stats = [(str(path), path.stat()) for path in sorted(self._index.paths)]
        except OSError as error:
            raise read_error(error, str(error.filename)) from error
        text = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)
        return hashlib.sha256(text.encode()).hexdigest()

    def place(self, name: str) -> str:
        """Return the full name of a file, for messages."""
        return f"{self.where}/{self._prefix}{name}"

    def _folders(self) -> set[str]:
        return self._index.folders

    def _prefixes(self, marker: str) -> Iterable[str]:
        wanted = lower_extension(marker)
        for name in (*self._files, *self._folders()):
            if ("/" + lower_extension(name)).endswith("/" + wanted):
                yield name[: -len(marker)]


def _some(names: list[str]) -> str:
    return (", ".join(names[:8]) or "nothing") + (" ..." if len(names) > 8 else "")
