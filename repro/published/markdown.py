"""Markdown tables: parsed into cells and layouts, and printed again byte for byte.

A line is a layout with cells: `'| {:<9} | {} '` with `('R-50-D8', '77.72%')`. The layout keeps every space
and pipe of the source, so a table can be printed again exactly, or with other values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from repro.errors import DataError
from repro.io import limits
from repro.published.html_tables import html_tables
from repro.published.page_table import Line, MarkdownTable, Place

if TYPE_CHECKING:
    from markdown_it.token import Token

MAX_LAYOUTS, MAX_LINES = 300, 300  # per table, to find its common layout
_PIPE = re.compile(r"(?<!\\)\|")
_NESTING = re.compile(r"[ \t]*(?:>[ \t]*|(?:[-*+]|\d{1,9}[.)])[ \t]+(?=[^ \t-]))*")
_RULE = re.compile(r":?-{2,}:?")
MAX_NESTING = 20
# Linear time: the text ends at the next bracket, the target at the next unbalanced parenthesis.
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\(((?:[^()]|\([^()]*\))*)\)")


def read_page(path: Path) -> str:
    """Read a markdown page within `repro.io.limits`. Raises DataError if it is missing, binary or larger."""
    try:
        text = limits.read_text(path, limits.PAGE_BYTES, error=DataError)
    except FileNotFoundError:
        raise DataError("no such page", where=path) from None
    return check_page(text, path)


def check_page(text: str, where: object) -> str:
    """Return `text`. Raises DataError if a page of it is beyond `repro.io.limits`."""
    if len(text) > limits.PAGE_BYTES:
        raise DataError(f"more than {limits.PAGE_BYTES:,} characters", where=where)
    lines = text.splitlines()
    if len(lines) > limits.PAGE_LINES:
        raise DataError(f"{len(lines):,} lines", where=where, allowed=f"at most {limits.PAGE_LINES:,}")
    for number, line in enumerate(lines, start=1):
        if len(line) > limits.LINE_CHARACTERS:
            allowed = f"at most {limits.LINE_CHARACTERS:,}"
            raise DataError(f"line {number} has {len(line):,} characters", where=where, allowed=allowed)
        if line.count("|") > limits.TABLE_COLUMNS:
            allowed = f"at most {limits.TABLE_COLUMNS}"
            raise DataError(f"line {number} has {line.count('|'):,} columns", where=where, allowed=allowed)
    return text


def tables(text: str) -> Iterator[MarkdownTable]:
    """Yield the tables of a page in order: pipe tables, also in quotes and lists, and HTML tables.

    Tables in code and in comments are examples, not results; they are not read.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    place = Place()
    for token in _blocks("\n".join(lines)):
        start, end = token.map or (0, 0)
        if token.type == "heading_open":
            place.enter(
                int(token.tag[1]), lines[start].lstrip("> ").strip("#").strip().removesuffix(":").rstrip()
            )
        elif token.type == "paragraph_open":
            place.read(lines[start:end])
        elif token.type == "table_open":
            yield _pipe_table(lines, start, end, place)
        elif token.type == "html_block":
            before, _, after = "\n".join(lines[start:end]).partition("<table")
            place.read_html(before)
            yield from html_tables(lines, start, end, place)
            place.read_html(after)


def _blocks(text: str) -> Iterator[Token]:
    """The blocks of a page, without a look into their text: the time is linear in the page."""
    from markdown_it import MarkdownIt  # 20 ms that typed pages need not

    parser = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING}).enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    yield from parser.parse(text)


def _pipe_table(lines: Sequence[str], start: int, end: int, place: Place) -> MarkdownTable:
    header, rule = lines[start], lines[start + 1]
    body = []
    for index, line in enumerate(lines[start + 2 : end], start + 3):
        inner = without_nesting(line)
        body.append(Line(index, line, () if _is_rule(inner) else cells(inner)))
    titles = tuple(re.sub(r"\s+", " ", cell) for cell in cells(without_nesting(header)))
    return MarkdownTable(
        place.section,
        place.title,
        start + 1,
        header,
        rule,
        tuple(body),
        titles,
        place.headings,
        place.caption,
    )


def nesting(line: str) -> str:
    """The marks of quotes and lists before a table line: "> " of "> | a | b |"."""
    found = _NESTING.match(line)
    return found[0] if found else ""


def without_nesting(line: str) -> str:
    """A table line without the marks of quotes and lists."""
    return line[len(nesting(line)) :]


def _is_rule(line: str) -> bool:
    """A rule among the rows: every cell is two dashes or more, with optional colons. "-" alone is a value."""
    return all(_RULE.fullmatch(cell) for cell in cells(line))


def cells(line: str) -> tuple[str, ...]:
    """Split a table line into trimmed cells. Escaped pipes are kept; outer pipes are optional."""
    parts = _PIPE.split(line)
    first, last = _frame(line)
    return tuple(part.strip() for part in parts[first : len(parts) - last])


def links(cell: str) -> list[tuple[str, str]]:
    """Return (text, url) of every link in a cell, without images."""
    return LINK.findall(cell)


def layout(line: str, *, padded: bool = False) -> str:
    """Return the layout of a line: its spaces and pipes with `{}` per cell, or `{:<9}` with `padded`."""
    parts = _PIPE.split(line)
    first, last = _frame(line)
    inner = parts[first : len(parts) - last]
    fields = (_field(part, padded) for part in inner)
    return "|".join([*parts[:first], *fields, *parts[len(parts) - last :]])


def common_layout(lines: Sequence[str]) -> str:
    """Return the layout that prints most of `lines` exactly."""
    exact = [layout(line) for line in lines]  # first: preferred to padded columns in a tie
    layouts = dict.fromkeys([*exact, *(layout(line, padded=True) for line in lines)])
    sample = lines[:MAX_LINES]  # each layout is tried on each line
    tried = islice(layouts, MAX_LAYOUTS)
    return max(tried, key=lambda shape: sum(fill(shape, cells(line)) == line for line in sample))


def fill(shape: str, values: Sequence[str]) -> str:
    """Print `values` in a layout; missing values leave fields empty, surplus ones are dropped."""
    fields = shape.count("{")
    return shape.format(*[*values, *[""] * fields][:fields])


def _frame(line: str) -> tuple[int, int]:
    """(1 if a pipe opens the line else 0, 1 if a pipe closes it else 0)."""
    stripped = line.strip()
    return int(stripped.startswith("|")), int(stripped.endswith("|") and not stripped.endswith("\\|"))


def _field(part: str, padded: bool) -> str:
    text = part.strip()
    lead = part[: len(part) - len(part.lstrip())] if text else part[:1]
    trail = part[len(lead) + len(text) :]
    if not padded:
        return lead + "{}" + trail
    width = len(text) + max(len(trail) - 1, 0)
    return f"{lead}{{:<{width}}}{trail[:1]}"
