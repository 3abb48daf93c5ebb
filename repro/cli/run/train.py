"""`repro train`: train an experiment, resuming from its newest checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.console import Json, Name, emit_json

if TYPE_CHECKING:
    from repro.params import ExternalExperiment, Project, TrainedExperiment
    from repro.training.loop import Outcome


def train(
    name: Name,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Threads that load batches; default: 1, on a GPU up to 8.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Discard earlier progress of this training.")
    ] = False,
    json: Json = False,
) -> None:
    """Train NAME; write model.safetensors and curve.csv. Rerun to resume.

    On several GPUs: torchrun --nproc-per-node 4 -m repro train NAME. On several machines: the same command
    in torchrun's or SLURM's environment, with the project on a shared disk.

    An experiment with `external:` is trained by its program, which writes NAME/out (docs/programs.md).

    Example: repro train camvid_mobilenetv2_os16
    """
    from repro.cli.reporter import aloud
    from repro.params import ExternalExperiment, find_project, load_experiment

    project = find_project()
    experiment = load_experiment(project, name)
    if isinstance(experiment, ExternalExperiment):
        return train_program(project, experiment, fresh=fresh, json=json)

    # after the params: importing torch takes seconds, and a mistake is reported at once
    from repro.stages.train import train_experiment
    from repro.training.distributed import detect_lost_rank, join, leave

    ranks = join(device)
    try:
        with detect_lost_rank(ranks):
            outcome = train_experiment(
                project, experiment, ranks=ranks, workers=workers, fresh=fresh, reporter=aloud()
            )
        if json and ranks.first:
            emit_json(as_json(experiment, outcome))
    finally:
        leave()


def train_program(project: Project, experiment: ExternalExperiment, *, fresh: bool, json: bool) -> None:
    """Train with the experiment's program; its output goes to standard error."""
    from repro.cli.reporter import aloud
    from repro.stages.train_program import train_with_program

    train_with_program(project, experiment, fresh=fresh, reporter=aloud())
    if json:
        folder = experiment.folder
        emit_json({"experiment": experiment.name, "out": f"{folder}/out", "curve": f"{folder}/curve.csv"})


def as_json(experiment: TrainedExperiment, outcome: Outcome) -> dict[str, Any]:
    """A finished training for `--json`."""
    return {
        "experiment": experiment.name,
        "weights": f"{experiment.folder}/model.safetensors",
        "curve": f"{experiment.folder}/curve.csv",
        "iterations": outcome.iterations,
        "chosen": outcome.chosen,
        "no_best": outcome.no_best,
        "resumed_from": outcome.resumed_from,
        "nondeterministic": list(outcome.nondeterministic),
    }
