"""`repro fleet` and `repro campaign`: many experiments, cheapest first, within a budget."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.common import emit_json, experiments_like
from repro.cli.how import How, parse_duration, visible_gpus, with_how
from repro.cli.sync import renew_files

if TYPE_CHECKING:
    from repro.fleet import Estimate, Job, Launcher
    from repro.params import Project

LAUNCHERS = ("local", "slurm")


@with_how
def fleet(
    patterns: Annotated[
        list[str],
        typer.Argument(help="Names or patterns, e.g. 'camvid_*'.", autocompletion=experiments_like),
    ],
    how: How,
) -> None:
    """Run many experiments, the cheapest first, some at a time; stopped, the same command goes on.

    Example: repro fleet 'camvid_*' --gpus 0,1 --budget 3h
    """
    from repro.params import experiment_names, find_project, matching

    project = find_project()
    run_names(project, matching(patterns, experiment_names(project)), how)


@with_how
def campaign(
    page: Annotated[str, typer.Option(help="Published page, e.g. 003.")],
    how: How,
    dataset: Annotated[str | None, typer.Option(help="Only this data set.")] = None,
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
    run_names(project, names, how)


def run_names(project: Project, names: Sequence[str], how: How) -> None:
    """Plan, show, run, tell; exit 1 when an experiment failed."""
    from repro.cli.fleet_view import line, live, show_plan, tell_nothing
    from repro.errors import CheckFailed
    from repro.fleet import Fleet, plan, speeds

    launcher = launcher_of(how)
    places = visible_gpus(how.gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
    slots, seconds = how.jobs or len(places) or 1, parse_duration(how.budget)
    speed = speeds(project, "cuda" if places or _has_gpu() else "cpu")
    fitting, left_out = plan(project, names, speed=speed, budget=seconds, jobs=slots, again=how.again)
    if how.dry_run:
        return show_plan(fitting, left_out, how.as_json)
    if not fitting:
        tell_nothing(len(names), len(left_out))
    renew_files(project)
    with live(len(left_out)) as shown:
        done = Fleet(
            project=project,
            jobs=[make_job(project, one) for one in fitting],
            slots=slots,
            gpus=places,
            budget=seconds,
            launcher=launcher,
            is_here=how.launcher == "local",
            shown=shown,
        ).run()
    if how.as_json:
        emit_json([line(job) for job in done])
    failed = [job for job in done if job.state == "failed"]
    if failed:
        logs = ", ".join(str(job.log.relative_to(project.root)) for job in failed[:5])
        raise CheckFailed(f"{len(failed)} of {len(done)} experiments failed", where=logs)


def launcher_of(how: How) -> Launcher:
    """What starts the experiments; ParamsError for options that contradict it."""
    from repro.errors import ParamsError, UnknownNameError
    from repro.fleet import LocalLauncher, SlurmLauncher
    from repro.fleet.slurm import parse_options

    if how.launcher not in LAUNCHERS:
        raise UnknownNameError("launcher", how.launcher, LAUNCHERS)
    if how.launcher == "local":
        if how.slurm:
            raise ParamsError("--slurm is for --launcher slurm", where="--launcher local")
        return LocalLauncher()
    if how.gpus:
        hint = "--slurm gpus_per_node=1 --jobs N"
        raise ParamsError("--gpus names GPUs of this machine", where="--launcher slurm", hint=hint)
    return SlurmLauncher(options=parse_options(how.slurm))


def make_job(project: Project, one: Estimate) -> Job:
    from repro.fleet import Job
    from repro.params import read_yaml

    dataset = str(read_yaml(project.experiments / one.name / "params.yaml")["dataset"])
    log = project.root / ".repro" / "fleet" / f"{one.name}.log"
    return Job(name=one.name, dataset=dataset, log=log, seconds=one.seconds)


def _has_gpu() -> bool:
    from repro.records.device import gpu_driver

    return gpu_driver() is not None
