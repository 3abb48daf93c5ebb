"""Tables on standard output: fitted to a terminal, whole columns for a pipe."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from repro.cli.console import console, write

if TYPE_CHECKING:
    from repro.reports.grid import Grid

NAMES = ("experiment", "name")  # columns that people copy from


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[str] = (), wide: bool = False
) -> None:
    """A table with heads; `numbers` are the columns aligned right. `wide`: lines as long as they need be.

    On a terminal its width is kept: names are broken rather than cut, other texts shortened.
    """
    from repro.io.text_table import LEFT, RIGHT, plain

    right = set(numbers)
    if sys.stdout.isatty() and not wide:
        console().print(_fitted(columns, rows, right), soft_wrap=False)
        return
    align = [RIGHT if column in right else LEFT for column in columns]
    text = plain(columns, list(rows), align=align)
    write("".join(f"{line.rstrip()}\n" for line in text.splitlines()))


def _fitted(columns: Sequence[str], rows: Iterable[Sequence[str]], right: set[str]) -> object:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in columns:
        number = column in right
        overflow, side = ("fold" if column in NAMES else "ellipsis"), ("right" if number else "left")
        options: Any = {"justify": side, "overflow": overflow, "no_wrap": number or column == "verdict"}
        table.add_column(column, min_width=len(column), **options)
    for row in rows:
        table.add_row(*row)
    return table


FITTED = {
    "row": "row",
    "experiment": "experiment",
    "published mIoU": "published",
    "measured mIoU": "measured",
    "difference": "gap",
    "verdict": "verdict",
}
# Further columns, the most wanted first: as many as the terminal has room for.
MORE = {
    "params (M)": "params (M)",
    "GMACs": "GMACs",
    "params verdict": "params verdict",
    "latency p50 (ms)": "ms",
    "memory (MiB)": "MiB",
    "links": "links",
}
NUMBERS = ("published", "measured", "gap", "params (M)", "ms", "MiB")
_MARK = re.compile(r" \([a-z]+\)$")  # of a note, which a terminal does not show


def print_grids(grids: Sequence[Grid]) -> None:
    """Of tables of results what a terminal has room for; --wide and every other format have the rest."""
    from repro.reports.grid import plain

    width = console().width
    for grid in grids:
        places = _columns(grid, width)
        if grid.title:
            console().print(grid.title, style="bold")
        columns = [{**FITTED, **MORE}.get(name, name) for name in places]
        cells = [[_MARK.sub("", plain(row[place])) for place in places.values()] for row in grid.rows]
        print_table(columns, cells, numbers=NUMBERS)
    console(stderr=True).print("--wide shows every column")


def _columns(grid: Grid, width: int) -> dict[str, int]:
    """Name and place of the columns of a table that fit into `width` characters; FITTED in any case."""
    from repro.reports.grid import plain

    known = {name: place for place, name in enumerate(grid.columns)}
    chosen = {name: known[name] for name in FITTED if name in known} or known
    room = width - sum(_width(grid, name, place, plain) for name, place in chosen.items())
    for name in (name for name in MORE if name in known and chosen is not known):
        room -= _width(grid, name, known[name], plain)
        if room >= 0:
            chosen[name] = known[name]
    return chosen


def _width(grid: Grid, name: str, place: int, shown: Callable[[str], str]) -> int:
    """Characters of a column with its gap."""
    head = {**FITTED, **MORE}.get(name, name)
    return 2 + max(map(len, [head, *(shown(row[place]) for row in grid.rows)]))
