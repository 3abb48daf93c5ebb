"""`repro fleet` and `repro campaign`: many experiments, cheapest first, within a budget."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.common import Json, console, emit_json

if TYPE_CHECKING:
    from repro.fleet import Estimate, Job
    from repro.params import Project

Budget = Annotated[str | None, typer.Option(help="Wall time: 25m, 3h, 90s.")]
Jobs = Annotated[int, typer.Option(min=0, help="At a time; 0: one a GPU, or one.")]
Gpus = Annotated[str, typer.Option(help="GPUs to use, e.g. 0,1.")]
LauncherName = Annotated[str, typer.Option(help="local or slurm.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Only show what would run, and in which order.")]
Again = Annotated[bool, typer.Option("--again", help="Experiments with a record too.")]
Partition = Annotated[str | None, typer.Option(help="SLURM partition.")]


def fleet(
    patterns: Annotated[list[str], typer.Argument(help="Names or patterns, e.g. 'camvid_*'.")],
    jobs: Jobs = 0,
    gpus: Gpus = "",
    budget: Budget = None,
    launcher: LauncherName = "local",
    partition: Partition = None,
    again: Again = False,
    dry_run: Dry = False,
    as_json: Json = False,
) -> None:
    """Run many experiments, the cheapest first, some at a time; stopped, the same command goes on.

    Example: repro fleet 'camvid_*' --gpus 0,1 --budget 3h
    """
    from repro.fleet import choose
    from repro.params import find_project

    project = find_project()
    names = choose(project, patterns)
    run_names(project, names, jobs, gpus, budget, launcher, partition, again, dry_run, as_json)


def campaign(
    page: Annotated[str, typer.Option(help="Published page, e.g. 003.")],
    dataset: Annotated[str | None, typer.Option(help="Only this data set.")] = None,
    jobs: Jobs = 0,
    gpus: Gpus = "",
    budget: Budget = None,
    launcher: LauncherName = "local",
    partition: Partition = None,
    again: Again = False,
    dry_run: Dry = False,
    as_json: Json = False,
) -> None:
    """Run the rows of a published page that are not measured yet, the cheapest first, as far as time allows.

    Example: repro campaign --page 003 --dataset camvid --budget 3h --dry-run
    """
    from repro.errors import ParamsError
    from repro.params import find_project
    from repro.reports.results import load_results, require_page

    project = find_project()
    found = load_results(project, strict=False)
    prefix = require_page(page)
    names = [
        name
        for name, one in found.experiments.items()
        if any(row.startswith(prefix) for row in one.rows) and dataset in (None, one.dataset)
    ]
    if not names:
        raise ParamsError(f"page {prefix} has no experiments on '{dataset}'", hint="`repro list --page`")
    run_names(project, names, jobs, gpus, budget, launcher, partition, again, dry_run, as_json)


def run_names(
    project: Project,
    names: Sequence[str],
    jobs: int,
    gpus: str,
    budget: str | None,
    launcher: str,
    partition: str | None = None,
    again: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Plan, show, run, tell; exit 1 when an experiment failed."""
    from repro.errors import CheckFailed, UnknownNameError
    from repro.fleet import LAUNCHERS, Fleet, SlurmLauncher, plan, speed_of

    if launcher not in LAUNCHERS:
        raise UnknownNameError("launcher", launcher, LAUNCHERS)
    places = [gpu for gpu in gpus.split(",") if gpu]
    slots, seconds = jobs or len(places) or 1, parse_duration(budget)
    speed = speed_of(project, "cuda" if places or _has_gpu() else "cpu")
    fitting, left_out = plan(project, names, speed=speed, budget=seconds, jobs=slots, again=again)
    if dry_run:
        return show_plan(fitting, left_out, speed, as_json)
    made = [make_job(project, one) for one in fitting]
    start = SlurmLauncher(options=slurm_options(partition)) if launcher == "slurm" else LAUNCHERS[launcher]()
    with _view(len(left_out)) as shown:
        done = Fleet(
            project=project,
            jobs=made,
            slots=slots,
            gpus=places,
            budget=seconds,
            launcher=start,
            shown=shown,
        ).run()
    if as_json:
        emit_json([_line(job) for job in done])
    failed = [job for job in done if job.state == "failed"]
    if failed:
        logs = ", ".join(str(job.log.relative_to(project.root)) for job in failed[:5])
        raise CheckFailed(f"{len(failed)} of {len(done)} experiments failed", where=logs)


def make_job(project: Project, one: Estimate) -> Job:
    from repro.fleet import Job
    from repro.params import read_yaml

    dataset = str(read_yaml(project.experiments / one.name / "params.yaml")["dataset"])
    log = project.root / ".repro" / "fleet" / f"{one.name}.log"
    return Job(name=one.name, dataset=dataset, log=log, seconds=one.seconds)


def slurm_options(partition: str | None) -> dict[str, Any]:
    return {"slurm_partition": partition} if partition else {}


def parse_duration(text: str | None) -> float | None:
    """'90s', '25m', '3h', '1h30m' as seconds."""
    from repro.errors import ParamsError

    if text is None:
        return None
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text)
    if not text or match is None:
        raise ParamsError(f"not a duration: '{text}'", allowed="90s, 25m, 3h, 1h30m")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def show_plan(fitting: Sequence[Estimate], left_out: Sequence[Estimate], speed: float, as_json: bool) -> None:
    """The order, with each experiment's estimate; what does not fit below it."""
    if as_json:
        plain = {
            "speed_gflops": speed,
            "run": list(map(vars, fitting)),
            "left_out": list(map(vars, left_out)),
        }
        return emit_json(plain)
    out = console()
    for one in fitting:
        out.print(
            f"{one.name:<56} {one.samples:>10,} images {one.gflop / 1e6:>9.2f} PFLOP {clock(one.seconds):>9}"
        )
    total = sum(one.seconds for one in fitting)
    out.print(f"{len(fitting)} experiments, {clock(total)} one after another at {speed:,.0f} GFLOP/s")
    if left_out:
        out.print(
            f"{len(left_out)} do not fit, the cheapest is {left_out[0].name} ({clock(left_out[0].seconds)})"
        )


def clock(seconds: float) -> str:
    """3:25:07, or 12 d for what takes days."""
    minutes, rest = divmod(round(seconds), 60)
    days = seconds / 86400
    return f"{days:.1f} d" if days >= 2 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _has_gpu() -> bool:
    from repro.records.device import gpu_driver

    return gpu_driver() is not None


def _line(job: Job) -> dict[str, Any]:
    return {
        "experiment": job.name,
        "state": job.state,
        "attempts": job.attempts,
        "seconds": round(job.elapsed(), 1),
        "code": job.code,
        "log": str(job.log),
    }


def _view(left_out: int) -> Any:
    """A live table on a terminal, a line a change elsewhere."""
    from contextlib import contextmanager

    @contextmanager
    def live() -> Any:
        from rich.live import Live

        out = console(stderr=True)
        if not out.is_terminal:
            seen: dict[str, str] = {}
            yield lambda jobs: _say_changes(out, jobs, seen)
            return
        with Live(console=out, refresh_per_second=2) as screen:
            yield lambda jobs: screen.update(_table(jobs, left_out))

    return live()


def _say_changes(out: Any, jobs: Sequence[Job], seen: dict[str, str]) -> None:
    for job in jobs:
        word = f"{job.state} (attempt {job.attempts})" if job.attempts > 1 else job.state
        if seen.get(job.name, "waiting") != word:
            out.print(f"{job.name}: {word} {clock(job.elapsed())}")
        seen[job.name] = word


def _table(jobs: Sequence[Job], left_out: int) -> Any:
    from rich.table import Table

    colours = {"running": "cyan", "done": "green", "failed": "red", "stopped": "yellow"}
    table = Table("experiment", "state", "time", "estimate", "last line", box=None)
    for job in [job for job in jobs if job.state != "waiting"][-20:]:
        colour = colours.get(job.state, "dim")
        state = f"[{colour}]{job.state}[/]"
        table.add_row(job.name, state, clock(job.elapsed()), clock(job.seconds), _last_line(job))
    waiting = sum(job.state == "waiting" for job in jobs)
    table.caption = f"{waiting} waiting, {left_out} beyond the budget"
    return table


def _last_line(job: Job) -> str:
    from rich.markup import escape

    if not job.log.is_file():
        return ""
    with job.log.open("rb") as file:
        file.seek(max(0, job.log.stat().st_size - 2000))
        lines = file.read().decode(errors="replace").replace("\r", "\n").split("\n")
    return escape(next((line.strip() for line in reversed(lines) if line.strip()), "")[:70])
