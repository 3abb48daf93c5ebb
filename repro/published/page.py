"""Published pages as typed rows: reading, writing, and which printed metrics correspond to ours.

One file a page: where it came from, how its tables are laid out, and its rows, one a line, keyed by id such
as `001-06` (page 001, row 6). Metrics are percent; cells are verbatim; what is not printed is absent. Only
the standard library is used, so that listing and checking rows stays instant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from repro.errors import ParamsError, UnknownNameError
from repro.io.json_reader import read_json
from repro.published.markdown import fill, links

HERE = Path(__file__).parent
_LINK_NAMES = {"cfg": "config", "config": "config", "model": "model", "log": "log", "download": "model"}
# Where the text says nothing ("Github", "here"): what the file's name ends with.
_LINK_ENDS = {
    "model": (".pth", ".pth.tar", ".pt", ".ckpt", ".safetensors", ".pkl"),
    "log": (".log", ".log.json"),
    "config": (".py", ".yaml", ".yml"),
}
_NONE: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a page came from: repository path, commit and date of the text used."""

    id: str
    origin: str
    commit: str = ""
    date: str = ""
    upstream: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a published table. Metrics are percent, sizes and costs in the unit of their name."""

    id: str
    line: int
    cells: tuple[str, ...]
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
    recorded: str = ""  # date and commit in which the number first appeared
    layout: str = ""  # only where the row is not laid out as its table

    @property
    def page(self) -> str:
        return self.id.rpartition("-")[0]

    @property
    def label(self) -> str:
        """What the row calls itself: its first cell, or its second where the first names the method alone."""
        return self.cells[1] if self.cells[0] == "DeepLabV3+" else self.cells[0]

    @property
    def links(self) -> dict[str, str]:
        """Link targets by role: config, model, log, model_mirror, evaluation; empty targets left out."""
        found: dict[str, str] = {}
        for text, url in (link for cell in self.cells for link in links(cell)):
            role = link_role(text, url)
            if url:
                found["model_mirror" if role in found else role] = url
        return found


def link_role(text: str, url: str) -> str:
    """config, model, log or evaluation: by the link's text, else by the ending of the file it leads to."""
    path = url.partition("?")[0].partition("#")[0].lower()
    ends = (role for role, endings in _LINK_ENDS.items() if path.endswith(endings))
    return _LINK_NAMES.get(text.strip().lower()) or next(ends, "evaluation")


@dataclass(frozen=True)
class Column:
    """What a column holds, and how a measured value is printed in it (`scale` 0.01 for fractions)."""

    field: str
    format: str = ""
    scale: float = 1.0

    def show(self, value: float) -> str:
        return self.format.format(value * self.scale)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A published table: header and rule verbatim; `body` holds row ids and, verbatim, rules between rows."""

    title: str
    section: str
    line: int
    header: str
    rule: str
    layout: str
    columns: tuple[Column, ...]
    body: tuple[str, ...]

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

    def markdown(self, table: Table) -> str:
        """The table as published, byte for byte, lines joined by newlines."""
        lines = [self._line(table, part) for part in table.body]
        return "\n".join([table.header, table.rule, *lines])

    def _line(self, table: Table, part: str) -> str:
        row = self.rows.get(part)
        return part if row is None else fill(row.layout or table.layout, row.cells)


def page_ids() -> list[str]:
    """Ids of the built-in pages: 000 to 004."""
    return sorted(path.stem.removeprefix("page-") for path in HERE.glob("page-*.json"))


@lru_cache
def load_page(page_id: str) -> Page:
    """A built-in page by id ('002')."""
    path = HERE / f"page-{page_id}.json"
    if not path.is_file():
        raise UnknownNameError("page", page_id, page_ids())
    return read_page(path)


def read_page(path: Path) -> Page:
    """A page file, typed; a damaged one is a ParamsError that names the file."""
    try:
        return page_from(read_json(path, error=ParamsError))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ParamsError(f"not a page of published results: {error}", where=path) from error


def pages() -> Iterator[Page]:
    """All built-in pages in order."""
    return map(load_page, page_ids())


@lru_cache
def rows() -> Mapping[str, Row]:
    """Every published row by id, in page order."""
    return MappingProxyType({row.id: row for page in pages() for row in page.rows.values()})


def row_ids(raw: object, where: object) -> tuple[str, ...]:
    """An experiment's `rows:`; an error where it is no list, or names a row that no page has."""
    if not isinstance(raw, list | tuple):
        allowed = "a list of published rows"
        raise ParamsError(f"key 'rows': got {raw!r}", where=where, allowed=allowed, hint="`rows: [003-028]`")
    for row in map(str, raw):
        if row not in rows():
            raise UnknownNameError("published row", row, rows(), where=where)
    return tuple(map(str, raw))


def page_from(raw: Mapping[str, Any]) -> Page:
    """The content of a page file as a Page; unknown keys and missing ones raise."""
    return Page(
        source=Source(**raw["source"]),
        tables=tuple(_table(table) for table in raw["tables"]),
        rows=MappingProxyType({key: _row(key, value) for key, value in raw["rows"].items()}),
    )


def _table(raw: Mapping[str, Any]) -> Table:
    columns = tuple(Column(*column) for column in raw["columns"])
    return Table(**{**raw, "columns": columns, "body": tuple(raw["body"])})


def _row(key: str, raw: Mapping[str, Any]) -> Row:
    typed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in raw.items()}
    return Row(id=key, **typed)


def page_json(raw: Mapping[str, Any]) -> str:
    """The text of a page file from its content: `source`, `tables`, `rows`."""
    tables = ",\n".join(_table_json(table) for table in raw["tables"])
    rows = ",\n".join(f"{_line(key)}: {_line(value)}" for key, value in raw["rows"].items())
    return f'{{\n"source": {_line(raw["source"])},\n"tables": [\n{tables}\n],\n"rows": {{\n{rows}\n}}\n}}\n'


def page_markdown(page: Page) -> str:
    """The page's tables under their headings, every line where the original page has it."""
    lines: list[str] = []
    for table in page.tables:
        text = page.markdown(table).split("\n")
        room = table.line - 1 - len(lines)
        headings = [f"## {table.section}", f"**{table.title}**"][: max(room, 0)]
        lines += [*headings, *[""] * (room - len(headings)), *text]
    return "\n".join(lines) + "\n"


def _table_json(table: Mapping[str, Any]) -> str:
    return "{" + ",\n ".join(f"{_line(key)}: {_line(value)}" for key, value in table.items()) + "}"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


METRICS = ("mIoU", "mIoU_ms_flip", "aAcc", "mAcc", "fwIoU")
TOLERANCE = 0.05  # percent points: half of the last digit that page 000 prints
QUIRK = "_page"  # mIoU_page: what the page computed, where that differs from the metric's definition


def as_the_page(metrics: Mapping[str, Any], name: str) -> float | None:
    """The metric to compare with a page's: that of the page's own computation where there is one."""
    value = metrics.get(name + QUIRK, metrics.get(name))
    return None if value is None else float(value)
