"""Columns with types: lines of a table as a data frame or as JSON values. Only a frame needs pandas."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

TEXT, NUMBER, COUNT = "str", "float64", "Int64"


def typed(lines: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> DataFrame:
    """A frame with these columns and types; a line need not have every column."""
    from pandas import DataFrame, Series

    listed = [whole(line, columns) for line in lines]
    values = {name: Series([line[name] for line in listed], dtype=kind) for name, kind in columns.items()}
    return DataFrame(values, columns=list(columns))


def whole(line: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """A line with a value of the right type, or None, for each column."""
    values = {name: line.get(name) for name in columns}
    return {name: None if value is None else _READ[columns[name]](value) for name, value in values.items()}


def plain_lines(frame: DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame for JSON: Python's own numbers, and None for what is missing."""
    from pandas import NA

    columns = {name: frame[name].astype(object).where(frame[name].notna(), None) for name in frame}
    listed = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [{name: None if value is NA else value for name, value in zip(columns, line, strict=True)}
            for line in listed]  # fmt: skip


# Values of params.yaml come as somebody wrote them: a value of another type than its column's is missing.


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) else None


def _count(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if abs(value) < 2**53 else None


_READ = {TEXT: _text, NUMBER: _number, COUNT: _count}
