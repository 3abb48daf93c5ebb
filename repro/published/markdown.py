"""Markdown tables as people write them: found in a page, cut into cells, put together again byte for byte.

A line is a layout and its cells: `'| {:<9} | {} '` with `('R-50-D8', '77.72%')`. The layout keeps every space
and pipe of the source, so a table can be printed again exactly, or with other values in the same places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

from repro.errors import DataError
from repro.io import limits

MOST_SHAPES, MOST_LINES = 300, 300  # of one table, of which its common layout is found
_PIPE = re.compile(r"(?<!\\)\|")
# Linear: a text ends at the next bracket, a target at the next parenthesis that it did not open itself.
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\(((?:[^()]|\([^()]*\))*)\)")


@dataclass(frozen=True)
class Line:
    """One line of a table body. `number` is 1-based in its page; a rule has no cells."""

    number: int
    text: str
    cells: tuple[str, ...]

    @property
    def is_rule(self) -> bool:
        return not self.cells


@dataclass(frozen=True)
class MarkdownTable:
    """A table of a page: its nearest heading, its two header lines, its body."""

    section: str
    title: str
    number: int
    header: str
    rule: str
    body: tuple[Line, ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(re.sub(r"\s+", " ", cell) for cell in cells(self.header))

    @cached_property
    def rows(self) -> tuple[Line, ...]:
        return tuple(line for line in self.body if not line.is_rule)


def read_page(path: Path) -> str:
    """The text of a markdown page within `repro.io.limits`; DataError for a missing, binary or larger one."""
    try:
        text = limits.read_text(path, limits.PAGE_BYTES, error=DataError)
    except FileNotFoundError:
        raise DataError("no such page", where=path) from None
    lines = text.splitlines()
    if len(lines) > limits.PAGE_LINES:
        raise DataError(f"{len(lines):,} lines", where=path, allowed=f"at most {limits.PAGE_LINES:,}")
    for number, line in enumerate(lines, start=1):
        if len(line) > limits.LINE_CHARACTERS:
            allowed = f"at most {limits.LINE_CHARACTERS:,}"
            raise DataError(f"line {number} has {len(line):,} characters", where=path, allowed=allowed)
        if line.count("|") > limits.TABLE_COLUMNS:
            allowed = f"at most {limits.TABLE_COLUMNS}"
            raise DataError(f"line {number} has {line.count('|'):,} columns", where=path, allowed=allowed)
    return text


def tables(text: str) -> Iterator[MarkdownTable]:
    """Every pipe table of a markdown page, in order; code fences are skipped."""
    lines = text.splitlines()
    section = title = ""
    fenced, index = False, 0
    while index < len(lines):
        line = lines[index]
        fenced ^= line.lstrip().startswith("```")
        if line.startswith("#") and not fenced:
            section = title = line.lstrip("#").strip().removesuffix(":").rstrip()
        elif bold := _bold(line.rstrip()):
            title = bold
        if not fenced and _starts_table(lines, index):
            body = _body(lines, index + 2)
            yield MarkdownTable(section, title, index + 1, line, lines[index + 1], body)
            index += 1 + len(body)
        index += 1


def _bold(line: str) -> str:
    """The text of a line that is bold as a whole, else ""."""
    return line[2:-2] if line.startswith("**") and line.endswith("**") else ""


def _is_rule(line: str) -> bool:
    """A line of dashes, pipes, colons and spaces, with at least one dash."""
    return "-" in line and all(character in "|:-" or character.isspace() for character in line)


def cells(line: str) -> tuple[str, ...]:
    """The trimmed cells of a table line. An escaped pipe stays in its cell; a frame of pipes is optional."""
    parts = _PIPE.split(line)
    first, last = _frame(line)
    return tuple(part.strip() for part in parts[first : len(parts) - last])


def links(cell: str) -> list[tuple[str, str]]:
    """(text, url) of every link in a cell; images are not links."""
    return LINK.findall(cell)


def layout(line: str, *, padded: bool = False) -> str:
    """A line's spaces and pipes, with `{}` where its cells stand, or `{:<9}` where a column is 9 wide."""
    parts = _PIPE.split(line)
    first, last = _frame(line)
    inner = parts[first : len(parts) - last]
    return "|".join([*parts[:first], *(_place(part, padded) for part in inner), *parts[len(parts) - last :]])


def common_layout(lines: Sequence[str]) -> str:
    """The one layout that prints most of `lines` exactly."""
    exact = [layout(line) for line in lines]  # first in a draw: shorter to read than padded columns
    shapes = dict.fromkeys([*exact, *(layout(line, padded=True) for line in lines)])
    sample = lines[:MOST_LINES]  # each shape is tried on each line
    tried = islice(shapes, MOST_SHAPES)
    return max(tried, key=lambda shape: sum(fill(shape, cells(line)) == line for line in sample))


def fill(shape: str, values: Sequence[str]) -> str:
    """`values` in the places of a layout; too few or too many leave places empty or are dropped."""
    places = shape.count("{")
    return shape.format(*[*values, *[""] * places][:places])


def _frame(line: str) -> tuple[int, int]:
    """1 where a pipe opens (closes) the line, else 0."""
    stripped = line.strip()
    return int(stripped.startswith("|")), int(stripped.endswith("|") and not stripped.endswith("\\|"))


def _place(part: str, padded: bool) -> str:
    text = part.strip()
    lead = part[: len(part) - len(part.lstrip())] if text else part[:1]
    trail = part[len(lead) + len(text) :]
    if not padded:
        return lead + "{}" + trail
    width = len(text) + max(len(trail) - 1, 0)
    return f"{lead}{{:<{width}}}{trail[:1]}"


def _starts_table(lines: Sequence[str], index: int) -> bool:
    if index + 1 >= len(lines) or "|" not in lines[index] or "|" not in lines[index + 1]:
        return False
    return _is_rule(lines[index + 1]) and not _is_rule(lines[index])


def _body(lines: Sequence[str], start: int) -> tuple[Line, ...]:
    body: list[Line] = []
    for number, line in enumerate(lines[start:], start + 1):
        if "|" not in line:
            break
        body.append(Line(number, line, () if _is_rule(line) else cells(line)))
    return tuple(body)
