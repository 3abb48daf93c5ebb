"""Published pages as typed rows: reading, writing, and the metrics that correspond to measured ones.

One JSON file per page holds its source, the layouts of its tables, and its rows, one per line, keyed by ids
such as `mine-06` (page mine, row 6). Metrics are percent, cells are verbatim, and values that are not printed
are absent. Only the standard library is imported, so that listing and checking rows stays fast.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from repro.errors import ParamsError
from repro.io.json_reader import read_json
from repro.published.markdown import fill, links

_LINK_NAMES = {
    **dict.fromkeys(("cfg", "config", "configs"), "config"),
    **dict.fromkeys(("model", "weights", "checkpoint", "ckpt", "download"), "model"),
    **dict.fromkeys(("log", "logs"), "log"),
}
# For link texts without a meaning ("Github", "here"): suffixes of the file name.
_LINK_ENDS = {
    "model": (".pth", ".pth.tar", ".pt", ".ckpt", ".safetensors", ".pkl"),
    "log": (".log", ".log.json"),
    "config": (".py", ".yaml", ".yml"),
}
_CORRECT = "correct the file, or write it again: `repro page import FILE --id ID --force`"
_NONE: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a page came from: repository path, commit and date; `title` is its heading in tables.

    An imported page has the sha256 of the markdown that was read, and of this file as it was written.
    """

    id: str
    origin: str
    commit: str = ""
    date: str = ""
    upstream: str = ""
    title: str = ""
    text_sha256: str = ""
    file_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a published table. Metrics are percent; costs have the unit in their name."""

    id: str
    line: int
    cells: tuple[str, ...]
    label: str = ""  # the cell that names the row
    dataset: str = ""
    family: str = ""
    backbone: str = ""
    output_stride: int | None = None
    crop: tuple[int, ...] = ()  # height, width
    batch: int | None = None
    train_set: str = ""
    eval_set: str = ""
    metrics: Mapping[str, float] = field(default_factory=lambda: _NONE)
    cost: Mapping[str, float] = field(default_factory=lambda: _NONE)
    extra: Mapping[str, float] = field(default_factory=lambda: _NONE)
    flags: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    source: str = ""  # config or script in the page's repository
    iterations: int | None = None
    device: str = ""  # of the printed speed
    recorded: str = ""  # date and commit in which the number first appeared
    weights_of: str = ""  # the row whose weights are linked, if they are not of this row
    layout: str = ""  # only if it differs from the layout of the table

    @property
    def page(self) -> str:
        return self.id.rpartition("-")[0]

    @property
    def links(self) -> dict[str, str]:
        """Link targets by role: config, model, log, model_mirror, evaluation. Empty targets are omitted."""
        found: dict[str, str] = {}
        for text, url in (link for cell in self.cells for link in links(cell)):
            role = link_role(text, url)
            if url:
                found["model_mirror" if role in found else role] = url
        return found


def link_role(text: str, url: str) -> str:
    """Return config, model, log or evaluation, from the link text or else the suffix of the file."""
    path = url.partition("?")[0].partition("#")[0].lower()
    ends = (role for role, endings in _LINK_ENDS.items() if path.endswith(endings))
    return _LINK_NAMES.get(text.strip().lower()) or next(ends, "evaluation")


@dataclass(frozen=True)
class Column:
    """The field of a column and the format of its values; `scale` is 0.01 for fractions."""

    field: str
    format: str = ""
    scale: float = 1.0

    def show(self, value: float) -> str:
        return self.format.format(value * self.scale)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A published table. `header` and `rule` are verbatim; `body` holds row ids and verbatim rule lines."""

    title: str
    section: str
    line: int
    header: str
    rule: str
    layout: str
    columns: tuple[Column, ...]
    body: tuple[str, ...]
    joiner: str = "\n"  # between two lines; "" for the rows of an HTML table

    def row_ids(self, known: Mapping[str, object]) -> tuple[str, ...]:
        return tuple(part for part in self.body if part in known)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A published page."""

    source: Source
    tables: tuple[Table, ...]
    rows: Mapping[str, Row]

    @property
    def id(self) -> str:
        return self.source.id

    @property
    def title(self) -> str:
        return self.source.title or self.source.origin or self.id

    def markdown(self, table: Table) -> str:
        """Return the table as published, byte for byte."""
        lines = [self._line(table, part) for part in table.body]
        return table.joiner.join([table.header, table.rule, *lines])

    def _line(self, table: Table, part: str) -> str:
        row = self.rows.get(part)
        return part if row is None else fill(row.layout or table.layout, row.cells)


def read_page(path: Path) -> Page:
    """Read a page file. Raises ParamsError if it is invalid."""
    try:
        return page_from_json(read_json(path, error=ParamsError, hint=_CORRECT))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"not a page of published results: {error}"
        raise ParamsError(what, where=path, hint=_CORRECT) from error


def page_from_json(raw: Mapping[str, Any]) -> Page:
    """Return the content of a page file as a Page. Unknown and missing keys raise."""
    tables = tuple(_table(table) for table in raw["tables"])
    cells = {key: value["cells"] for key, value in raw["rows"].items()}
    named = {part: _label_column(table, cells) for table in tables for part in table.body}
    rows = {key: _row(key, value, named.get(key, 0)) for key, value in raw["rows"].items()}
    return Page(source=Source(**raw["source"]), tables=tables, rows=rows)


def _table(raw: Mapping[str, Any]) -> Table:
    columns = tuple(Column(*column) for column in raw["columns"])
    return Table(**{**raw, "columns": columns, "body": tuple(raw["body"])})


def _label_column(table: Table, cells: Mapping[str, Sequence[str]]) -> int:
    """The column that names the rows: that of models, or else the first of words that differ."""
    fields = [column.field for column in table.columns]
    if "model" in fields:
        return fields.index("model")
    rows = [cells[part] for part in table.body if part in cells]
    words = (i for i, name in enumerate(fields) if name in ("text", "backbone"))
    return next((i for i in words if len({row[i] for row in rows if i < len(row)}) > 1), 0)


def _row(key: str, raw: Mapping[str, Any], label: int) -> Row:
    typed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in raw.items()}
    cells = typed["cells"]
    return Row(id=key, label=cells[label] if label < len(cells) else cells[0], **typed)


def page_json(raw: Mapping[str, Any]) -> str:
    """Return the text of a page file with the keys `source`, `tables`, `rows`."""
    tables = ",\n".join(_table_json(table) for table in raw["tables"])
    rows = ",\n".join(f"{_line(key)}: {_line(value)}" for key, value in raw["rows"].items())
    return f'{{\n"source": {_line(raw["source"])},\n"tables": [\n{tables}\n],\n"rows": {{\n{rows}\n}}\n}}\n'


def page_markdown(page: Page) -> str:
    """Return the page's tables under their headings, with the line numbers of the original page."""
    lines: list[str] = []
    for table in page.tables:
        text = page.markdown(table).split("\n")
        gap = table.line - 1 - len(lines)
        headings = [f"## {table.section}", f"**{table.title}**"][: max(gap, 0)]
        lines += [*headings, *[""] * (gap - len(headings)), *text]
    return "\n".join(lines) + "\n"


def _table_json(table: Mapping[str, Any]) -> str:
    return "{" + ",\n ".join(f"{_line(key)}: {_line(value)}" for key, value in table.items()) + "}"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


METRICS = ("mIoU", "mIoU_ms_flip", "aAcc", "mAcc", "fwIoU")
TOLERANCE = 0.05  # percent points: half of the last digit printed on page 000
QUIRK = "_page"  # mIoU_page: the page's own formula, if it differs from the metric's definition


def page_value(metrics: Mapping[str, Any], name: str) -> float | None:
    """Return the value to compare with a page: by the page's own formula if there is one."""
    value = metrics.get(name + QUIRK, metrics.get(name))
    return None if value is None else float(value)
