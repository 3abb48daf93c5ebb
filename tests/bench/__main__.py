"""`make bench`: run every bench_*.py beside this file and print ratios; exit 1 when a bound is missed.

Names as arguments choose: `.venv-parity/bin/python -m tests.bench cli evaluation`.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.row import Row


def main(wanted: list[str]) -> int:
    os.environ.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # a user's second start does not compile ours or the peer's
    names = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))
    chosen = [name for name in names if not wanted or name.removeprefix("bench_") in wanted]
    rows: list[Row] = []
    for name in chosen:
        print(f"running {name} ...", file=sys.stderr, flush=True)
        rows += importlib.import_module(f"tests.bench.{name}").rows()
    Console(width=170).print(_table(rows))
    return int(not all(row.good for row in rows))


def _table(rows: list[Row]) -> Table:
    table = Table("what", "peer", "ours", "peer's", "ratio", "bound", "")
    for row in rows:
        bound = "" if row.bound is None else f"{row.bound:g}"
        numbers = (f"{row.ours:.4g} {row.unit}", f"{row.peer:.4g} {row.unit}", row.shown_ratio)
        table.add_row(row.name, row.peer_name, *numbers, bound, "ok" if row.good else "MISSED")
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
