"""Import of a results page as typed rows: markdown and HTML tables, or the metadata of models in YAML.

Columns are recognised by their titles, or named by a column map. Every cell of a known column is read, is
empty, or is reported with its row and column; none is guessed. Cells and layout are kept, so that the page
can be printed again byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from repro.errors import DataError
from repro.published.cell import EMPTY, Number, Unread, plain, read_number, read_pair
from repro.published.columns import (
    COSTS,
    COUNTS,
    METRICS,
    PROTOCOLS,
    UNITS,
    Column,
    ColumnMap,
    read_columns,
    require_one_of_each,
)
from repro.published.datasets import dataset_named
from repro.published.markdown import common_layout, fill, layout, nesting, tables, without_nesting
from repro.published.page_table import Line, MarkdownTable

NAME_CHARACTERS = 60  # of a data set that a heading names
_STRIDE = re.compile(r"(?i)(?:os\W?|-d|stride\W?)(8|16|32)\b")
_DEPTH = re.compile(r"(?i)(?:resnet|r)-?(18|34|50|101|152)(?!\d)")
_NAMES = re.compile(r"(?i)mobilenet(?:_?v\d)?|xception|densenet\d*|vgg\d*")
_SIZE = re.compile(r"\b(\d{3,4})\s*[x×*]\s*(\d{3,4})\b")
_YES, _NO = re.compile(r"(?i)yes|true|y|✓|✔|√|✅"), re.compile(r"(?i)no|false|n|✗|✘|❌")
_SPLITS = {"val": "val", "validation": "val", "test": "test"}


NOT_KNOWN = "not known as a metric; name it in the column map if it is one"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A cell or a column that holds something, but could not be read."""

    line: int
    column: str
    text: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}, column '{self.column}': {self.reason}: {self.text[:80]!r}"


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The content of a page file, as `page_json` writes it, and what could not be read."""

    raw: dict[str, Any]
    problems: tuple[Problem, ...]


@dataclass
class _Found:
    """What the cells of one row say."""

    metrics: dict[str, float] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    extra: dict[str, float] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    switches: dict[str, bool] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def import_page(text: str, *, source: str, origin: str = "", column_map: ColumnMap | None = None) -> Imported:
    """Convert the tables of a markdown page.

    Args:
        text: The markdown page.
        source: Id of the page; rows become SOURCE-01, SOURCE-02, ...
        origin: Where the page came from.
        column_map: How to read columns whose titles do not suffice.

    Raises:
        DataError: The page has no table with rows, or two columns fill one field.
    """
    given = column_map or ColumnMap()
    problems: list[Problem] = []
    found = [(table, _columns(table, given)) for table in require_tables(text, origin)]
    about = {"id": source, "origin": origin} | _title([table for table, _ in found])
    raw: dict[str, Any] = {"source": about, "tables": [], "rows": {}}
    require_one_of_each([(table.number, columns) for table, columns in found], origin or "the page")
    for table, columns in found:
        raw["tables"].append(_add_table(raw, table, columns, given, problems))
    return Imported(raw=raw, problems=tuple(problems))


def _title(found: Sequence[MarkdownTable]) -> dict[str, str]:
    """The heading of level 1 that all tables are under."""
    titles = {dict(table.headings).get(1, "") for table in found}
    return {"title": plain(title)} if len(titles) == 1 and (title := titles.pop()) else {}


def _columns(table: MarkdownTable, given: ColumnMap) -> tuple[Column, ...]:
    """The columns of a table; "size" is none of a file if it is tiny, small, base."""
    columns = read_columns(table.columns, given)
    words = [i for i, column in enumerate(columns) if column.field == "size_MB" and _is_words(table, i)]
    return tuple(replace(one, field="text") if i in words else one for i, one in enumerate(columns))


def _is_words(table: MarkdownTable, index: int) -> bool:
    texts = [plain(line.cells[index]) for line in table.rows if index < len(line.cells)]
    return any(text[:1].isalpha() for text in texts) and not any(text[:1].isdigit() for text in texts)


def require_tables(text: str, where: object) -> list[MarkdownTable]:
    """Return the non-empty tables of a page. Raises DataError if there is none."""
    found = [table for table in tables(text) if table.rows]
    if not found:
        allowed = "markdown tables with a rule line, or HTML tables"
        raise DataError("no table in this page", where=where or None, allowed=allowed)
    return found


def _add_table(
    raw: dict[str, Any],
    table: MarkdownTable,
    columns: Sequence[Column],
    given: ColumnMap,
    problems: list[Problem],
) -> dict[str, Any]:
    """Add the rows of a table to `raw` and return its layout."""
    if not any(column.field in METRICS for column in columns):
        problems += _unread_numbers(table, columns)
    formats = [_format(column, table, index) for index, column in enumerate(columns)]
    shape = _common(table)
    body: list[str] = []
    for line in table.body:
        key = f"{raw['source']['id']}-{len(raw['rows']) + 1:02}"
        body.append(line.text if line.is_rule else key)
        if not line.is_rule:
            raw["rows"][key] = _row(table, columns, formats, shape, line, given, problems)
    head = {"title": table.title, "section": table.section, "line": table.number}
    head |= {"header": table.header, "rule": table.rule} | ({} if table.joiner else {"joiner": ""})
    return head | {"layout": shape, "columns": formats, "body": body}


def _common(table: MarkdownTable) -> str:
    if table.rows[0].layout:
        return table.rows[0].layout
    return nesting(table.header) + common_layout([without_nesting(line.text) for line in table.rows])


def _shape(line: Line) -> str:
    return line.layout or nesting(line.text) + layout(without_nesting(line.text))


def _unread_numbers(table: MarkdownTable, columns: Sequence[Column]) -> list[Problem]:
    """Columns of a table without a metric that may hold one: half of it numbers between 0 and 100."""
    found = []
    for index, column in enumerate(columns):
        if column.field != "text" or index == 0:
            continue
        cells = [read_number(line.cells[index]) for line in table.rows if index < len(line.cells)]
        numbers = [cell.value for cell in cells if isinstance(cell, Number) and cell.unit in ("", "%")]
        if numbers and 2 * len(numbers) >= len(cells) and all(0 <= value <= 100 for value in numbers):
            text = f"{numbers[0]:g}, ..."
            found.append(Problem(line=table.number, column=column.title, text=text, reason=NOT_KNOWN))
    return found


def _row(
    table: MarkdownTable,
    columns: Sequence[Column],
    formats: Sequence[list[Any]],
    shape: str,
    line: Line,
    given: ColumnMap,
    problems: list[Problem],
) -> dict[str, Any]:
    found = _Found()
    for column, form, cell in zip(columns, formats, line.cells, strict=False):
        _read_cell(found, column, form, cell, line.number)
    problems += found.problems
    metrics = _under_protocol(found)
    expected = any(column.field in METRICS for column in columns)
    flags = found.flags + (["not_reported"] if expected and not metrics and not found.problems else [])
    described = _description(table, columns, line.cells, given)
    row: dict[str, Any] = {"line": line.number, **described, **found.facts}
    row |= {"metrics": metrics} | ({"cost": found.cost} if found.cost else {})
    row |= ({"extra": found.extra} if found.extra else {}) | ({"flags": flags} if flags else {})
    own = {} if fill(shape, line.cells) == line.text else {"layout": _shape(line)}
    return row | {"cells": list(line.cells)} | own


def _under_protocol(found: _Found) -> dict[str, float]:
    """Metrics with the suffix of the protocol that other columns of the row give: Multi-scale, Flip."""
    scales, flip = (found.switches.get(name, False) for name in ("multi_scale", "flip"))
    suffix = PROTOCOLS.get((scales, flip), "")
    return {name + suffix if name == "mIoU" else name: value for name, value in found.metrics.items()}


def _read_cell(found: _Found, column: Column, form: Sequence[Any], cell: str, line: int) -> None:
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


def _read_switch(found: _Found, column: Column, cell: str, line: int) -> None:
    text = plain(cell)
    if column.field == "multi_scale" and "[" in text and "⏎" not in text:
        found.switches["multi_scale"] = text.replace(" ", "") not in ("[1.0]", "[1]")
    elif _YES.fullmatch(text) or _NO.fullmatch(text) or text.lower() in EMPTY:
        found.switches[column.field] = bool(_YES.fullmatch(text))
    else:
        found.problems.append(Problem(line=line, column=column.title, text=text, reason="neither yes nor no"))


def _read_values(found: _Found, column: Column, form: Sequence[Any], cell: str, line: int) -> None:
    if not column.second:
        _read_value(found, column, form, read_number(cell), line)
        return
    first, second = read_pair(cell)
    _read_value(found, column, form, first, line)
    _read_value(found, replace(column, field=column.second), form, second, line)


def _read_value(
    found: _Found, column: Column, form: Sequence[Any], number: Number | Unread | None, line: int
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


def _read_remarks(found: _Found, remarks: Sequence[str]) -> None:
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


def _format(column: Column, table: MarkdownTable, index: int) -> list[Any]:
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


def _description(
    table: MarkdownTable, columns: Sequence[Column], cells: Sequence[str], given: ColumnMap
) -> dict[str, Any]:
    """Data set, family, backbone, output stride and crop of a row."""
    texts = {column.field: plain(cell) for column, cell in zip(columns, cells, strict=False)}
    text = " ".join([*map(plain, cells[:3]), texts.get("backbone", "")])
    found: dict[str, Any] = {"dataset": _dataset(table, columns, cells, given)}
    if (family := texts.get("family", "")).lower() not in EMPTY:
        found["family"] = family
    if depth := _DEPTH.search(text):
        found["backbone"] = f"resnet{depth[1]}"
    elif name := _NAMES.search(text):
        found["backbone"] = name[0].lower()
    if stride := _STRIDE.search(text):
        found["output_stride"] = int(stride[1])
    elif texts.get("output_stride") in ("8", "16", "32"):
        found["output_stride"] = int(texts["output_stride"])
    if crop := _SIZE.search(texts.get("crop", plain(cells[0]) if cells else "")):
        found["crop"] = sorted([int(crop[1]), int(crop[2])])  # "1024x512" and "512x1024": wider than high
    return found


def _dataset(table: MarkdownTable, columns: Sequence[Column], cells: Sequence[str], given: ColumnMap) -> str:
    """The data set of a row: from the map, a column, a title of a metric, the caption, or the headings."""
    chosen = given.dataset
    if "name" in chosen:
        return str(chosen["name"])
    if "heading" in chosen:
        return _slug(dict(table.headings).get(int(chosen["heading"]), ""), given.own)
    for column, cell in zip(columns, cells, strict=False):
        if column.field == "dataset" or ("column" in chosen and column.title == chosen["column"]):
            return _slug(cell, given.own)
        if column.field == "eval_set" and (named := dataset_named(plain(cell), given.own)):
            return named
    if named := next((column.dataset for column in columns if column.dataset), ""):
        return named
    headings = [text for _, text in reversed(table.headings)]
    # The name that the page gives stays where the tool knows no data set of that name.
    texts = (table.title, table.caption, table.section, *headings)
    named = next((name for text in texts if (name := dataset_named(text, given.own))), "")
    return named or _slug(table.title or table.section, given.own)


def _slug(text: str, own: Mapping[str, str]) -> str:
    text = plain(text)
    return dataset_named(text, own) or re.sub(r"\W+", "_", text.lower()).strip("_")[:NAME_CHARACTERS]
