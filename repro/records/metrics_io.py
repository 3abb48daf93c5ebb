"""The files of an experiment, read and checked: metrics.json, cost.json, curve.csv and confusion.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from repro.errors import RecordError
from repro.io import limits
from repro.io.json_reader import read_json
from repro.io.safe_text import cell_text
from repro.records.schema import Cost, Metrics, require


def plain_metrics(found: Mapping[str, Any]) -> dict[str, float]:
    """The flat numbers of metrics.json without interval ends and counts."""
    numbers = {k: float(v) for k, v in found.items() if is_number(v) and k != "n_images"}
    return {k: v for k, v in numbers.items() if not k.endswith(("_low", "_high"))}


def intervals(found: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Metric -> (low, high) from `mIoU_low`, `mIoU_high`."""
    names = [key.removesuffix("_low") for key in found if key.endswith("_low")]
    return {name: (float(found[f"{name}_low"]), float(found[f"{name}_high"])) for name in names}


def interval_kind(found: Mapping[str, Any]) -> str:
    """What kind the intervals of metrics.json are; "" in files from before they named it."""
    return str(found.get("interval", ""))


def undefined_metrics(found: Mapping[str, Any]) -> dict[str, str]:
    """Metric -> why it has no value; metrics.json holds null for these."""
    return {str(name): str(reason) for name, reason in found.get("undefined", {}).items()}


def read_metrics(path: Path) -> dict[str, Any]:
    """metrics.json, checked for what a record needs; RecordError."""
    found = _read(path, "evaluate")
    hint = f"`repro evaluate {path.parent.name}`"
    require(Metrics, found, path, hint=hint)
    ends = [key.removesuffix("_low") for key in found if key.endswith("_low")]
    numbers = {name: (found[f"{name}_low"], found.get(f"{name}_high")) for name in ends}
    for name, interval in numbers.items():
        if not all(map(is_number, interval)):
            raise RecordError(f"the interval of {name} is {list(interval)}", where=path, hint=hint)
    return found


def inference_cost(path: Path) -> dict[str, Any]:
    """cost.json of the benchmark, {} where none was run; RecordError for what no table could show."""
    if not path.exists():
        return {}
    found = _read(path, "benchmark")
    require(Cost, found, path, hint=f"`repro benchmark {path.parent.name}` again")
    return found


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read(path: Path, verb: str) -> dict[str, Any]:
    name = path.parent.name
    try:
        return read_json(path, hint=f"`repro {verb} {name}` again")
    except FileNotFoundError:
        raise RecordError("nothing was measured yet", where=path, hint=f"`repro {verb} {name}`") from None


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
        raise ValueError(f"{text} is not a finite number")
    return number
