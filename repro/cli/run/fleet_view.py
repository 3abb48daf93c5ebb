"""Output of a fleet: its plan, a live table, JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from repro.cli.console import console, emit_json
from repro.cli.tables import print_table
from repro.errors import counted

if TYPE_CHECKING:
    from repro.fleet import Estimate, Job


def show_plan(fitting: Sequence[Estimate], left_out: Sequence[Estimate], as_json: bool) -> None:
    """Print the order with estimates, and what does not fit the budget."""
    if as_json:
        return emit_json({"run": list(map(as_json_of, fitting)), "left_out": list(map(as_json_of, left_out))})
    out, heads = console(), ("experiment", "images", "PFLOP", "GFLOP/s", "time", "done")
    if fitting:
        print_table(heads, map(_row, fitting), numbers=heads[1:])
    unknown = sum(not one.known for one in fitting)
    more = f" and the time of {counted(unknown, 'program')}" if unknown else ""
    total = clock(sum(one.seconds for one in fitting))
    out.print(f"{len(fitting)} experiments, {total} one after another{more}")
    if left_out:
        first = left_out[0]
        out.print(f"{len(left_out)} do not fit, the cheapest is {first.name} ({time_of(first)})")
        if not fitting:
            out.print(f"`repro run {first.name}` starts it; when interrupted, its progress counts here")


def as_json_of(one: Estimate) -> dict[str, Any]:
    return {**vars(one), "seconds": one.seconds if one.known else None}


def time_of(one: Estimate) -> str:
    """The estimate, or that there is none: a program was never run here."""
    return clock(one.seconds) if one.known else "unknown"


def _row(one: Estimate) -> tuple[str, ...]:
    done = f"{one.done:.0%}" if one.done else ""
    work = f"{one.samples:,}", f"{one.gflop / 1e6:.3g}", f"{one.speed:,.0f}"
    return one.name, *work, time_of(one), done


def print_nothing_to_run(chosen: int, left_out: int) -> None:
    """Print on standard error why a fleet has nothing to run."""
    words = f"{chosen - left_out} have a record (--again runs them too), {left_out} do not fit the budget"
    console(stderr=True).print(f"nothing to run: {words}")


def clock(seconds: float) -> str:
    """Seconds as 3:25:07, or as 12.0 d from two days on."""
    minutes, rest = divmod(round(seconds), 60)
    days = seconds / 86400
    return f"{days:.1f} d" if days >= 2 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def line(job: Job) -> dict[str, Any]:
    return {
        "experiment": job.name,
        "state": job.state,
        "attempts": job.attempts,
        "seconds": round(job.elapsed(), 1),
        "code": job.code,
        "log": str(job.log),
    }


@contextmanager
def live(left_out: int) -> Iterator[Callable[[Sequence[Job]], None]]:
    """A live table on a terminal, elsewhere one line per change."""
    from rich.live import Live

    out = console(stderr=True)
    if not out.is_terminal:
        seen: dict[str, str] = {}
        yield lambda jobs: _say_changes(out, jobs, seen)
        return
    with Live(console=out, refresh_per_second=2) as screen:
        yield lambda jobs: screen.update(_table(jobs, left_out))


def _say_changes(out: Any, jobs: Sequence[Job], seen: dict[str, str]) -> None:
    for job in jobs:
        word = f"{job.state} (attempt {job.attempts})" if job.attempts > 1 else job.state
        if seen.get(job.name, "waiting") != word:
            out.print(f"{job.name}: {word} {clock(job.elapsed())}")
        seen[job.name] = word


def _table(jobs: Sequence[Job], left_out: int) -> Any:
    from rich.table import Table
    from rich.text import Text

    colours = {"running": "cyan", "done": "green", "failed": "red", "stopped": "yellow"}
    table = Table("experiment", "state", "time", "estimate", "last line", box=None)
    for job in [job for job in jobs if job.state != "waiting"][-20:]:
        expected = clock(job.seconds) if job.seconds else "unknown"
        state = Text(job.state, colours.get(job.state, "dim"))
        table.add_row(job.name, state, clock(job.elapsed()), expected, _last_line(job))
    waiting = sum(job.state == "waiting" for job in jobs)
    table.caption = f"{waiting} waiting, {left_out} beyond the budget"
    return table


def _last_line(job: Job) -> str:
    if not job.log.is_file():
        return ""
    with job.log.open("rb") as file:
        file.seek(max(0, job.log.stat().st_size - 2000))
        lines = file.read().decode(errors="replace").replace("\r", "\n").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:70]
