"""HTML tables of a page, with the layout of their rows, so that they print again byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from repro.published.page_table import Line, MarkdownTable, Place

MAX_SPAN = 100


@dataclass
class _Cell:
    start: int  # offset of its content
    end: int
    heading: bool
    columns: int = 1
    rows: int = 1


@dataclass
class _Table:
    start: int
    end: int = 0
    rows: list[list[_Cell]] = field(default_factory=list)


class _Finder(HTMLParser):
    """Offsets of tables, rows and cells. End tags that HTML lets out are implied; inner tables are text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[_Table] = []
        self._text = text
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._depth, self._row_open = 0, False
        self._cell: _Cell | None = None
        self.feed(text)
        self.close()
        self._end_cell(len(text))

    def _here(self) -> int:
        line, column = self.getpos()
        return self._starts[line - 1] + column

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._depth += 1
            if self._depth == 1:
                self.tables.append(_Table(self._here()))
                self._row_open = False
        if self._depth != 1:
            return
        if tag in ("tr", "thead", "tbody", "tfoot"):
            self._end_cell(self._here())
            self._row_open = False
        elif tag in ("td", "th"):
            self._start_cell(tag, dict(attrs))

    def _start_cell(self, tag: str, attrs: dict[str, str | None]) -> None:
        self._end_cell(self._here())
        table = self.tables[-1]
        if not self._row_open:
            table.rows.append([])
            self._row_open = True
        start = self._here() + len(self.get_starttag_text() or "")
        spans = (_span(attrs.get(name)) for name in ("colspan", "rowspan"))
        self._cell = _Cell(start, start, tag == "th", *spans)
        table.rows[-1].append(self._cell)

    def handle_endtag(self, tag: str) -> None:
        if tag == "table" and self._depth:
            self._depth -= 1
            if self._depth == 0:
                self._end_cell(self._here())
                self.tables[-1].end = self._here() + len("</table>")
        if self._depth == 1 and tag in ("td", "th", "tr", "thead", "tbody", "tfoot"):
            self._end_cell(self._here())
            self._row_open &= tag in ("td", "th")

    def _end_cell(self, offset: int) -> None:
        if self._cell is not None:
            content = self._text[self._cell.start : offset]
            self._cell.end, self._cell = self._cell.start + len(content.rstrip()), None


def _span(text: str | None) -> int:
    return min(int(text), MAX_SPAN) if text and text.isascii() and text.isdigit() and int(text) else 1


def html_tables(lines: Sequence[str], start: int, end: int, place: Place) -> Iterator[MarkdownTable]:
    """The tables in the HTML block of `lines[start:end]`; those without a row of headings have none."""
    text = "\n".join(lines[start:end]) + "\n"
    if "<t" not in text.lower():
        return
    for table in _Finder(text).tables:
        if len(table.rows) > 1:
            yield _as_table(text, table, start, place)


def _as_table(text: str, table: _Table, first: int, place: Place) -> MarkdownTable:
    heads = next((i for i, row in enumerate(table.rows) if not all(cell.heading for cell in row)), 1) or 1
    end = table.end or len(text)
    ends = [row[-1].end for row in table.rows]
    body = []
    for row, begin, stop in zip(table.rows[heads:], ends[heads - 1 :], ends[heads:], strict=False):
        contents = tuple(text[cell.start : cell.end] for cell in row)
        number = first + text.count("\n", 0, row[0].start) + 1
        body.append(Line(number, text[begin:stop], contents, _layout(text, row, begin, stop)))
    body.append(Line(first + text.count("\n", 0, end) + 1, text[ends[-1] : end], ()))
    titles = _titles(text, table.rows[:heads])
    number = first + text.count("\n", 0, table.start) + 1
    head = text[table.start : ends[heads - 1]]
    return MarkdownTable(
        place.section, place.title, number, head, "", tuple(body), titles, place.headings, place.caption, ""
    )


def _layout(text: str, row: Sequence[_Cell], begin: int, stop: int) -> str:
    """The text from `begin` to `stop` with `{}` in place of each cell's content."""
    pieces, at = [], begin
    for cell in row:
        pieces += [text[at : cell.start].replace("{", "{{").replace("}", "}}"), "{}"]
        at = cell.end
    return "".join([*pieces, text[at:stop].replace("{", "{{").replace("}", "}}")])


def _titles(text: str, rows: Sequence[Sequence[_Cell]]) -> tuple[str, ...]:
    """One title per column, of several rows of headings with spans."""
    columns: dict[int, list[str]] = {}
    filled: set[tuple[int, int]] = set()
    for top, row in enumerate(rows):
        column = 0
        for cell in row:
            while (top, column) in filled:
                column += 1
            title = " ".join(text[cell.start : cell.end].split())
            for across in range(column, column + cell.columns):
                filled |= {(top + down, across) for down in range(cell.rows)}
                columns.setdefault(across, []).append(title)
            column += cell.columns
    return tuple(" ".join(dict.fromkeys(columns[index])) for index in sorted(columns))
