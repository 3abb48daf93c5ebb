"""Tables on standard output: fitted to a terminal, whole columns for a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from repro.cli.console import console, write


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[str] = (), wide: bool = False
) -> None:
    """A table with heads; `numbers` are the columns aligned right. `wide`: lines as long as they need be.

    On a terminal its width is kept: a name is broken rather than cut, what follows it shortened.
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
    for i, column in enumerate(columns):
        number = column in right
        overflow, side = ("ellipsis" if i else "fold"), ("right" if number else "left")
        table.add_column(column, justify=side, overflow=overflow, no_wrap=number)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*row)
    return table
