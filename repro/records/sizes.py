"""Published sizes of a network beside those of the network that is built: rows that print no accuracy.

A page cuts or rounds what it prints: 42.9 million parameters appear as 42M. A size is the printed one where
it differs by less than one unit of the last printed digit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from repro.published import Row
from repro.records.verdict import Verdict

FLOAT_BYTES, MEBI = 4, 2**20
# published key -> (its unit in a cell, our value from cost.json); a checkpoint holds the parameters as fp32
SIZES: dict[str, tuple[str, Callable[[float], float]]] = {
    "params_M": ("M", lambda millions: millions),
    "size_MB": ("MB", lambda millions: millions * 1e6 * FLOAT_BYTES / MEBI),
}


@dataclass(frozen=True, kw_only=True)
class Size:
    """One published size: what is printed, what was built, and the unit of the last printed digit."""

    name: str
    printed: float
    built: float
    digit: float

    @property
    def holds(self) -> bool:
        return abs(self.built - self.printed) < self.digit + 1e-9


def sizes(cost: Mapping[str, Any], row: Row) -> list[Size]:
    """The sizes that `row` prints beside those in `cost` (cost.json); the most telling one last."""
    millions = cost.get("params_M")
    if millions is None:
        return []
    return [
        Size(name=name, printed=row.cost[name], built=ours(millions), digit=_digit(row, unit))
        for name, (unit, ours) in SIZES.items()
        if name in row.cost
    ]


def size_verdict(found: Iterable[Size]) -> Verdict:
    """reproduced where every size is the printed one, else regressed; incomparable where none is printed."""
    listed = list(found)
    if not listed:
        return "incomparable"
    return "reproduced" if all(size.holds for size in listed) else "regressed"


def size_text(size: Size) -> str:
    """'size_MB 26.65, printed 26.65'"""
    return f"{size.name} {size.built:.2f}, printed {size.printed:g}"


def _digit(row: Row, unit: str) -> float:
    """0.01 of '26.65MB', 1 of '42M'; 1 where no cell says it with its unit."""
    cells = (re.fullmatch(rf"\s*\d+(?:\.(\d+))?{unit}\s*", cell) for cell in row.cells)
    decimals = next((len(match[1] or "") for match in cells if match), 0)
    return float(10.0**-decimals)
