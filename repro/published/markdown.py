"""Markdown tables: parsed into cells and layouts, and printed again byte for byte.

A line is a layout with cells: `'| {:<9} | {} '` with `('R-50-D8', '77.72%')`. The layout keeps every space
and pipe of the source, so a table can be printed again exactly, or with other values.
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

MAX_LAYOUTS, MAX_LINES = 300, 300  # per table, to find its common layout
_PIPE = re.compile(r"(?<!\\)\|")
# Linear time: the text ends at the next bracket, the target at the next unbalanced parenthesis.
LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\(((?:[^()]|\([^()]*\))*)\)")


@dataclass(frozen=True)
class Line:
    """A line of a table body. `number` is its 1-based line in the page; a rule has no cells."""

    number: int
    text: str
    cells: tuple[str, ...]

    @property
    def is_rule(self) -> bool:
        return not self.cells


@dataclass(frozen=True)
class MarkdownTable:
    """A table of a page: the nearest heading, the two header lines and the body."""

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
    """Read a markdown page within `repro.io.limits`. Raises DataError if it is missing, binary or larger."""
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
    """Yield the pipe tables of a markdown page in order, skipping code fences."""
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
    """The text of a line that is entirely bold, else ""."""
    return line[2:-2] if line.startswith("**") and line.endswith("**") else ""


def _is_rule(line: str) -> bool:
    """A line of dashes, pipes, colons and spaces, with at least one dash."""
    return "-" in line and all(character in "|:-" or character.isspace() for character in line)


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
