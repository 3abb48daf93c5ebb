"""A table of finished strings, and the formats it can be printed in.

Cells arrive as people should read them; no format re-interprets a number ("79.10" stays "79.10"). A cell
may hold markdown links; formats without links print their text.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repro.io import text_table
from repro.io.safe_text import csv_cell, one_line
from repro.published.markdown import LINK, links

_LINK = re.compile(LINK.pattern.removeprefix("(?<!!)"))  # an image's too
_TEX_NAMES = {"~": r"\textasciitilde{}", "^": r"\^{}", "\\": r"\textbackslash{}"}
_LATEX = str.maketrans({char: "\\" + char for char in "&%$#_{}"} | _TEX_NAMES)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A title, column names, rows of equal length, and notes that belong under them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Every text stays in its line, in whatever format, and a terminal obeys none of it."""
        for name, found in vars(self).items():
            object.__setattr__(self, name, _lines(found))


def _lines(found: Any) -> Any:
    return one_line(found) if isinstance(found, str) else tuple(map(_lines, found))


def markdown(grids: Sequence[Grid]) -> str:
    """GitHub markdown: a heading, a padded table, notes as a list."""
    return "\n\n".join(_markdown(grid) for grid in grids) + "\n"


def comma_separated(grids: Sequence[Grid]) -> str:
    """One CSV; with several tables the first column `table` distinguishes them. Columns are the union."""
    columns = _union(grids)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["table", *map(csv_cell, columns)])
    for grid in grids:
        for row in grid.rows:
            named = dict(zip(grid.columns, row, strict=True))
            writer.writerow(
                [csv_cell(grid.title), *(csv_cell(plain(named.get(column, ""))) for column in columns)]
            )
    return out.getvalue()


def as_json(grids: Sequence[Grid]) -> str:
    """A JSON list of tables, each with its rows as objects."""
    tables = [
        {
            "title": grid.title,
            "rows": [dict(zip(grid.columns, row, strict=True)) for row in grid.rows],
            "notes": list(grid.notes),
        }
        for grid in grids
    ]
    return json.dumps(tables, indent=2, ensure_ascii=False) + "\n"


def as_html(grids: Sequence[Grid]) -> str:
    """HTML tables without styling, to be put into a page."""
    return "\n".join(_html(grid) for grid in grids) + "\n"


def latex(grids: Sequence[Grid]) -> str:
    """LaTeX `tabular`s with booktabs rules."""
    return "\n".join(_latex(grid) for grid in grids)


FORMATS: Mapping[str, Callable[[Sequence[Grid]], str]] = {
    "md": markdown,
    "csv": comma_separated,
    "json": as_json,
    "html": as_html,
    "latex": latex,
}


def plain(cell: str) -> str:
    """A cell without link targets and HTML entities."""
    return html.unescape(_LINK.sub(r"\1", cell)).replace("**", "")


def _markdown(grid: Grid) -> str:
    head = [f"### {grid.title}", ""] if grid.title else []
    tail = ["", *(f"- {note}" for note in grid.notes)] if grid.notes else []
    return "\n".join([*head, text_table.markdown(grid.columns, grid.rows), *tail])


def _html(grid: Grid) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in grid.columns)
    body = "\n".join(
        f"<tr>{''.join(f'<td>{_html_cell(cell)}</td>' for cell in row)}</tr>" for row in grid.rows
    )
    notes = "".join(f"<li>{_html_cell(note)}</li>" for note in grid.notes)
    caption = f"<h3>{html.escape(grid.title)}</h3>\n" if grid.title else ""
    listed = f"\n<ul>{notes}</ul>" if notes else ""
    return f"{caption}<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>{listed}"


def _html_cell(cell: str) -> str:
    """Escaped text; links become anchors when they lead to a path or to http(s)."""
    out, rest = "", cell
    for text, url in links(cell):
        before, rest = rest.split(f"[{text}]({url})", 1)
        safe = url and not re.match(r"(?i)(?!https?:)[a-z][a-z0-9+.-]*:", url)
        shown = html.escape(html.unescape(text))
        anchor = f'<a href="{html.escape(url)}">{shown}</a>' if safe else shown
        out += html.escape(html.unescape(before)) + anchor
    return out + html.escape(html.unescape(rest))


def _latex(grid: Grid) -> str:
    rows = [" & ".join(_tex(cell) for cell in row) + r" \\" for row in (grid.columns, *grid.rows)]
    return "\n".join(
        [
            f"% {grid.title}",
            rf"\begin{{tabular}}{{{'l' * len(grid.columns)}}}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {note}" for note in grid.notes),
            "",
        ]
    )


def _tex(cell: str) -> str:
    return (
        plain(cell)
        .replace("\\", r"\textbackslash ")
        .translate(_LATEX)
        .replace(r"\textbackslash ", r"\textbackslash{}")
    )


def _union(grids: Sequence[Grid]) -> list[str]:
    return list(dict.fromkeys(column for grid in grids for column in grid.columns))
