"""Import of a results page as typed rows: markdown and HTML tables, or the metadata of models in YAML.

Columns are recognised by their titles, or named by a column map. Every cell of a known column is read, is
empty, or is reported with its row and column; none is guessed. Cells and layout are kept, so that the page
can be printed again byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from repro.errors import DataError
from repro.published.cell import EMPTY, Number, plain, read_number
from repro.published.columns import (
    METRICS,
    Column,
    ColumnMap,
    read_columns,
    require_one_of_each,
)
from repro.published.datasets import dataset_named
from repro.published.markdown import common_layout, fill, layout, nesting, tables, without_nesting
from repro.published.page_table import Line, MarkdownTable
from repro.published.row_values import Problem, RowValues, column_format, read_cell, under_protocol

NAME_CHARACTERS = 60  # of a data set that a heading names
_STRIDE = re.compile(r"(?i)(?:os\W?|-d|stride\W?)(8|16|32)\b")
_DEPTH = re.compile(r"(?i)(?:resnet|r)-?(18|34|50|101|152)(?!\d)")
_NAMES = re.compile(r"(?i)mobilenet(?:_?v\d)?|xception|densenet\d*|vgg\d*")
_SIZE = re.compile(r"\b(\d{3,4})\s*[x×*]\s*(\d{3,4})\b")

NOT_KNOWN = "not known as a metric; name it in the column map if it is one"


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The content of a page file, as `page_json` writes it, and what could not be read."""

    raw: dict[str, Any]
    problems: tuple[Problem, ...]


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
    formats = [column_format(column, table, index) for index, column in enumerate(columns)]
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
    found = RowValues()
    for column, form, cell in zip(columns, formats, line.cells, strict=False):
        read_cell(found, column, form, cell, line.number)
    problems += found.problems
    metrics = under_protocol(found)
    expected = any(column.field in METRICS for column in columns)
    flags = found.flags + (["not_reported"] if expected and not metrics and not found.problems else [])
    described = _description(table, columns, line.cells, given)
    row: dict[str, Any] = {"line": line.number, **described, **found.facts}
    row |= {"metrics": metrics} | ({"cost": found.cost} if found.cost else {})
    row |= ({"extra": found.extra} if found.extra else {}) | ({"flags": flags} if flags else {})
    own = {} if fill(shape, line.cells) == line.text else {"layout": _shape(line)}
    return row | {"cells": list(line.cells)} | own


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
