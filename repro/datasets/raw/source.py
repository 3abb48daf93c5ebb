"""The owner's files, wherever they lie: a folder, a zip, a tar, or a folder with the owner's archives in it.

Nothing is unpacked; `raw_files` finds what there is.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from repro.datasets.raw.files import ARCHIVES, Index, explained, lower_extension, scan, unreadable
from repro.errors import DataError

T = TypeVar("T")


class Source:
    """Files by their name relative to `prefix`, from a folder or from archives; a context manager."""

    def __init__(self, where: Path, index: Index, prefix: str = "") -> None:
        self.where = where
        self._index = index
        self._files = index.files
        self._prefix = prefix

    @classmethod
    def open(cls, path: Path) -> Source:
        """Index a folder, a zip or a tar; DataError when it is missing, unreadable or unsafe."""
        index = Index()
        try:
            scan(path.resolve(strict=True), index)
            return cls(path, index)
        except BaseException as error:
            index.close()
            reason = explained(error, path)
            if reason is None:
                raise
            raise reason from error

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
        return [path for path in self._index.paths if path.name.lower().endswith(ARCHIVES)]

    def whole(self) -> Source:
        """The view from the very top."""
        return Source(self.where, self._index)

    def note(self, pair_id: str, text: str) -> None:
        """Remember something unusual but usable about a pair, to be told at the end."""
        known = self._index.notes.setdefault(pair_id, [])
        if text not in known:  # a pair can be in several splits
            known.append(text)

    def notes(self, pair_id: str) -> list[str]:
        """What was remembered about a pair."""
        return self._index.notes.get(pair_id, [])

    def has(self, name: str) -> bool:
        """Whether a file or a folder of this name exists."""
        full = self._prefix + name
        return full in self._files or full in self._folders()

    def spelled(self, name: str) -> str | None:
        """The file of this name, whatever the case of its extension, or None; two are a DataError."""
        found = self._index.spelled.get(lower_extension(self._prefix + name), [])
        if len(found) > 1:
            both = " and ".join(self.place(one[len(self._prefix) :]) for one in sorted(found))
            raise DataError("two files of one name", where=both, hint="take one of the two away")
        return found[0][len(self._prefix) :] if found else None

    def names(self, folder: str = "", suffix: str | tuple[str, ...] = "") -> list[str]:
        """Sorted names of the files below `folder` that end with `suffix`."""
        start = self._prefix + (folder.rstrip("/") + "/" if folder else "")
        cut = len(self._prefix)
        return sorted(n[cut:] for n in self._files if n.startswith(start) and n.endswith(suffix))

    def top(self) -> list[str]:
        """The first parts of all names: what a person sees when opening the source."""
        return sorted({name[len(self._prefix) :].split("/")[0] for name in self._files})

    def read(self, name: str, count: int = -1) -> bytes:
        """All or the first `count` bytes of a file; missing, empty, unreadable: a DataError that names it."""
        file = self._files.get(self._prefix + name)
        if file is None:
            raise DataError("missing file", where=self.place(name))
        data = self._told(name, lambda: file.read(count))
        if not data:
            raise DataError("empty file (0 bytes)", where=self.place(name), hint="copy or download it again")
        return data

    def size(self, name: str) -> int:
        """How many bytes a file has; DataError where it cannot be told."""
        return self._told(name, self._files[self._prefix + name].size)

    def _told(self, name: str, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except (zipfile.BadZipFile, EOFError, OSError, ValueError, zlib.error) as error:
            raise unreadable(error, self.place(name)) from error

    def numbered_lines(self, name: str) -> list[tuple[int, str]]:
        """The non-blank lines of a text file, stripped, and their numbers from 1.

        Raises DataError, with the line, where it is not UTF-8.
        """
        data = self.read(name)
        try:
            text = data.decode("utf-8-sig")  # editors of Windows begin a file with a byte order mark
        except UnicodeDecodeError as error:
            raise self._no_text(name, data[: error.start]) from error
        if "\0" in text:  # UTF-16 without its mark
            raise self._no_text(name, data[: data.index(0)])
        return [(i, line.strip()) for i, line in enumerate(text.splitlines(), start=1) if line.strip()]

    def _no_text(self, name: str, before: bytes) -> DataError:
        line = before.count(b"\n") + 1
        hint = "save the list as UTF-8, or take the owner's again"
        return DataError(f"line {line} is not UTF-8 text", where=self.place(name), allowed="UTF-8", hint=hint)

    def stamp(self) -> str:
        """A hash of size and time of every file on the disk: equal stamps mean nothing was touched.

        Raises DataError for a file that is not there any more, and for a link that leads nowhere.
        """
        try:
            stats = [(str(path), path.stat()) for path in sorted(self._index.paths)]
        except OSError as error:
            raise unreadable(error, str(error.filename)) from error
        text = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)
        return hashlib.sha256(text.encode()).hexdigest()

    def place(self, name: str) -> str:
        """How to call a file in a message."""
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
