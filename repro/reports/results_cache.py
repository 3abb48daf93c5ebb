"""Judgements and table lines kept between commands, so that ten thousand results are listed in seconds.

A cache, never a source: every entry is used only while the files it was computed from have the same size and
modification time, and the same code judges. Without the file, or with a damaged one, everything is computed.
`rm -r .repro/results` is always safe; CI starts without it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from repro.errors import ReproError
from repro.io.atomic import sha256_text
from repro.params.project import Project
from repro.records.dvc_files import cache_folder

T = TypeVar("T")
PACKAGE = Path(__file__).parents[1]
EVIDENCE = (
    *("params.yaml", "dvc.lock", "metrics.json", "cost.json", "confusion.csv", "confusion.npz"),
    *("curve.csv", "model.safetensors"),
)
RECENT_NS = 1_000_000_000  # a file changed twice within a tick of the clock could keep its stamp
COLUMNS = "kind TEXT, name TEXT, stamp TEXT, value TEXT, PRIMARY KEY (kind, name)"


def open_cache(project: Project) -> ResultsCache:
    """The cache of a project; one that keeps nothing if .repro cannot be used."""
    try:
        return ResultsCache(path=project.cache_folder("results", "cache.sqlite"), basis=basis(project))
    except ReproError:
        return NOTHING_KEPT


@dataclass(eq=False)
class ResultsCache:
    """Values by kind and name, each with the stamp of what it was computed from.

    Attributes:
        path: the SQLite file; None: keep nothing.
        basis: stamp of what every value depends on; a file of another basis is emptied.
    """

    path: Path | None
    basis: str
    _read: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)
    _new: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)

    def get(self, kind: str, name: str, stamp: str, compute: Callable[[], T]) -> T:
        """The value kept under this stamp, or that of `compute` (JSON types only), which is kept."""
        if self.path is None or not (self.basis and stamp):
            return compute()
        found = self._new.get((kind, name)) or self._of_kind(kind).get(name)
        if found and found[0] == stamp:
            return json.loads(found[1])  # type: ignore[no-any-return]
        value = compute()
        self._new[kind, name] = (stamp, json.dumps(value))
        return value

    def save(self) -> None:
        """Write new values; a disk that is full or read-only only costs time at the next command."""
        if self.path is None or not self._new:
            return
        lines = [(kind, name, stamp, value) for (kind, name), (stamp, value) in self._new.items()]
        with suppress(sqlite3.Error, OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connection()) as store, store:
                store.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", lines)
        self._read.clear()
        self._new.clear()

    def _of_kind(self, kind: str) -> dict[str, tuple[str, str]]:
        if kind not in self._read:
            self._read[kind] = dict(self._stored(kind))
        return self._read[kind]

    def _stored(self, kind: str) -> Iterator[tuple[str, tuple[str, str]]]:
        if self.path is None or not self.path.is_file():
            return
        try:
            with closing(self._connection()) as store:
                query = "SELECT name, stamp, value FROM entries WHERE kind = ?"
                lines = store.execute(query, (kind,)).fetchall()
        except sqlite3.Error:
            with suppress(OSError):
                self.path.unlink()
            return
        yield from ((name, (stamp, value)) for name, stamp, value in lines)

    def _connection(self) -> sqlite3.Connection:
        store = sqlite3.connect(str(self.path), timeout=5)
        found = store.execute("PRAGMA user_version").fetchone()[0]
        wanted = int(sha256_text(self.basis)[:7], 16)
        if found != wanted:
            with store:
                store.execute("DROP TABLE IF EXISTS entries")
                store.execute(f"PRAGMA user_version = {wanted}")
        store.execute(f"CREATE TABLE IF NOT EXISTS entries ({COLUMNS})")
        return store


NOTHING_KEPT = ResultsCache(path=None, basis="")


def basis(project: Project) -> str:
    """Stamp of the package, the shared params, the pages, the costs, the prepared data and DVC's settings."""
    root = project.root
    code = sorted(PACKAGE.rglob("*.py"))
    shared = [project.params, *sorted((root / "published").glob("*"))]
    shared += [project.costs, project.link_states, root / ".dvc" / "config", root / ".dvc" / "config.local"]
    return stamp(map(str, [*code, *shared, *sorted(project.prepared.glob("*/*.zip"))]))


def stamps(project: Project, names: Iterable[str]) -> dict[str, str]:
    """Stamp of the record and the files of each experiment; "" where one changed a moment ago."""
    rows, experiments = str(project.rows), str(project.experiments)
    return {name: stamp([f"{rows}/{name}.json", *_files(f"{experiments}/{name}")]) for name in names}


def _files(folder: str) -> Iterator[str]:
    """The files that are judged, in a folder and in its also/<protocol>/."""
    yield from (f"{folder}/{name}" for name in EVIDENCE)
    with suppress(OSError):
        for protocol in sorted(os.listdir(f"{folder}/also")):
            yield from (f"{folder}/also/{protocol}/{name}" for name in EVIDENCE)


def stamp(files: Iterable[str]) -> str:
    """Sizes and modification times of files as text; "" if one is too recent, or none exists."""
    parts, newest = [], 0
    for place, file in enumerate(files):
        try:
            found = os.stat(file)
        except OSError:
            continue
        newest = max(newest, found.st_mtime_ns)
        parts.append(f"{place}:{found.st_size}:{found.st_mtime_ns}:{found.st_ino}")
    recent = time.time_ns() - newest < RECENT_NS
    return "" if recent or not parts else digest(parts)


def digest(parts: Iterable[str]) -> str:
    """One short stamp of several; "" if one of them is "": then nothing may be kept."""
    texts = list(parts)
    return sha256_text("\0".join(texts))[:24] if all(texts) else ""


def held_by_dvc(project: Project) -> Callable[[Iterable[str]], str]:
    """A function that says which files, by md5, DVC's cache holds: `dvc pull` may have brought one since.

    It returns "", so that nothing is kept, where DVC's settings cannot be read.
    """
    try:
        folder = f"{cache_folder(project.root)}/files/md5"
    except ReproError:
        return lambda md5s: ""

    def held(md5s: Iterable[str]) -> str:
        return "held " + " ".join(md5 for md5 in md5s if os.path.isfile(f"{folder}/{md5[:2]}/{md5[2:]}"))

    return held
