"""`repro run`: every stage of one experiment, or of many within a budget, here or under SLURM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.arguments import WHICH, OfDataset, OfPage, Patterns
from repro.cli.console import Json, emit_json
from repro.cli.reporter import aloud, name_broken, note
from repro.cli.run.fleet_options import FleetOptions, LauncherName
from repro.cli.run.fleet_run import before_start, require_all, run_fleet
from repro.cli.selection import of_pages

if TYPE_CHECKING:
    from repro.params import AnyExperiment, Project
    from repro.stages.reporter import Reporter
    from repro.stages.seeds import SeedPlan

SCHEDULE = "Where, how many in parallel, how long"
KIND = "Seeds and smoke runs"


def run(
    names: Patterns = None,
    all_: Annotated[bool, typer.Option("--all", help="Every experiment.", rich_help_panel=WHICH)] = False,
    page: OfPage = None,
    dataset: OfDataset = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also re-run recorded experiments.", rich_help_panel=WHICH)
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=0, help="Parallel jobs (0 = one per GPU, else 1).", rich_help_panel=SCHEDULE),
    ] = None,
    gpus: Annotated[
        str, typer.Option(help="GPUs of this machine to use, e.g. 0,1.", rich_help_panel=SCHEDULE)
    ] = "",
    launcher: Annotated[
        LauncherName, typer.Option(help="Processes here, or SLURM jobs.", rich_help_panel=SCHEDULE)
    ] = LauncherName.local,
    slurm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Option for sbatch, e.g. partition=gpu; repeatable.",
            rich_help_panel=SCHEDULE,
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(help="auto, cpu, cuda; only without DVC and with --smoke.", rich_help_panel=SCHEDULE),
    ] = "auto",
    budget: Annotated[
        str | None, typer.Option(help="Wall time: 25m, 3h, 90s.", rich_help_panel=SCHEDULE)
    ] = None,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going",
            help="Run the others where some experiments cannot run here.",
            rich_help_panel=SCHEDULE,
        ),
    ] = False,
    seeds: Annotated[
        str,
        typer.Option(
            metavar="N|until:WIDTH",
            help="Number of seeds, each an experiment NAME_seedK; or add seeds until half of the mean's "
            "95 % confidence interval is below WIDTH points.",
            rich_help_panel=KIND,
        ),
    ] = "1",
    most: Annotated[
        int | None,
        typer.Option("--max", min=1, help="Most seeds of until:WIDTH (default: 8).", rich_help_panel=KIND),
    ] = None,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke",
            help="Every stage on stand-in data, no results; without NAME one experiment per page and family.",
            rich_help_panel=KIND,
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would run, in which order, and how long.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run experiments: prepare, train, evaluate, benchmark, record. Finished stages are not run again.

    NAME... run one after another in this terminal. Patterns, --page, --dataset and the options of the
    schedule run them as a fleet: the cheapest first, some in parallel, recorded ones skipped. Rerun an
    interrupted command to resume.

    Example: repro run camvid_mobilenetv2_os16 --seeds 3
    """
    from repro.errors import ParamsError
    from repro.params import experiment_names, find_project, matching
    from repro.params.names import is_pattern
    from repro.stages.seeds import seed_plan

    plan = seed_plan(seeds, most)
    project = find_project()
    options = FleetOptions(
        jobs=jobs,
        gpus=gpus,
        budget=budget,
        launcher=launcher,
        slurm=slurm or (),
        keep_going=keep_going,
        again=again,
        dry_run=dry_run,
        as_json=as_json,
    )
    selects = page is not None or dataset is not None
    if smoke:
        refuse_schedule(selects or options.schedules or plan.several)
        return smoke_run(project, typed(project, names, all_), device, as_json)
    wanted = of_pages(project, names, page, dataset) if selects else typed(project, names, all_)
    if not wanted:
        allowed = "experiment names or patterns, --page, --dataset, or --all"
        raise ParamsError("nothing to run", allowed=allowed, hint="`repro list` shows all experiments")
    if not (selects or options.schedules or any(map(is_pattern, wanted))):
        return run_here(project, wanted, options, plan, device, everything=all_)
    if device != "auto":
        raise ParamsError(f"a fleet takes no --device {device}", hint="--gpus 0,1 says which GPUs it has")
    if plan.until is not None:
        allowed = "names, without a schedule"
        raise ParamsError("a fleet takes a fixed number of seeds", where="--seeds", allowed=allowed)
    run_fleet(project, matching(wanted, experiment_names(project)), options, plan.most, asked=names or ())


def typed(project: Project, names: Sequence[str] | None, everything: bool) -> list[str]:
    """The names and patterns that were typed, or the names of all experiments."""
    from repro.params import experiment_names

    return experiment_names(project) if everything else list(names or ())


def refuse_schedule(asked: bool) -> None:
    """ParamsError for options that a smoke run would ignore."""
    from repro.errors import ParamsError

    if asked:
        what = "a smoke run is neither scheduled nor repeated"
        raise ParamsError(what, allowed="NAME..., --all, --device, --json")


def run_here(
    project: Project,
    names: Sequence[str],
    options: FleetOptions,
    plan: SeedPlan,
    device: str,
    *,
    everything: bool,
) -> None:
    """Run experiments one after another in this terminal, each with its other seeds if any."""
    from repro.errors import ParamsError
    from repro.fleet.workspace import has_dvc
    from repro.params import broken_error, load_experiment, read_each
    from repro.stages.inputs_ready import regenerate_files
    from repro.stages.pipeline import each
    from repro.stages.seeds import without_copies

    if device != "auto" and has_dvc(project):
        hint = "CUDA_VISIBLE_DEVICES= hides the GPUs; `repro train NAME --device` trains without DVC"
        raise ParamsError(f"DVC's stages take the device that is there, not --device {device}", hint=hint)
    chosen, as_json = without_copies(names) if plan.several else names, options.as_json
    whole, broken = read_each(chosen, lambda name: load_experiment(project, name))
    if broken and (not whole or not (everything or options.keep_going)):
        raise (
            broken[next(iter(broken))]
            if len(names) == 1
            else broken_error(broken, done="nothing was started")
        )
    name_broken(broken)
    voice, stopped = voice_of(as_json), before_start(project, list(whole.values()), options)
    experiments = [one for one in whole.values() if one.name not in stopped]
    regenerate_files(project, voice.note)
    with document(as_json) as done:
        each(experiments, lambda one: done.append(run_one(project, one, plan, device, as_json)), voice.note)
    require_all((), stopped, broken, project)


def run_one(
    project: Project, experiment: AnyExperiment, plan: SeedPlan, device: str, as_json: bool
) -> dict[str, Any]:
    """Run one experiment with its other seeds, if any, and return what its record says."""
    from repro.records import read_record
    from repro.stages.pipeline import run_pipeline
    from repro.stages.seeds import run_plan
    from repro.stages.summary import facts

    voice, stdout = voice_of(as_json), 2 if as_json else None  # DVC's output stays out of the JSON
    if plan.several:
        run_plan(project, experiment, plan, device, voice, stdout=stdout)
    else:
        run_pipeline(project, experiment, device, voice, stdout=stdout)
    return facts(read_record(project.record(experiment.name))) if as_json else {}


def smoke_run(project: Project, names: Sequence[str], device: str, as_json: bool) -> None:
    """Run every stage of the experiments on stand-in data."""
    from repro.stages.smoke import run_smokes

    with document(as_json) as done:
        run_smokes(
            project,
            names,
            device,
            voice_of(as_json),
            on_done=lambda name, seconds: done.append({"experiment": name, "seconds": round(seconds, 1)}),
        )


def voice_of(as_json: bool) -> Reporter:
    """Output of stages on this terminal; on standard error where standard output is JSON."""
    return replace(aloud(), say=note) if as_json else aloud()


@contextmanager
def document(as_json: bool) -> Iterator[list[dict[str, Any]]]:
    """A list to fill that is printed as one JSON document, also where some experiments failed."""
    from repro.errors import CheckFailed

    done: list[dict[str, Any]] = []
    try:
        yield done
    except CheckFailed:
        if as_json:
            emit_json(done)
        raise
    if as_json:
        emit_json(done)
