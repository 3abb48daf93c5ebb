"""Validated reading of metrics.json, cost.json, curve.csv and confusion.csv."""

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
    """Return the scalar metrics of metrics.json, without interval bounds and counts."""
    numbers = {k: float(v) for k, v in found.items() if is_number(v) and k != "n_images"}
    return {k: v for k, v in numbers.items() if not k.endswith(("_low", "_high"))}


def intervals(found: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return (low, high) by metric, from `mIoU_low` and `mIoU_high`."""
    names = [key.removesuffix("_low") for key in found if key.endswith("_low")]
    return {name: (float(found[f"{name}_low"]), float(found[f"{name}_high"])) for name in names}


def interval_kind(found: Mapping[str, Any]) -> str:
    """Return the kind of the intervals in metrics.json; "" in older files."""
    return str(found.get("interval", ""))


def undefined_metrics(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the reasons of undefined metrics, which are null in metrics.json."""
    return {str(name): str(reason) for name, reason in found.get("undefined", {}).items()}


def read_metrics(path: Path) -> dict[str, Any]:
    """Read and validate metrics.json. Raises RecordError."""
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
    """Read and validate cost.json of the benchmark, {} if it has not run. Raises RecordError."""
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


CURVE = ("loss", "lr", "val_mIoU")  # columns in addition to `step`
Point = tuple[int, float]  # step, value


def read_curve(path: Path) -> dict[str, list[Point]]:
    """Read curve.csv: points by column, {} if there is no file. Raises RecordError if it is invalid."""
    hint = f"`repro train {path.parent.name}` writes it again"
    return parse_curve(_text(path, hint), path)


def parse_curve(text: str, path: Path) -> dict[str, list[Point]]:
    """`read_curve` for text."""
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
    """Read confusion.csv: pixels by (actual, predicted), {} if there is none. Raises RecordError."""
    hint = f"`repro evaluate {path.parent.name}` writes it again"
    found: dict[tuple[str, str], float] = {}
    for number, line in _lines(_text(path, hint), path, hint):
        try:
            pixels = _finite(line["count"])
            if pixels < 0 or not line["actual"] or not line["predicted"]:
                raise ValueError("each line needs two classes and a pixel count")
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"line {number} is damaged: {error}", where=path, hint=hint) from None
        if not line.get("variant"):  # the others belong to variants such as _ms_flip
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
    except csv.Error as error:  # a cell exceeds the csv module's limit
        raise RecordError(f"not a table: {error}", where=path, hint=hint) from None


def _finite(text: str) -> float:
    """Parse a finite number. Raises ValueError for NaN, infinities and overlong text."""
    if len(text) > limits.DIGITS:
        raise ValueError(f"a number has {len(text)} characters")
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number
