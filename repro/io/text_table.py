"""Tables as text: markdown for files, aligned columns for pipes, and lists of facts.

Formatted by tabulate. Cells are preformatted text: numbers are not parsed, so "79.10" stays "79.10". Line
breaks in cells are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from repro.io.safe_text import one_line

LEFT, RIGHT = "left", "right"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]], *, align: Sequence[str] = ()) -> str:
    """Format a GitHub table without a final newline; `align` is LEFT or RIGHT per column."""
    from tabulate import SEPARATING_LINE, DataRow, TableFormat

    line = DataRow("| ", " | ", " |")
    form = TableFormat(None, _rule, None, None, line, line, 0, None)
    # The head is passed as a row: as `headers` it would be two characters wider than its text.
    head = [_markdown_cell(column).ljust(3) for column in columns]
    body = ([_markdown_cell(cell) for cell in row] for row in rows)
    rule = [SEPARATING_LINE] * len(head)
    return _laid_out([head, rule, *body], tablefmt=form, colalign=_aligned(columns, align))


def plain(columns: Sequence[str], rows: Iterable[Sequence[str]], *, align: Sequence[str] = ()) -> str:
    """Format columns separated by two spaces, for pipes and files."""
    cells = [list(map(one_line, row)) for row in (columns, *rows)]
    return _laid_out(cells, tablefmt="plain", colalign=_aligned(columns, align))


def facts(named: Mapping[str, object], *, indent: str = "") -> str:
    """Format a line per fact: padded name and text."""
    lines = _laid_out([[one_line(name), one_line(str(value))] for name, value in named.items()])
    return "".join(f"{indent}{line}\n" for line in lines.splitlines())


def _laid_out(rows: Sequence[Sequence[str]], tablefmt: object = "plain", **options: object) -> str:
    from tabulate import tabulate

    whole = {"disable_numparse": True, "preserve_whitespace": True}
    return str(tabulate(rows, tablefmt=tablefmt, **whole, **options))


def _aligned(columns: Sequence[str], align: Sequence[str]) -> list[str]:
    return [*align, *[LEFT] * (len(columns) - len(align))]


def _rule(widths: Sequence[int], aligns: Sequence[str]) -> str:
    rights = zip(widths, aligns, strict=True)
    return f"| {' | '.join('-' * (width - 1) + '-:'[align == RIGHT] for width, align in rights)} |"


def _markdown_cell(cell: str) -> str:
    cell = one_line(cell)
    return re.sub(r"(?<!\\)\|", r"\\|", cell) if "|" in cell else cell
