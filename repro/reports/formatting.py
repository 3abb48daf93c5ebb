"""How a value is shown in a cell: one function a quantity, nothing for what is not known."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from repro.records import Record
from repro.records.record import Measured

NO_VALUE = ""


def percent(value: float | None) -> str:
    """Two digits after the point, as the pages print."""
    return NO_VALUE if value is None else f"{value:.2f}"


def metric(one: Record | Measured, name: str) -> str:
    """A measured metric in percent, or that it is undefined; a note of the table says why."""
    return "undefined" if name in one.undefined else percent(one.metrics.get(name))


def difference(measured: float | None, published: float | None) -> str:
    """Signed points; empty unless both are known."""
    if measured is None or published is None:
        return NO_VALUE
    return f"{measured - published:+z.2f}"


def interval(record: Record | Measured, metric: str = "mIoU") -> str:
    """The 95 % interval of a metric; `interval_kind` of the record says how it was made."""
    low_high = record.intervals.get(metric)
    return NO_VALUE if low_high is None else f"{low_high[0]:.2f}–{low_high[1]:.2f}"


def seeds(values: Sequence[float]) -> str:
    """Mean and standard deviation of two or more seeds: '50.12 ± 0.31 (3)'."""
    return f"{fmean(values):.2f} ± {stdev(values):.2f} ({len(values)})" if len(values) > 1 else NO_VALUE


def macs(cost: Mapping[str, Any]) -> str:
    """Multiply-accumulates of convolutions with the input they were counted at: '133.60 @ 1024x2048'."""
    count, size = cost.get("gmacs_conv"), cost.get("input_size")
    if count is None:
        return NO_VALUE
    return f"{count:.2f}" + (f" @ {size_text(size)}" if size else "")


def size_text(size: Any) -> str:
    """(1024, 2048), 1024 or '1024x2048' as '1024x2048'."""
    if isinstance(size, int | float):
        size = (size, size)
    return size if isinstance(size, str) else "x".join(str(int(side)) for side in size)


def device_text(cost: Mapping[str, Any]) -> str:
    """What a speed was measured on: processor or GPU, threads, torch, precision, batch."""
    device = cost.get("device") or {}
    if isinstance(device, str):
        return device
    name = device.get("gpu") or device.get("cpu")
    threads = f"{device['threads']} threads" if device.get("threads") and not device.get("gpu") else None
    torch = f"torch {device['torch']}" if device.get("torch") else None
    batch = f"batch {cost['batch']}" if cost.get("batch") else None
    return ", ".join(str(part) for part in (name, threads, torch, cost.get("precision"), batch) if part)


def noted(cell: str, kind: str, note: str) -> str:
    """`cell` followed by a note for `Marks.resolved` of tables; unchanged when either is empty."""
    return f"{cell}\0{kind}\1{note}\0" if cell and note else cell


class Footnotes:
    """Marks for texts that many cells share, in order of appearance: a, b, ..., z, aa, ... or `numbered`."""

    def __init__(self, *, numbered: bool = False, prefix: str = "") -> None:
        self._letters: dict[str, str] = {}
        number: Callable[[int], str] = lambda index: f"{prefix}{index + 1}"  # noqa: E731
        self._mark = number if numbered else _letter

    def mark(self, cell: str, text: str) -> str:
        """`cell` with the mark of `text`; unchanged when either is empty."""
        if not cell or not text:
            return cell
        return f"{cell} ({self._letters.setdefault(text, self._mark(len(self._letters)))})"

    def notes(self, prefix: str) -> list[str]:
        return [f"({letter}) {prefix}: {text}" for text, letter in self._letters.items()]


def _letter(index: int) -> str:
    letters = string.ascii_lowercase
    return letters[index] if index < 26 else _letter(index // 26 - 1) + letters[index % 26]
