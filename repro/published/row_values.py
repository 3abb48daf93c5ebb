"""The cells of a page's row as numbers with the unit of their field, facts and switches, or problems."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from repro.published.cell import EMPTY, Number, Unread, plain, read_number, read_pair
from repro.published.columns import COSTS, COUNTS, METRICS, PROTOCOLS, UNITS, Column
from repro.published.page_table import MarkdownTable

_YES, _NO = re.compile(r"(?i)yes|true|y|✓|✔|√|✅"), re.compile(r"(?i)no|false|n|✗|✘|❌")
_SPLITS = {"val": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A cell or a column that holds something, but could not be read."""

    line: int
    column: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}, column '{self.column}': {self.reason}: {self.text[:80]!r}"


@dataclass
class RowValues:
    """What the cells of one row say."""

    metrics: dict[str, float] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    extra: dict[str, float] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    switches: dict[str, bool] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def under_protocol(found: RowValues) -> dict[str, float]:
    """Metrics with the suffix of the protocol that other columns of the row give: Multi-scale, Flip."""
    scales, flip = (found.switches.get(name, False) for name in ("multi_scale", "flip"))
    suffix = PROTOCOLS.get((scales, flip), "")
    return {name + suffix if name == "mIoU" else name: value for name, value in found.metrics.items()}


def read_cell(found: RowValues, column: Column, form: Sequence[Any], cell: str, line: int) -> None:
    if column.field in ("multi_scale", "flip"):
        _read_switch(found, column, cell, line)
    elif column.field in ("eval_set", "train_set") and plain(cell).lower() not in EMPTY:
        text = plain(cell).lower()
        found.facts[column.field] = _SPLITS.get(text, text)
    elif column.field in (*METRICS, *COSTS):
        _read_values(found, column, form, cell, line)
    elif column.field in ("batch", "iterations"):
        number = read_number(re.sub(r"(?i)(\d)\s?k\b", r"\g<1>000", cell))
        if isinstance(number, Number) and number.value.is_integer() and number.value >= 0:
            found.facts[column.field] = int(number.value)


def _read_switch(found: RowValues, column: Column, cell: str, line: int) -> None:
    text = plain(cell)
    if column.field == "multi_scale" and "[" in text and "⏎" not in text:
        found.switches["multi_scale"] = text.replace(" ", "") not in ("[1.0]", "[1]")
    elif _YES.fullmatch(text) or _NO.fullmatch(text) or text.lower() in EMPTY:
        found.switches[column.field] = bool(_YES.fullmatch(text))
    else:
        found.problems.append(Problem(line=line, column=column.title, text=text, reason="neither yes nor no"))


def _read_values(found: RowValues, column: Column, form: Sequence[Any], cell: str, line: int) -> None:
    if not column.second:
        _read_value(found, column, form, read_number(cell), line)
        return
    first, second = read_pair(cell)
    _read_value(found, column, form, first, line)
    _read_value(found, replace(column, field=column.second), form, second, line)


def _read_value(
    found: RowValues, column: Column, form: Sequence[Any], number: Number | Unread | None, line: int
) -> None:
    if number is None:
        return
    value = number if isinstance(number, Unread) else _scaled(column, form, number)
    if isinstance(value, Unread):
        problem = Problem(line=line, column=column.title, text=value.text, reason=value.reason)
        found.problems.append(problem)
        found.flags += ["note"] if column.field in METRICS and "note" not in found.flags else []
        return
    assert isinstance(number, Number)
    (found.metrics if column.field in METRICS else found.cost)[column.field] = value
    if number.spread is not None:
        scale = value / number.value if number.value else 1.0
        found.extra[f"{column.field}_spread"] = round(number.spread * scale, 9)
    if number.approximate and "approximate" not in found.flags:
        found.flags.append("approximate")
    if column.field in METRICS:
        _read_remarks(found, number.remarks)
    if column.split:
        found.facts.setdefault("eval_set", column.split)
    if column.device:
        known = found.facts.get("device", column.device)
        found.facts["device"] = known if column.device in known else f"{known}, {column.device}"


def _read_remarks(found: RowValues, remarks: Sequence[str]) -> None:
    """The split in "75.3 (val)"; other words are a note that a person has to read."""
    for remark in remarks:
        if split := _SPLITS.get(remark.lower()):
            found.facts["eval_set"] = split
        elif not re.search(r"\d", remark) and "note" not in found.flags:
            found.flags.append("note")


def _scaled(column: Column, form: Sequence[Any], number: Number) -> float | Unread:
    """The number in the unit of the field."""
    if column.field in METRICS:
        value = number.value / (form[2] if len(form) > 2 and number.unit != "%" else 1)
        if number.unit not in ("", "%"):
            return Unread(f"{number.value:g}{number.unit}", f"'{number.unit}' is no unit of a percentage")
        allowed = "a percentage is between 0 and 100"
        return round(value, 6) if 0 <= value <= 100 else Unread(f"{number.value:g}", allowed)
    factor = _factor(column, number)
    if not factor:
        unit = _unit(column, number)
        reason = f"'{unit}' is no unit of {column.field}" if unit else "no unit in the title or the cell"
        return Unread(f"{number.value:g}{number.unit}", reason)
    if number.value < 0:
        return Unread(f"{number.value:g}", "negative")
    return round(number.value * factor, 9)


def _unit(column: Column, number: Number) -> str:
    return number.unit.lower() or column.unit


def _factor(column: Column, number: Number) -> float | None:
    """From the printed unit to that of the field; None or 0 where the unit is unknown."""
    units = UNITS[column.field]
    if unit := _unit(column, number):
        return units.get(unit, units.get(_short(unit)))
    least, per_count = COUNTS.get(column.field, (float("inf"), 1.0))
    return per_count if number.value >= least else next(iter(units.values()))


def _short(unit: str) -> str:
    """`gflops` is `g`, `mparams` is `m`."""
    return re.sub(r"(?:flops?|macs?|params?|bytes?)$", "", unit)


def column_format(column: Column, table: MarkdownTable, index: int) -> list[Any]:
    """[field], or [field, format, scale] for a column of numbers."""
    kept = column.field in (*METRICS, *COSTS, "crop", "batch", "config_link", "links")
    name = column.field if kept else "text"
    cells = [line.cells[index] for line in table.rows if index < len(line.cells)]
    read = (read_pair(cell) if column.second else (read_number(cell),) for cell in cells)
    numbers = [number for several in read for number in several if isinstance(number, Number)]
    if name not in (*METRICS, *COSTS) or not numbers:
        return [name]
    shown = f"{{:.{max(number.digits for number in numbers)}f}}{numbers[0].unit}"
    if name in METRICS:
        said = any("%" in (column.unit, number.unit) for number in numbers)
        fractions = (
            not said and any(number.digits for number in numbers) and max(one.value for one in numbers) <= 1
        )
        return [name, shown, 0.01] if fractions else [name, shown]
    factor = _factor(column, numbers[0]) or 1
    return [name, shown] if factor == 1 else [name, shown, 1 / factor]
