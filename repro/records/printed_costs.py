"""Verdicts on the costs that a page prints: parameters, size of the checkpoint, FLOPs. They need no training.

    reproduced         the network built here has the printed value
    differs            it does not
    known difference   it does not, and published/ID.yaml says why

Pages truncate or round: 42.9 million parameters are printed as 42M. A cost is reproduced if it differs from
the printed one by less than one unit of the last printed digit. FLOPs may be 1 % off instead, because
programs differ in the small operations that they count; they are compared with every way of counting in
COSTS, because pages print multiply-accumulates as FLOPs, and the nearest one is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from repro.published import Row
from repro.published.cell import Number, read_number
from repro.records.verdict import Verdict

CostVerdict = Literal["reproduced", "differs", "known difference"]
FLOAT_BYTES, MEBI = 4, 2**20
SHARE = 0.01  # of printed FLOPs
UNITS = (1, 1e3, 1e-3, 1e-6, 1e-9, 1 / 1024)  # a cell's number times one of these is the typed value


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A kind of cost: how it is called, its ways of counting by their names, and the relative tolerance."""

    title: str
    ways: Mapping[str, Callable[[Mapping[str, Any]], float | None]]
    share: float = 0.0


def _times(key: str, factor: float) -> Callable[[Mapping[str, Any]], float | None]:
    """A function from a cost.json to the value of `key` times `factor`; None if it is absent."""

    def value(cost: Mapping[str, Any]) -> float | None:
        found = cost.get(key)
        return None if found is None else float(found) * factor

    return value


# The keys are those of a published row; checkpoints hold fp32.
COSTS: Mapping[str, Printed] = {
    "params_M": Printed(title="parameters", ways={"": _times("params_M", 1)}),
    "size_MB": Printed(title="checkpoint sizes", ways={"": _times("params_M", 1e6 * FLOAT_BYTES / MEBI)}),
    "gmacs": Printed(
        title="FLOPs",
        ways={
            "MACs": _times("gmacs_conv", 1),
            "MACs with norms": _times("gmacs_thop", 1),
            "2 FLOPs per MAC": _times("gmacs_conv", 2),
        },
        share=SHARE,
    ),
}


@dataclass(frozen=True, kw_only=True)
class PrintedCost:
    """A printed cost beside that of the network built here.

    name: key of COSTS.
    digit: unit of the last printed digit.
    way: how ours was counted, "" if there is one way.
    known: why it differs, from published/ID.yaml.
    """

    row: str
    name: str
    printed: float
    built: float
    digit: float
    way: str = ""
    known: str = ""

    @property
    def difference(self) -> float:
        return self.built - self.printed

    @property
    def band(self) -> float:
        """How far the value may be from the printed one."""
        return max(self.digit, COSTS[self.name].share * abs(self.printed))

    @property
    def holds(self) -> bool:
        return abs(self.difference) < self.band + 1e-9

    @property
    def verdict(self) -> CostVerdict:
        if self.holds:
            return "reproduced"
        return "known difference" if self.known else "differs"


def printed_costs(
    cost: Mapping[str, Any], row: Row, known: Mapping[str, str] | None = None
) -> list[PrintedCost]:
    """Return the costs that `row` prints, beside those of `cost` (cost.json), in the order of COSTS.

    Args:
        cost: Cost of the network; a cost that it does not have is left out.
        row: A published row.
        known: Reasons of known differences, by key of COSTS.
    """
    found = []
    for name, kind in COSTS.items():
        ours = {way: value for way, of in kind.ways.items() if (value := of(cost)) is not None}
        if name not in row.cost or not ours:
            continue
        printed = row.cost[name]
        way, built = min(ours.items(), key=lambda one: abs(one[1] - printed))
        reason, digit = (known or {}).get(name, ""), last_digit(row, printed)
        found.append(PrintedCost(row=row.id, name=name, printed=printed, built=built, digit=digit,
                                 way=way, known=reason))  # fmt: skip
    return found


def last_digit(row: Row, value: float) -> float:
    """Return the unit of the last digit with which a row prints `value`, in the unit of `value`.

    0.01 for 26.65 ("26.65MB"), 1 for 42 ("42M"), 0.001 for 2.99 ("2,990K"); 1 if no cell prints it.
    """
    numbers = (read_number(cell) for cell in row.cells)
    found = [
        10.0**-number.digits * factor
        for number in numbers
        for factor in UNITS
        if isinstance(number, Number) and math.isclose(number.value * factor, value, rel_tol=1e-9)
    ]
    return min(found, default=1.0)


def cost_verdict(found: Iterable[PrintedCost]) -> Verdict:
    """Return the verdict on all printed costs of an experiment; incomparable if none is printed."""
    verdicts = {one.verdict for one in found}
    order: tuple[CostVerdict, ...] = ("differs", "known difference", "reproduced")
    return next((one for one in order if one in verdicts), "incomparable")


def cost_text(one: PrintedCost) -> str:
    """Describe a printed cost: 'size_MB 26.65, printed 26.65'."""
    return f"{one.name} {one.built:.2f}, printed {one.printed:g}" + (f" ({one.way})" if one.way else "")
