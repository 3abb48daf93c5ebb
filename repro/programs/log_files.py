"""Log files that programs write, as metrics by step: JSON lines and CSV, read while they grow."""

from __future__ import annotations

import csv
import glob
import io
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from repro.errors import RecordError
from repro.io import limits
from repro.records import Journal, read_journal

Metrics = tuple[int, dict[str, float]]  # step, values
STEPS = ("step", "global_step", "iter", "iteration", "epoch")  # keys of the step; the first one found
LARGEST = 256 * 2**20  # bytes of a log file
MOST_DIGITS = 100  # of a number
SHARE = 0.02  # largest fraction of one core for reading log files repeatedly
PAUSE = 1.0  # seconds between two readings


def json_lines(text: str) -> Iterator[Metrics]:
    """Metrics of JSON lines, as MMEngine's scalars.json; other lines are ignored."""
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield from _metrics(found)


def csv_lines(text: str) -> Iterator[Metrics]:
    """Metrics of a CSV with a header, as Lightning's metrics.csv; empty cells are no values."""
    try:
        for line in csv.DictReader(io.StringIO(text, newline="")):
            yield from _metrics({str(name): cell for name, cell in line.items() if cell})
    except csv.Error:
        return


FORMATS: Mapping[str, Callable[[str], Iterator[Metrics]]] = {
    "json_lines": json_lines,
    "mmengine": json_lines,
    "csv": csv_lines,
    "lightning": csv_lines,
}


def parse(text: str, name: str, log_format: str) -> Iterator[Metrics]:
    """Metrics of a log file's text; `auto` goes by the suffix of its name."""
    if log_format == "auto":
        log_format = "csv" if name.lower().endswith((".csv", ".tsv")) else "json_lines"
    return FORMATS[log_format](text)


def _metrics(found: Mapping[str, Any]) -> Iterator[Metrics]:
    """(step, its numbers) of one line; nothing without both."""
    numbers = {str(name): number for name, value in found.items() if (number := _number(value)) is not None}
    key = next((name for name in STEPS if name in numbers), None)
    if key is None or not 0 <= numbers[key] <= 2**53:
        return
    values = {_plain(name): value for name, value in numbers.items() if name not in STEPS}
    if values:
        yield int(numbers[key]), values


def _number(value: object) -> float | None:
    """The value as a number; None for text, true and false."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > MOST_DIGITS:
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _plain(name: str) -> str:
    """A metric's name with the characters that MLflow allows."""
    return re.sub(r"[^\w\-./ ]", "_", name)[:200]


class LogFiles:
    """Follows log files and writes their metrics to a journal, each value once.

    Files are read from the beginning whenever they have changed, because some programs write theirs again
    from time to time. What a journal already has is not written a second time, so that a resumed program
    continues its journal.

    Args:
        pattern: Path of the file, or a pattern with `*`.
        log_format: A key of FORMATS, or "auto".
        journal: Path of the journal.
    """

    def __init__(self, pattern: str, log_format: str, journal: Path) -> None:
        self.pattern = pattern
        self.log_format = log_format
        self.journal = journal
        self.found = False  # whether a file had metrics
        self._known = set(_points(read_journal(journal)))
        self._stamps: dict[str, tuple[int, int]] = {}
        self._next = 0.0

    def poll(self) -> None:
        """Read what has changed, unless the last reading was a moment ago."""
        if time.monotonic() >= self._next:
            self.read()

    def read(self, *, final: bool = False) -> None:
        """Read what has changed since the last reading; `final` also takes a last line without an end."""
        began = time.monotonic()
        for name in sorted(glob.glob(self.pattern, recursive=True)):
            text = self._changed(Path(name), final=final)
            try:
                self._write(parse(text or "", name, self.log_format))
            except OSError:  # a full disk must not end the program; the next reading tries again
                self._stamps.pop(name, None)
        used = time.monotonic() - began
        self._next = began + max(PAUSE, used / SHARE)

    def _changed(self, path: Path, *, final: bool) -> str | None:
        """The complete lines of a file, None if it is as it was."""
        try:
            state = path.stat()
            stamp = (state.st_size, state.st_mtime_ns)
            if self._stamps.get(str(path)) == stamp and not final:
                return None
            data = limits.read_limited(path, LARGEST, error=RecordError)
        except (OSError, RecordError):  # a folder, or a file that has just been removed
            return None
        self._stamps[str(path)] = stamp
        whole = data if final else data[: data.rfind(b"\n") + 1]
        return whole.decode("utf-8", errors="replace")

    def _write(self, metrics: Iterable[Metrics]) -> None:
        with Journal(self.journal) as journal:
            for step, values in metrics:
                self.found = True
                new = {name: v for name, v in values.items() if (step, name, str(v)) not in self._known}
                if new:
                    journal.metrics(new, step)
                    self._known |= {(step, name, str(value)) for name, value in new.items()}


def _points(entries: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, str, str]]:
    """(step, metric, value as text) of a journal, also of values that are not finite."""
    for entry in entries:
        if entry["kind"] == "metrics":
            yield from ((entry["step"], name, str(float(v))) for name, v in entry["values"].items())
        elif entry["kind"] == "not_finite":
            yield from ((entry["step"], name, str(v)) for name, v in entry["values"].items())
