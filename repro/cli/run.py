"""`repro run`: the whole chain of an experiment, through DVC where it is installed, on its own elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.common import Names, console
from repro.cli.fleet import run_names
from repro.cli.how import How, with_how
from repro.cli.seeds import run_seed_fleet, run_seeds, without_copies
from repro.cli.smoke import run_smokes
from repro.cli.sync import renew_files

if TYPE_CHECKING:
    from repro.params import Experiment, Project
    from repro.records import Record
    from repro.records.verdict import Kind
    from repro.training.ranks import Ranks


@with_how
def run(
    how: How,
    names: Names = None,
    all_: Annotated[bool, typer.Option("--all", help="Every experiment.")] = False,
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="Every stage on stand-in data, no results. No NAME: each page, family."),
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="So many seeds, each an experiment NAME_seedK.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda; without DVC and for --smoke.")] = "auto",
) -> None:
    """Prepare, train, evaluate, benchmark and record NAME...; finished stages are not run again.

    A pattern such as 'camvid_*', several jobs, GPUs, a budget or SLURM make it a fleet (see `repro fleet`).

    Example: repro run camvid_mobilenetv2_os16 --seeds 3
    """
    from repro.errors import ParamsError
    from repro.fleet.dvc import has_dvc
    from repro.params import experiment_names, find_project, load_experiment, matching

    project = find_project()
    chosen = experiment_names(project) if all_ else list(names or ())
    check_options(how, smoke=smoke, seeds=seeds)
    if smoke:
        return run_smokes(project, chosen, device)
    if not chosen:
        raise ParamsError(
            "nothing to run", allowed="experiment names, or --all", hint="`repro list` shows all"
        )
    if how.is_asked_for or any(mark in name for name in chosen for mark in "*?["):
        return run_fleet(project, matching(chosen, experiment_names(project)), how, seeds, device)
    experiments = [
        load_experiment(project, name) for name in (without_copies(chosen) if seeds > 1 else chosen)
    ]
    if device != "auto" and has_dvc(project):
        hint = "CUDA_VISIBLE_DEVICES= hides the GPUs; `repro train NAME --device` trains without DVC"
        raise ParamsError(f"DVC's stages take the device that is there, not --device {device}", hint=hint)
    renew_files(project)
    if seeds > 1:
        each(experiments, lambda experiment: run_seeds(project, experiment, seeds, device))
    else:
        each(experiments, lambda experiment: run_chain(project, experiment, device))


def check_options(how: How, *, smoke: bool, seeds: int) -> None:
    """No option is silently without effect."""
    from repro.errors import ParamsError

    if smoke and (seeds > 1 or how.is_asked_for):
        raise ParamsError("a smoke run is neither a fleet nor repeated", allowed="NAME..., --all, --device")


def run_fleet(project: Project, names: Sequence[str], how: How, seeds: int, device: str) -> None:
    """NAME... some at a time, each with its other seeds where these are wanted."""
    from repro.errors import ParamsError

    if device != "auto":
        raise ParamsError(f"a fleet takes no --device {device}", hint="--gpus 0,1 says which GPUs it has")
    if seeds > 1:
        run_seed_fleet(project, names, how, seeds)
    else:
        run_names(project, names, how)


def each(experiments: Sequence[Experiment], do: Callable[[Experiment], None]) -> None:
    """Do all of them, then CheckFailed with the names of those that failed; a single one fails by itself.

    Of an error that nobody foresaw the place is told too.
    """
    from repro.errors import CheckFailed
    from repro.training.watch import Interrupted

    failed = []
    for number, experiment in enumerate(experiments, start=1):
        try:
            do(experiment)
        except Interrupted:
            raise
        except Exception as error:
            if len(experiments) == 1:
                raise
            failed.append(experiment.name)
            text = f"{number}/{len(experiments)} {experiment.name}: {_told(error)}"
            console(stderr=True).print(text, markup=False)
    if failed:
        listed = ", ".join(failed[:10])
        raise CheckFailed(f"{len(failed)} of {len(experiments)} experiments failed", where=listed)


def _told(error: Exception) -> str:
    import traceback

    from repro.errors import ReproError

    return str(error) if isinstance(error, ReproError) else "".join(traceback.format_exception(error))


def run_chain(project: Project, experiment: Experiment, device: str) -> None:
    """`dvc repro experiments/NAME`, or without DVC the same stages one after another."""
    from repro.cli import record
    from repro.errors import CheckFailed
    from repro.fleet.dvc import has_dvc, run_dvc

    if not has_dvc(project):
        made = run_stages(project, experiment, device)
        console().print(record.summary(made), markup=False)
        return record.show_in_mlflow(project, made)
    code = run_dvc(project, "repro", experiment.folder)
    if code:
        raise CheckFailed(f"a stage failed (dvc exit code {code})", where=experiment.folder, hint="see above")


def run_stages(
    project: Project,
    experiment: Experiment,
    device: str,
    *,
    bench_seconds: float = 10.0,
    kind: Kind = "trained",
) -> Record:
    """Prepare (where nothing is prepared), train, evaluate, benchmark, record, in this process."""
    from repro.cli import benchmark, evaluate, record
    from repro.cli.measure import num_classes
    from repro.evaluation.benchmark import benchmark as measure
    from repro.models import build
    from repro.records import write_json, write_record
    from repro.training.ranks import join

    ranks, folder = join(device), project.root / experiment.folder
    train_line(project, experiment, ranks)
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
    made = record.build(project, experiment, kind=kind)
    return write_record(project.rows / f"{experiment.name}.json", made)


def train_line(project: Project, experiment: Experiment, ranks: Ranks) -> None:
    """Prepare its data and train, before that whatever it starts from that has no weights yet."""
    from repro.cli.train import train_experiment
    from repro.datasets import prepare_dataset
    from repro.params import load_experiment

    start = experiment.start_from
    if start is not None and not (project.experiments / start / "model.safetensors").is_file():
        train_line(project, load_experiment(project, start), ranks)
    prepared = project.prepared / experiment.dataset
    if not prepared.is_dir():
        prepare_dataset(experiment.dataset, project.data / experiment.dataset, prepared, experiment.facts)
    train_experiment(project, experiment, ranks=ranks)
