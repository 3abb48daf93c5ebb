"""Tables on standard output: fitted to a terminal, whole columns for a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

from repro.cli.console import console, write

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
