"""Import of a markdown results page as typed rows.

Columns are recognised by their titles and numbers by their format: "0.721" under mIoU becomes 72.1 percent if
the whole column holds fractions. Cells and layout are kept, so the page can be printed again byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from repro.errors import DataError, ParamsError
from repro.published.markdown import Line, MarkdownTable, common_layout, fill, layout, tables
from repro.published.page import METRICS, page_ids

_FIELDS = (
    (r"(?i)^m?iou.*(ms|flip)", "mIoU_ms_flip"),
    (r"(?i)m?iou|^pre$", "mIoU"),
    (r"(?i)^(overall|pixel).*acc|^aacc", "aAcc"),
    (r"(?i)^mean.*acc|^macc", "mAcc"),
    (r"(?i)^freq", "fwIoU"),
    (r"(?i)params", "params_M"),
    (r"(?i)^(flops|macs|gmacs|gflops)", "gmacs"),
    (r"(?i)fps", "fps"),
    (r"(?i)time|latency", "time_ms"),
    (r"(?i)^mem", "mem_GB"),
    (r"(?i)^size", "size_MB"),
    (r"(?i)^crop", "crop"),
    (r"(?i)batch", "batch"),
    (r"(?i)^(config|cfg)$", "config_link"),
    (r"(?i)download|^(model|weights|checkpoint|log)s?$(?<!^model$)", "links"),
)
COSTS = ("params_M", "gmacs", "fps", "time_ms", "mem_GB", "size_MB")
_IDS = "letters, digits and underscores, e.g. mine"
_SINGLE = re.compile(r"\**([-+]?\d{1,20}(?:\.\d{1,20})?)\**\s*(%|[A-Za-z/]*)")
_STRIDE = re.compile(r"(?i)(?:os\W?|-d|stride\W?)(8|16|32)\b")
_DEPTH = re.compile(r"(?i)(?:resnet|r)-?(18|34|50|101|152)(?!\d)")
_NAMES = re.compile(r"(?i)mobilenet(?:_?v\d)?|xception|densenet\d*|vgg\d*")


def page_from_markdown(text: str, *, source: str, origin: str = "") -> dict[str, Any]:
    """Convert a markdown page to the content of a page file, as `page_json` writes it.

    Args:
        text: The markdown page.
        source: Id of the page; rows become SOURCE-01, SOURCE-02, ...
        origin: Where the page came from.

    Raises:
        DataError: The page has no table with rows.
    """
    raw: dict[str, Any] = {"source": {"id": source, "origin": origin}, "tables": [], "rows": {}}
    for table in require_tables(text, origin):
        raw["tables"].append(_add_table(raw, table))
    return raw


def check_source_id(source: str) -> str:
    """Return `source` if it can be the id of a new page. Raises ParamsError if it is invalid or taken."""
    if not re.fullmatch(r"[A-Za-z0-9]\w*", source, re.ASCII):
        hint = "rows become ID-01, ID-02, ..."
        raise ParamsError(f"invalid id '{source}'", where="--source", allowed=_IDS, hint=hint)
    if source.zfill(3) in page_ids():
        allowed = f"any id except {', '.join(page_ids())}"
        raise ParamsError(
            f"the id '{source}' is taken by a published page", where="--source", allowed=allowed
        )
    return source


def require_tables(text: str, where: object) -> list[MarkdownTable]:
    """Return the non-empty tables of a page. Raises DataError if there is none."""
    found = [table for table in tables(text) if table.rows]
    if not found:
        raise DataError(
            "no table in this page", where=where or None, allowed="markdown tables with a rule line"
        )
    return found


def _add_table(raw: dict[str, Any], table: MarkdownTable) -> dict[str, Any]:
    """Add the rows of a table to `raw` and return its layout."""
    columns = [_column(title, table, index) for index, title in enumerate(table.columns)]
    shape = common_layout([line.text for line in table.rows])
    body = []
    for line in table.body:
        key = f"{raw['source']['id']}-{len(raw['rows']) + 1:02}"
        body.append(line.text if line.is_rule else key)
        if not line.is_rule:
            raw["rows"][key] = _row(table, columns, shape, line)
    head = {"title": table.title, "section": table.section, "line": table.number}
    head |= {"header": table.header, "rule": table.rule}
    return head | {"layout": shape, "columns": columns, "body": body}


def _row(table: MarkdownTable, columns: Sequence[list[Any]], shape: str, line: Line) -> dict[str, Any]:
    row = {"line": line.number, **_description(table, line.cells), **_values(columns, line.cells)}
    own = {} if fill(shape, line.cells) == line.text else {"layout": layout(line.text)}
    return row | {"cells": list(line.cells)} | own


def _column(title: str, table: MarkdownTable, index: int) -> list[Any]:
    """[field], or [field, format, scale] for a column of numbers."""
    field = next((name for pattern, name in _FIELDS if index and re.search(pattern, title)), "text")
    texts = [line.cells[index] for line in table.rows if index < len(line.cells)]
    single = [match for text in texts if (match := _SINGLE.fullmatch(text))]
    if field not in (*METRICS, *COSTS) or not single:
        return [field]
    digits = max(len(match[1].partition(".")[2]) for match in single)
    shown = f"{{:.{digits}f}}{single[0][2]}"
    fractions = field in METRICS and all(float(match[1]) <= 1 and match[2] != "%" for match in single)
    return [field, shown, 0.01] if fractions else [field, shown]


def _values(columns: Sequence[list[Any]], cells: Sequence[str]) -> dict[str, Any]:
    """`metrics`, `cost` and `flags` of a row, from cells that hold a single number."""
    metrics: dict[str, float] = {}
    cost: dict[str, float] = {}
    flags: list[str] = []
    for column, cell in zip(columns, cells, strict=False):
        field, match = column[0], _SINGLE.fullmatch(cell)
        if field in METRICS and match:
            metrics[field] = round(float(match[1]) / (column[2] if len(column) > 2 else 1), 6)
        elif field in COSTS and match:
            cost[field] = float(match[1])
        elif field in METRICS and re.search(r"[A-Za-z?(]", cell):
            flags.append("note")
    if not metrics:
        flags.append("not_reported")
    return {"metrics": metrics} | ({"cost": cost} if cost else {}) | ({"flags": flags} if flags else {})


def _description(table: MarkdownTable, cells: Sequence[str]) -> dict[str, Any]:
    """Data set (from the heading), backbone, output stride and crop of a row."""
    text = " ".join(cells[:3])
    dataset = re.sub(r"\W+", "_", (table.title or table.section).lower()).strip("_")
    found: dict[str, Any] = {"dataset": dataset}
    if depth := _DEPTH.search(text):
        found["backbone"] = f"resnet{depth[1]}"
    elif name := _NAMES.search(text):
        found["backbone"] = name[0].lower()
    if stride := _STRIDE.search(text):
        found["output_stride"] = int(stride[1])
    if crop := re.search(r"\b(\d{3,4})\s*[x×]\s*(\d{3,4})\b", " ".join(cells)):
        found["crop"] = [int(crop[1]), int(crop[2])]
    return found
