"""HTML tables of a page, with the layout of their rows, so that they print again byte for byte."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser

from repro.io.limits import TABLE_COLUMNS
from repro.published.page_table import Line, MarkdownTable, Place

MAX_SPAN = 100
HIDDEN = "{:.0}"  # in a layout: a value that the row has, but that is printed in another row or not at all


@dataclass
class _Cell:
    start: int  # offset of its content
    end: int
    heading: bool
    columns: int = 1
    rows: int = 1


_NOTHING = _Cell(0, 0, heading=False)


@dataclass(frozen=True)
class _Slot:
    """A column of a row. `heading` is the cell that covers it; `cell` the same, but once per row."""

    cell: _Cell
    heading: _Cell
    printed: bool = False


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
    grid = list(_grid(table.rows))
    for row, slots, begin, stop in zip(
        table.rows[heads:], grid[heads:], ends[heads - 1 :], ends[heads:], strict=False
    ):
        contents = tuple(text[slot.cell.start : slot.cell.end] for slot in slots)
        number = first + text.count("\n", 0, row[0].start) + 1
        body.append(Line(number, text[begin:stop], contents, _layout(text, slots, begin, stop)))
    body.append(Line(first + text.count("\n", 0, end) + 1, text[ends[-1] : end], ()))
    titles = _titles(text, grid[:heads])
    number = first + text.count("\n", 0, table.start) + 1
    head = text[table.start : ends[heads - 1]]
    return MarkdownTable(
        place.section, place.title, number, head, "", tuple(body), titles, place.headings, place.caption, ""
    )


def _grid(rows: Sequence[Sequence[_Cell]]) -> Iterator[list[_Slot]]:
    """Each row with one slot per column: a cell counts in every row that it spans, once per row."""
    above: dict[int, tuple[_Slot, int]] = {}  # by column: what still reaches down, and how many rows
    for row in rows:
        spanned, above = (
            above,
            {column: (slot, left - 1) for column, (slot, left) in above.items() if left > 1},
        )
        slots: list[_Slot] = []
        cells = iter(row)
        cell = next(cells, None)
        last = max(spanned, default=-1)
        while cell is not None or len(slots) <= last:
            if len(slots) in spanned:
                slots.append(spanned[len(slots)][0])
            elif cell is None:
                slots.append(_Slot(_NOTHING, _NOTHING))
            else:
                _add(cell, slots, above)
                cell = next(cells, None)
        yield slots


def _add(cell: _Cell, slots: list[_Slot], above: dict[int, tuple[_Slot, int]]) -> None:
    """Append a cell and the columns beside it that it spans; note what reaches into the rows below."""
    for beside in range(max(1, min(cell.columns, TABLE_COLUMNS - len(slots)))):
        if cell.rows > 1 and len(slots) < TABLE_COLUMNS:
            above[len(slots)] = (_Slot(_NOTHING if beside else cell, cell), cell.rows - 1)
        slots.append(_Slot(_NOTHING if beside else cell, cell, printed=not beside))


def _layout(text: str, slots: Sequence[_Slot], begin: int, stop: int) -> str:
    """The text from `begin` to `stop` with `{}` in place of each cell's content."""
    pieces, at = [], begin
    for slot in slots:
        if not slot.printed:
            pieces.append(HIDDEN)
            continue
        pieces += [text[at : slot.cell.start].replace("{", "{{").replace("}", "}}"), "{}"]
        at = slot.cell.end
    return "".join([*pieces, text[at:stop].replace("{", "{{").replace("}", "}}")])


def _titles(text: str, grid: Sequence[Sequence[_Slot]]) -> tuple[str, ...]:
    """One title per column, of several rows of headings with spans."""
    columns: list[list[str]] = [[] for _ in range(max(map(len, grid)))]
    for slots in grid:
        for titles, slot in zip(columns, slots, strict=False):
            titles.append(" ".join(text[slot.heading.start : slot.heading.end].split()))
    return tuple(" ".join(filter(None, dict.fromkeys(titles))) for titles in columns)
