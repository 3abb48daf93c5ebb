"""`repro verify` of many experiments: which, one table, and the exit code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.cli.console import emit_json
from repro.cli.reporter import note
from repro.cli.run.fleet_view import live
from repro.cli.selection import of_pages
from repro.cli.tables import print_table
from repro.errors import ReproError, counted, some_of

if TYPE_CHECKING:
    from repro.params import Project
    from repro.stages.verify_all import Outcome

COLUMNS = (
    "row",
    "experiment",
    "metric",
    "published",
    "last time",
    "now",
    "difference",
    "result",
    "what changed",
)
NUMBERS = ("published", "last time", "now", "difference")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@dataclass(frozen=True, kw_only=True)
class Many:
    """The options of `repro verify` that concern many experiments, as they were typed."""

    page: str | None
    dataset: str | None
    stale: str | None
    jobs: int
    tolerance: float
    accept: bool


def parse_age(text: str | None) -> float | None:
    """'30d', '2w', '12h' as seconds. Raises ParamsError."""
    from repro.errors import ParamsError

    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if match is None:
        raise ParamsError(f"not an age: '{text}'", where="--stale", allowed="30d, 2w, 12h")
    return float(match[1]) * SECONDS[match[2]]


def verify_many(
    project: Project,
    names: Sequence[str],
    many: Many,
    arguments: Sequence[str],
    *,
    out: Path | None,
    json: bool,
) -> None:
    """Verify, print one table, and raise an error if a number moved or could not be looked at."""
    from repro.records import write_json
    from repro.stages.verify_all import Options, verify_all

    chosen = chosen_names(project, names, many)
    options = Options(slots=many.jobs, arguments=arguments, tolerance=many.tolerance, accept=many.accept)
    with live(0) as shown:
        found = verify_all(project, chosen, options, shown)
    if out is not None:
        write_json(out, list(map(as_json, found)))
    if json:
        emit_json(list(map(as_json, found)))
    elif found:
        print_table(COLUMNS, map(cells, found), numbers=NUMBERS)
    note(summary(found))
    require_same(found, many.tolerance)


def chosen_names(project: Project, names: Sequence[str], many: Many) -> list[str]:
    """The experiments with released weights that were asked for, without those verified recently."""
    from repro.errors import ParamsError
    from repro.reports.results import load_results
    from repro.stages.verify_all import not_since, with_weights

    asked = of_pages(project, names, many.page, many.dataset)
    found = with_weights(load_results(project), asked)
    if not found:
        what = f"none of {counted(len(asked), 'experiment')} has released weights to verify"
        allowed = "a row with a number that links its own weights, or `external.weights` in params.yaml"
        raise ParamsError(what, allowed=allowed, hint="`repro page links` lists the links of rows")
    age = parse_age(many.stale)
    due = found if age is None else not_since(project, found, age)
    note(f"{len(found)} of {counted(len(asked), 'experiment')} have released weights")
    if len(due) < len(found):
        note(f"{len(found) - len(due)} were verified within {many.stale}")
    return due


def as_json(one: Outcome) -> dict[str, Any]:
    return {**asdict(one), "gap": one.gap}


def cells(one: Outcome) -> tuple[str, ...]:
    """A line of the table."""
    from repro.reports.formatting import difference, percent

    numbers = percent(one.published), percent(one.last), percent(one.measured)
    result = ", ".join(filter(None, [one.verdict, one.state if one.state != "same" else ""]))
    why = "; ".join(one.changes) or reason(one.error)
    gap = difference(one.measured, one.published)
    return one.row, one.experiment, one.metric, *numbers, gap, result, why


def reason(error: str) -> str:
    """What failed and where, of a message of several lines."""
    what, _, rest = error.partition("\n")
    where = next((line.strip() for line in rest.splitlines() if line.strip().startswith("where:")), "")
    return f"{what} ({where.removeprefix('where:').strip()})" if where else what


def summary(found: Sequence[Outcome]) -> str:
    """'3 verified: 2 reproduced, 1 differs; 1 moved, 1 not looked at'."""
    looked = [one for one in found if one.state != "not looked at"]
    counts = {name: sum(one.verdict == name for one in looked) for name in ("reproduced", "differs")}
    states = {name: sum(one.state == name for one in found) for name in ("moved", "not looked at")}
    first, second = (
        ", ".join(f"{count} {name}" for name, count in one.items() if count) for one in (counts, states)
    )
    return "; ".join(filter(None, [f"{len(looked)} verified" + (f": {first}" if first else ""), second]))


def require_same(found: Sequence[Outcome], tolerance: float) -> None:
    """Raise CheckFailed if a number moved, and an error of exit code 2 if a row could not be looked at."""
    from repro.errors import CheckFailed

    moved = [one.experiment for one in found if one.state == "moved"]
    if moved:
        what = f"{counted(len(moved), 'number')} moved by more than ±{tolerance:g}: {some_of(moved)}"
        raise CheckFailed(what, hint="the table names what changed; --accept keeps the new numbers")
    failed = [one.experiment for one in found if one.state == "not looked at"]
    if failed:
        what = f"{counted(len(failed), 'experiment')} could not be looked at: {some_of(failed)}"
        raise ReproError(what, hint="the table says why; the whole output is in .repro/verify/NAME.log")
