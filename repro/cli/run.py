"""`repro run`: the whole chain of an experiment, through DVC where it is installed, on its own elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.common import Names, console
from repro.cli.fleet import run_names
from repro.cli.how import How, with_how

if TYPE_CHECKING:
    from repro.params import Experiment, Project


@with_how
def run(
    how: How,
    names: Names = None,
    all_: Annotated[bool, typer.Option("--all", help="Every experiment.")] = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Every stage in seconds on stand-in data; no results.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="So many seeds, each an experiment NAME_seedK.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda; without DVC and for --smoke.")] = "auto",
) -> None:
    """Prepare, train, evaluate, benchmark and record NAME...; finished stages are not run again.

    A pattern such as 'camvid_*', several jobs, GPUs, a budget or SLURM make it a fleet (see `repro fleet`).

    Example: repro run camvid_mobilenetv2_os16 --seeds 3
    """
    from repro.errors import CheckFailed, ParamsError
    from repro.params import experiment_names, find_project, load_experiment

    project = find_project()
    chosen = experiment_names(project) if all_ else list(names or ())
    patterns = any(mark in name for name in chosen for mark in "*?[")
    if not smoke and (patterns or how.is_asked_for):
        from repro.fleet import choose

        return run_names(project, choose(project, chosen), how)
    if not chosen:
        raise ParamsError(
            "nothing to run", allowed="experiment names, or --all", hint="`repro list` shows all"
        )
    experiments = [load_experiment(project, name) for name in chosen]
    if smoke:
        failed = _each(experiments, lambda experiment: run_smoke(project, experiment, device))
    else:
        family = [seed for experiment in experiments for seed in seed_family(project, experiment, seeds)]
        failed = _each(family, lambda experiment: run_chain(project, experiment, device))
        for experiment in experiments if seeds > 1 else ():
            tell_seeds(project, experiment, seeds)
    if failed:
        listed = ", ".join(failed[:10])
        raise CheckFailed(f"{len(failed)} of {len(experiments)} experiments failed", where=listed)


def _each(experiments: list[Experiment], do: Callable[[Experiment], None]) -> list[str]:
    """Do all of them; the names of those that failed. A single one fails with its own error."""
    from repro.errors import ReproError
    from repro.training.watch import Interrupted

    failed = []
    for number, experiment in enumerate(experiments, start=1):
        try:
            do(experiment)
        except Interrupted:
            raise
        except ReproError as error:
            if len(experiments) == 1:
                raise
            failed.append(experiment.name)
            console(stderr=True).print(
                f"{number}/{len(experiments)} {experiment.name}: {error}", markup=False
            )
    return failed


def run_chain(project: Project, experiment: Experiment, device: str) -> None:
    """`dvc repro experiments/NAME`, or without DVC the same stages one after another."""
    import importlib.util
    import subprocess
    import sys

    from repro.errors import CheckFailed

    if importlib.util.find_spec("dvc") is None or not (project.root / ".dvc").is_dir():
        run_stages(project, experiment, device)
        return
    command = [sys.executable, "-m", "dvc", "repro", experiment.folder]
    code = subprocess.run(command, cwd=project.root, check=False).returncode
    if code:
        raise CheckFailed(f"a stage failed (dvc exit code {code})", where=experiment.folder, hint="see above")


def run_stages(project: Project, experiment: Experiment, device: str, *, bench_seconds: float = 10.0) -> None:
    """Prepare (where nothing is prepared), train, evaluate, benchmark, record, in this process."""
    from repro.cli import benchmark, evaluate, record, train
    from repro.cli.measure import num_classes
    from repro.datasets import prepare_dataset
    from repro.evaluation.benchmark import benchmark as measure
    from repro.models import build
    from repro.records import write_json, write_record
    from repro.training.ranks import join

    ranks, folder = join(device), project.root / experiment.folder
    prepared = project.prepared / experiment.dataset
    if not prepared.is_dir():
        prepare_dataset(experiment.dataset, project.data / experiment.dataset, prepared, experiment.facts)
    train.train_experiment(project, experiment, ranks=ranks)
    place = str(ranks.device)
    evaluate.evaluate_all(project, experiment, device=place)
    classes = num_classes(experiment, experiment.protocol)
    cost = measure(
        build(experiment.model, num_classes=classes),
        model_params=experiment.model,
        num_classes=classes,
        protocol=experiment.protocol,
        input_size=benchmark.input_size(project, experiment),
        device=place,
        seconds=bench_seconds,
    )
    write_json(folder / "cost.json", cost)
    made = write_record(project.rows / f"{experiment.name}.json", record.build(project, experiment))
    console().print(record.summary(made), markup=False)


def run_smoke(project: Project, experiment: Experiment, device: str) -> None:
    """Every stage on a stand-in; everything in .repro/smoke/NAME/."""
    from repro.cli.smoke import smoke_project

    began, before = time.monotonic(), os.environ.get("REPRO_TRACKING")
    os.environ["REPRO_TRACKING"] = "off"
    try:
        small, shrunk = smoke_project(project, experiment)
        run_stages(small, shrunk, device, bench_seconds=0.1)
    finally:
        os.environ.pop("REPRO_TRACKING")
        if before is not None:
            os.environ["REPRO_TRACKING"] = before
    console().print(f"smoke: {experiment.name}: every stage works ({time.monotonic() - began:.0f} s)")


def seed_family(project: Project, experiment: Experiment, seeds: int) -> list[Experiment]:
    """The experiment and its copies with the next seeds, NAME_seed1 and so on; copies are made once."""
    from repro.params import load_experiment
    from repro.scaffold import new_experiment, write_atomic

    family = [experiment]
    for number in range(1, seeds):
        name = f"{experiment.name}_seed{number}"
        path = project.experiments / name / "params.yaml"
        if not path.exists():
            new_experiment(project, name, experiment.name)
            write_atomic(path, with_seed(path.read_text(), experiment.seed + number))
        family.append(load_experiment(project, name))
    return family


def with_seed(params: str, seed: int) -> str:
    """The text of a params.yaml with another top-level seed; comments and everything else stay."""
    lines = [line for line in params.splitlines() if not line.startswith("seed:")]
    place = next(i for i, line in enumerate(lines) if line.startswith("dataset:")) + 1
    return "\n".join([*lines[:place], f"seed: {seed}", *lines[place:]]) + "\n"


def tell_seeds(project: Project, experiment: Experiment, seeds: int) -> None:
    """Mean, standard deviation and t-interval of the seeds that have a record."""
    from statistics import fmean, stdev

    from repro.records import read_record, seed_band

    names = [experiment.name, *(f"{experiment.name}_seed{number}" for number in range(1, seeds))]
    paths = [path for name in names if (path := project.rows / f"{name}.json").is_file()]
    values = [made.metrics[made.primary] for made in map(read_record, paths) if made.primary in made.metrics]
    if len(values) < 2:
        return
    band = seed_band(values)
    interval = f", 95 % t-interval of one more run ± {band.value:.2f}" if band else ""
    console().print(
        f"{experiment.name}: {len(values)} seeds, mean {fmean(values):.2f}, sd {stdev(values):.2f}{interval}"
    )
