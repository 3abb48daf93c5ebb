"""curve.csv and confusion.csv of an experiment, typed: the text files that people and DVC plot."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

from repro import limits
from repro.errors import RecordError
from repro.safe_text import cell_text

CURVE = ("loss", "lr", "val_mIoU")  # columns beside `step`
Point = tuple[int, float]  # step, value


def read_curve(path: Path) -> dict[str, list[Point]]:
    """Column of curve.csv -> its points in order; {} without a file; RecordError for a damaged one."""
    hint = f"`repro train {path.parent.name}` writes it again"
    return parse_curve(_text(path, hint), path)


def parse_curve(text: str, path: Path) -> dict[str, list[Point]]:
    """`read_curve` of a text that was read already."""
    hint = f"`repro train {path.parent.name}` writes it again"
    found: dict[str, list[Point]] = {}
    for number, line in _lines(text, path, hint):
        try:
            step = int(line["step"])
            values = {name: _finite(line[name]) for name in CURVE if line.get(name)}
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"line {number} is damaged: {error}", where=path, hint=hint) from None
        for name, value in values.items():
            found.setdefault(name, []).append((step, value))
    return found


def read_confusion(path: Path) -> dict[tuple[str, str], float]:
    """(actual, predicted) -> pixels of confusion.csv; {} without one; RecordError for a damaged one."""
    hint = f"`repro evaluate {path.parent.name}` writes it again"
    found: dict[tuple[str, str], float] = {}
    for number, line in _lines(_text(path, hint), path, hint):
        try:
            pixels = _finite(line["count"])
            if pixels < 0 or not line["actual"] or not line["predicted"]:
                raise ValueError("a class and a count of pixels in each line")
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"line {number} is damaged: {error}", where=path, hint=hint) from None
        if not line.get("variant"):  # the others are of further variants, such as _ms_flip
            found[cell_text(line["actual"]), cell_text(line["predicted"])] = pixels
    return found


def _text(path: Path, hint: str) -> str:
    try:
        return limits.read_text(path, limits.CSV_BYTES, error=RecordError, hint=hint)
    except FileNotFoundError:
        return ""


def _lines(text: str, path: Path, hint: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for line in reader:
            yield reader.line_num, line
    except csv.Error as error:  # a cell beyond the csv module's limit
        raise RecordError(f"not a table: {error}", where=path, hint=hint) from None


def _finite(text: str) -> float:
    """A number of a cell; ValueError for NaN, infinities, and texts too long to be one."""
    if len(text) > limits.DIGITS:
        raise ValueError(f"a number of {len(text)} characters")
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number
