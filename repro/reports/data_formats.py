"""A frame as CSV, JSON or Parquet, for other programs: numbers as numbers, addresses as addresses.

CSV and JSON hold no text that a spreadsheet computes or a terminal obeys (repro/io/safe_text.py); Parquet
holds every text as it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repro.io.safe_text import csv_cell, one_line
from repro.reports.columns import plain_lines, whole
from repro.reports.frame import COLUMNS, result_lines
from repro.reports.grid import Grid
from repro.reports.results import Results

if TYPE_CHECKING:
    from pandas import DataFrame


def csv_text(frame: DataFrame) -> str:
    """A header and a line per row; what is missing is empty."""
    texts = {name: column.map(_safe, na_action="ignore") for name, column in _texts(frame).items()}
    return str(frame.assign(**texts).to_csv(index=False, lineterminator="\n"))


def json_text(frame: DataFrame) -> str:
    """A JSON list with an object per row; what is missing is null."""
    return json.dumps(plain_lines(frame), indent=2, ensure_ascii=False) + "\n"


def parquet(frame: DataFrame) -> bytes:
    """One Parquet file, as pandas.read_parquet, DuckDB and Spark read it."""
    import pyarrow
    from pyarrow import parquet

    made = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pandas(frame, preserve_index=False), made)
    return bytes(made.getvalue().to_pybytes())


DATA_FORMATS: Mapping[str, Callable[[DataFrame], str | bytes]] = {
    "csv": csv_text,
    "json": json_text,
    "parquet": parquet,
}


def tables_json(results: Results, grids: Sequence[Grid]) -> str:
    """A JSON list of tables; a row has the keys of docs/json.md, and its cells as they are printed."""
    known = {(line.get("row"), line.get("experiment")): line for line in result_lines(results)}
    names = {line.get("experiment"): line for line in known.values()}

    def row(cells: Mapping[str, str]) -> dict[str, Any]:
        key = cells.get("row") or None, cells.get("experiment") or None
        line = known.get(key) or names.get(key[1])
        return {**cells, **(whole(line, COLUMNS) if line else {})}

    tables = [
        {
            "title": grid.title,
            "rows": [row(dict(zip(grid.columns, cells, strict=True))) for cells in grid.rows],
        }
        | {"notes": list(grid.notes)}
        for grid in grids
    ]
    return json.dumps(tables, indent=2, ensure_ascii=False) + "\n"


def _texts(frame: DataFrame) -> Mapping[str, Any]:
    return {name: frame[name] for name in frame if frame[name].dtype in ("str", "object")}


def _safe(text: str) -> object:
    return csv_cell(one_line(text))
