"""The journal of a run: an append-only JSON Lines file.

Every line is an object with `at` (Unix time in seconds) and `kind`:

    {"at": 1763615946.2, "kind": "metrics", "step": 40, "values": {"train/loss": 0.91}}
    {"at": 1763615946.9, "kind": "checkpoint", "step": 40}

Lines are written immediately, so a killed process loses nothing. The file is synced once per second, at every
event and before `offset` is returned, so a power failure loses at most one second of metrics and nothing that
a checkpoint refers to.
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
from repro.records.schema import LINE_SCHEMAS, Line, first_error

SYNC_SECONDS = 1.0
POLL_SECONDS = 0.5


class Journal:
    """Writer of a journal; several processes may append to the same file.

    Opening removes an incomplete last line, left by a power failure. A failed write (disk full) is undone
    before the OSError is raised.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        if path.exists():
            _cut_torn_line(path)
        # O_APPEND: every line is written at the end, also after a resume has truncated the file.
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._synced = 0.0

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Write the metrics of a step. NaN and inf are written as an event `not_finite` instead.

        MLflow would store NaN as 0 and inf as 1.8e308, indistinguishable from results.
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
        """Write an event (start, checkpoint, end, ...) and sync it to disk."""
        self._append({"kind": kind, **fields})
        self.sync()

    @property
    def offset(self) -> int:
        """Size of the journal in bytes after a sync, as stored in checkpoints."""
        self.sync()
        return os.fstat(self._fd).st_size

    def sync(self) -> None:
        """Sync everything written so far to disk."""
        os.fsync(self._fd)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close. May be called twice."""
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
            while data:  # after a short write (the disk is nearly full) the next one raises
                data = data[os.write(self._fd, data) :]
        except OSError:
            os.ftruncate(self._fd, start)
            raise


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Read all entries in order; an incomplete last line is skipped, a missing file is empty.

    An invalid line is returned as an entry of kind `damaged`; so is a journal that is a folder or too large.
    """
    try:
        return list(_entries(limits.read_limited(path, limits.JOURNAL_BYTES, error=RecordError)))
    except FileNotFoundError:
        return []
    except RecordError as error:
        return [_damaged(0, error.what)]


def follow_journal(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield batches of entries, existing and then new ones, forever; empty batches while there are none.

    If a resumed run truncates the journal, reading continues from its new end.
    """
    offset = 0
    while True:
        data = path.read_bytes()
        offset = min(offset, len(data))
        yield list(_entries(data[offset:], first=data.count(b"\n", 0, offset) + 1))
        offset = data.rfind(b"\n") + 1
        time.sleep(POLL_SECONDS)


def truncate_journal(path: Path, offset: int) -> None:
    """Truncate the journal to `offset` bytes: a resumed run writes the rest again."""
    if path.exists() and path.stat().st_size > offset:
        os.truncate(path, offset)


def _entries(data: bytes, first: int = 1) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(data.split(b"\n")[:-1], start=first):  # without an incomplete last line
        yield _entry(line, number)


def _entry(line: bytes, number: int) -> dict[str, Any]:
    """Parse and validate a line; an invalid one becomes a `damaged` entry."""
    try:
        entry = load_json(line, number)
    except RecordError as error:
        return _damaged(number, error.what)
    kind = entry.get("kind")
    wrong = first_error(LINE_SCHEMAS.get(kind, Line) if isinstance(kind, str) else Line, entry)
    return _damaged(number, wrong[0]) if wrong else entry


def _damaged(number: int, why: str) -> dict[str, Any]:
    return {"kind": "damaged", "line": number, "why": why}


def _cut_torn_line(path: Path) -> None:
    """Remove an incomplete last line. A complete file is not touched: another process may be appending."""
    data = path.read_bytes()
    complete = data.rfind(b"\n") + 1
    if complete < len(data):
        truncate_journal(path, complete)
