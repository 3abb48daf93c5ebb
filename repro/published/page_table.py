"""A table of a results page, and where in the page it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

_SUMMARY = re.compile(r"(?is)<summary[^<>]{0,200}>(.{0,300}?)</summary>|</details>")
_BOLD = re.compile(r"(?:[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+)?\*\*(.+)\*\*:?")  # also as an item of a list
_TAG = re.compile(r"<[^<>]*>")
CAPTION_CHARACTERS = 1000


@dataclass(frozen=True)
class Line:
    """A line of a table body. `number` is its 1-based line in the page; a rule has no cells.

    `layout` is set where `text` is not a line of pipes: a row of an HTML table.
    """

    number: int
    text: str
    cells: tuple[str, ...]
    layout: str = ""

    @property
    def is_rule(self) -> bool:
        return not self.cells


@dataclass(frozen=True)
class MarkdownTable:
    """A table of a page: the nearest heading, the two header lines and the body.

    section: The nearest heading. title: the same, or a bold line or the summary of a fold-out block below it.
    columns: Titles of the columns, verbatim.
    headings: The headings that enclose the table, by level from 1.
    caption: The paragraph directly above the table.
    joiner: What is printed between two lines.
    """

    section: str
    title: str
    number: int
    header: str
    rule: str
    body: tuple[Line, ...]
    columns: tuple[str, ...]
    headings: tuple[tuple[int, str], ...] = ()
    caption: str = ""
    joiner: str = "\n"

    @cached_property
    def rows(self) -> tuple[Line, ...]:
        return tuple(line for line in self.body if not line.is_rule)


@dataclass
class Place:
    """The headings and the paragraph before the next table of a page."""

    section: str = ""
    title: str = ""
    caption: str = ""
    _headings: dict[int, str] = field(default_factory=dict)

    @property
    def headings(self) -> tuple[tuple[int, str], ...]:
        return tuple(sorted(self._headings.items()))

    def enter(self, level: int, text: str) -> None:
        """A heading: it ends those of its level and below."""
        self._headings = {known: one for known, one in self._headings.items() if known < level} | {
            level: text
        }
        self.section = self.title = text
        self.caption = ""

    def read(self, lines: Sequence[str]) -> None:
        """A paragraph: its bold lines are titles, and it is the caption of a table that follows."""
        for line in lines:
            if bold := _BOLD.fullmatch(line.rstrip()):
                self.title = bold[1]
        self.caption = " ".join(map(str.strip, lines))[:CAPTION_CHARACTERS]

    def read_html(self, text: str) -> None:
        """The summary of a fold-out block is the title of the tables in it."""
        for found in _SUMMARY.finditer(text):
            self.title = _TAG.sub("", found[1] or "").strip() or self.section
            self.caption = ""
