"""How a printed number was chosen among several: `selection:` in published/ID.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from repro.errors import ParamsError

# Of one training: the checkpoint. Of several: what is printed of their numbers.
STATISTICS = ("best", "median", "mean", "last")
ALLOWED = "{statistic: best | last}, or {statistic: best | median | mean, of: RUNS} with at least 2 runs"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a page prints of the numbers that its authors had.

    statistic: `best` or `last` of the checkpoints of a training; `best`, `median` or `mean` of several runs.
    of: Number of runs.
    """

    statistic: str
    of: int = 1

    @property
    def words(self) -> str:
        """Example: "the median of 5 runs"."""
        return f"the {self.statistic} " + (f"of {self.of} runs" if self.of > 1 else "checkpoint of a run")


def read_selections(raw: object, where: object) -> dict[str, Selection]:
    """Parse the block: the selection of a whole page under "", and those of rows by id.

    Example: {"statistic": "last", "rows": {"mine-03": {"statistic": "median", "of": 5}}}

    Raises:
        ParamsError: An unknown key or statistic, or a number of runs that does not go with it.
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get("rows", {}), Mapping):
        raise ParamsError(f"selection: {raw!r}"[:200], where=where, allowed=ALLOWED)
    page = {key: value for key, value in raw.items() if key != "rows"}
    blocks = {**({"": page} if page else {}), **raw.get("rows", {})}
    return {str(row): _selection(block, row, where) for row, block in blocks.items()}


def _selection(raw: object, row: object, where: object) -> Selection:
    if isinstance(raw, Mapping) and set(raw) <= {"statistic", "of"}:
        name, of = raw.get("statistic"), raw.get("of", 1)
        known = isinstance(name, str) and name in STATISTICS and type(of) is int and of >= 1
        if known and (of == 1 if name == "last" else name == "best" or of > 1):
            return Selection(statistic=str(name), of=of)
    what = f"selection: {row}: {raw!r}" if row else f"selection: {raw!r}"
    raise ParamsError(what[:200], where=where, allowed=ALLOWED)
