"""`repro run`: the whole chain of an experiment, through DVC where it is installed, on its own elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.console import Names, emit_json
from repro.cli.reporter import aloud, name_broken, note, say
from repro.cli.run.fleet_options import How, with_how
from repro.cli.run.fleet_run import before_start, require_all, run_names

if TYPE_CHECKING:
    from repro.params import Experiment, Project
    from repro.stages.reporter import Voice


@with_how
def run(
    how: How,
    names: Names = None,
    all_: Annotated[bool, typer.Option("--all", help="Every experiment.")] = False,
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="Every stage on stand-in data, no results. No NAME: each page, family."),
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds; each becomes NAME_seedK.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda; without DVC and for --smoke.")] = "auto",
) -> None:
    """Prepare, train, evaluate, benchmark and record NAME...; finished stages are not run again.

    A pattern such as 'camvid_*', several jobs, GPUs, a budget or SLURM make it a fleet (see `repro fleet`).

    Example: repro run camvid_mobilenetv2_os16 --seeds 3
    """
    from repro.errors import ParamsError
    from repro.params import experiment_names, find_project

    project = find_project()
    chosen = experiment_names(project) if all_ else list(names or ())
    check_options(how, smoke=smoke, seeds=seeds)
    if smoke:
        return smoke_run(project, chosen, device, how.as_json)
    if not chosen:
        raise ParamsError(
            "nothing to run", allowed="experiment names, or --all", hint="`repro list` shows all"
        )
    if how.is_asked_for or any(mark in name for name in chosen for mark in "*?["):
        return run_fleet(project, chosen, how, seeds, device)
    run_here(project, chosen, how, seeds, device, everything=all_)


def run_here(
    project: Project, names: Sequence[str], how: How, seeds: int, device: str, *, everything: bool
) -> None:
    """NAME... one after another, each with its other seeds where these are wanted."""
    from repro.errors import ParamsError
    from repro.fleet.workspace import has_dvc
    from repro.params import broken_error, load_experiment, read_each
    from repro.stages.inputs_ready import renew_files
    from repro.stages.pipeline import each
    from repro.stages.seeds import without_copies

    if device != "auto" and has_dvc(project):
        hint = "CUDA_VISIBLE_DEVICES= hides the GPUs; `repro train NAME --device` trains without DVC"
        raise ParamsError(f"DVC's stages take the device that is there, not --device {device}", hint=hint)
    chosen, as_json = without_copies(names) if seeds > 1 else names, how.as_json
    whole, broken = read_each(chosen, lambda name: load_experiment(project, name))
    if broken and (not whole or not (everything or how.keep_going)):
        raise (
            broken[next(iter(broken))]
            if len(names) == 1
            else broken_error(broken, done="nothing was started")
        )
    name_broken(broken)
    voice, stopped = voice_of(as_json), before_start(project, list(whole.values()), how)
    experiments = [one for one in whole.values() if one.name not in stopped]
    renew_files(project, voice.note)
    with document(as_json) as done:
        each(experiments, lambda one: done.append(run_one(project, one, seeds, device, as_json)), voice.note)
    require_all((), stopped, broken, project)


def run_one(
    project: Project, experiment: Experiment, seeds: int, device: str, as_json: bool
) -> dict[str, Any]:
    """One experiment with its other seeds, if any; what its record says. DVC's words keep out of JSON."""
    from repro.records import read_record
    from repro.stages.pipeline import run_chain
    from repro.stages.seeds import run_seeds
    from repro.stages.summary import facts

    voice, stdout = voice_of(as_json), 2 if as_json else None
    if seeds > 1:
        run_seeds(project, experiment, seeds, device, voice, stdout=stdout)
    else:
        run_chain(project, experiment, device, voice, stdout=stdout)
    return facts(read_record(project.record(experiment.name))) if as_json else {}


def smoke_run(project: Project, names: Sequence[str], device: str, as_json: bool) -> None:
    """Every stage of NAME... on stand-in data."""
    from repro.stages.smoke import run_smokes

    with document(as_json) as done:
        run_smokes(
            project,
            names,
            device,
            voice_of(as_json),
            told=lambda name, seconds: done.append({"experiment": name, "seconds": round(seconds, 1)}),
        )


def voice_of(as_json: bool) -> Voice:
    """Everything on this terminal; on standard error where standard output is JSON."""
    return replace(aloud(), say=note) if as_json else aloud()


@contextmanager
def document(as_json: bool) -> Iterator[list[dict[str, Any]]]:
    """A list to fill, printed as one JSON document: also where some of many experiments failed."""
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


def check_options(how: How, *, smoke: bool, seeds: int) -> None:
    """No option is silently without effect."""
    from repro.errors import ParamsError

    if smoke and (seeds > 1 or how.is_asked_for):
        raise ParamsError("a smoke run is neither a fleet nor repeated", allowed="NAME..., --all, --device")


def run_fleet(project: Project, patterns: Sequence[str], how: How, seeds: int, device: str) -> None:
    """NAME... some at a time, each with its other seeds where these are wanted."""
    from repro.errors import ParamsError
    from repro.params import experiment_names, matching

    if device != "auto":
        raise ParamsError(f"a fleet takes no --device {device}", hint="--gpus 0,1 says which GPUs it has")
    names = matching(patterns, experiment_names(project))
    if seeds > 1:
        run_seed_fleet(project, names, how, seeds)
    else:
        run_names(project, names, how, asked=patterns)


def run_seed_fleet(project: Project, names: Sequence[str], how: How, seeds: int) -> None:
    """NAME... and their other seeds as one fleet; then the records of NAME... are made from all of them."""
    from repro.errors import CheckFailed, ParamsError
    from repro.params import load_experiment
    from repro.stages.seeds import seed_family, without_copies

    if how.dry_run:
        raise ParamsError(
            "--dry-run makes no copies for --seeds", hint="without --seeds it shows one of them"
        )
    bases = [load_experiment(project, name) for name in without_copies(names)]
    families = [seed_family(project, base, seeds) for base in bases]
    try:
        run_names(project, [seed.name for family in families for seed in family], how)
    except CheckFailed:
        tell_seeds(project, bases, how)
        raise
    tell_seeds(project, bases, how)


def tell_seeds(project: Project, bases: Iterable[Experiment], how: How) -> None:
    """The spread of each one's seeds; on standard error where standard output is JSON."""
    from repro.stages.seeds import tell

    tell(project, bases, note if how.as_json else say, note)
