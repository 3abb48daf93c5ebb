"""The journal of a run: an append-only file of JSON lines, and the truth about what happened.

Every line is one object with `at` (seconds since 1970, UTC) and `kind`:

    {"at": 1763615946.2, "kind": "metrics", "step": 40, "values": {"train/loss": 0.91}}
    {"at": 1763615946.9, "kind": "checkpoint", "step": 40}

A line is handed to the operating system at once, so a killed process loses nothing. It is forced to the
disk once a second, at every event and before `offset` is told, so a power cut loses at most one second
of metrics and never anything that a checkpoint refers to.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from repro.errors import RecordError
from repro.io import limits
from repro.io.json_reader import load_json
from repro.records.schema import LINES, Line, misfit

SYNC_SECONDS = 1.0
POLL_SECONDS = 0.5


class Journal:
    """Writes a journal; several processes may append to the same file.

    A torn last line left by a power cut is cut off when the file is opened. A write that fails
    (disk full) is taken back whole before the OSError goes on to the caller.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        if path.exists():
            _cut_torn_line(path)
        # O_APPEND: every line lands at the end, also after a resume has cut the file.
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._synced = 0.0

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Metrics of one step. NaN and inf become an event `not_finite`, never a metric.

        MLflow would store NaN as 0 and inf as 1.8e308, and a filter could not tell them from results.
        """
        numbers = {name: float(value) for name, value in values.items()}
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        if finite:
            self._append({"kind": "metrics", "step": step, "values": finite})
        if len(finite) < len(numbers):
            wrong = {name: str(value) for name, value in numbers.items() if name not in finite}
            self.event("not_finite", step=step, values=wrong)
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()

    def event(self, kind: str, **fields: Any) -> None:
        """Something that happened once (start, checkpoint, end, ...); on disk when this returns."""
        self._append({"kind": kind, **fields})
        self.sync()

    @property
    def offset(self) -> int:
        """Size of the journal in bytes, all of it on disk: what a checkpoint remembers."""
        self.sync()
        return os.fstat(self._fd).st_size

    def sync(self) -> None:
        """Force everything written so far to the disk."""
        os.fsync(self._fd)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close; closing twice is harmless."""
        if self._fd >= 0:
            self.sync()
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, entry: dict[str, Any]) -> None:
        line = json.dumps({"at": round(time.time(), 3), **entry}, allow_nan=False) + "\n"
        data = line.encode()
        start = os.fstat(self._fd).st_size
        try:
            while data:  # a short write means that the disk is nearly full: the next one raises
                data = data[os.write(self._fd, data) :]
        except OSError:
            os.ftruncate(self._fd, start)
            raise


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All entries in order; a missing file is an empty journal, a torn last line is left out.

    A damaged line elsewhere is kept out too and shows up as an entry of kind `damaged`; so does a journal
    that is a folder or beyond the limits.
    """
    try:
        return list(_entries(limits.read_limited(path, limits.JOURNAL_BYTES, error=RecordError)))
    except FileNotFoundError:
        return []
    except RecordError as error:
        return [_damaged(0, error.what)]


def follow_journal(path: Path) -> Iterator[list[dict[str, Any]]]:
    """What the journal holds, then what is added, in batches without end; an empty one: nothing came.

    A journal that a resumed run has cut is read on from its new end.
    """
    offset = 0
    while True:
        data = path.read_bytes()
        offset = min(offset, len(data))
        yield list(_entries(data[offset:], first=data.count(b"\n", 0, offset) + 1))
        offset = data.rfind(b"\n") + 1
        time.sleep(POLL_SECONDS)


def truncate_journal(path: Path, offset: int) -> None:
    """Cut the journal to its first `offset` bytes: what a resumed run will write again is dropped."""
    if path.exists() and path.stat().st_size > offset:
        os.truncate(path, offset)


def _entries(data: bytes, first: int = 1) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(data.split(b"\n")[:-1], start=first):  # what follows the last \n is torn
        yield _entry(line, number)


def _entry(line: bytes, number: int) -> dict[str, Any]:
    """The entry of a line, of the shape that `records.shapes` has for its kind; else a `damaged` one."""
    try:
        entry = load_json(line, number)
    except RecordError as error:
        return _damaged(number, error.what)
    kind = entry.get("kind")
    wrong = misfit(LINES.get(kind, Line) if isinstance(kind, str) else Line, entry)
    return _damaged(number, wrong[0]) if wrong else entry


def _damaged(number: int, why: str) -> dict[str, Any]:
    return {"kind": "damaged", "line": number, "why": why}


def _cut_torn_line(path: Path) -> None:
    """Cut what follows the last newline. Nothing does: leave the file alone, another may be appending."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        truncate_journal(path, whole)
