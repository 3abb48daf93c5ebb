"""Run all stages of an experiment in this process: without DVC, and for smoke runs."""

from __future__ import annotations

from repro.params import AnyExperiment, ExternalExperiment, Project, TrainedExperiment, load_trained
from repro.records import Record
from repro.records.verdict import Kind
from repro.stages.benchmark import benchmark_experiment
from repro.stages.evaluate import evaluate_all
from repro.stages.evaluate_program import evaluate_all_with_programs
from repro.stages.prepare import prepare_missing
from repro.stages.record import record_experiment
from repro.stages.reporter import SILENT, Reporter
from repro.stages.train import train_experiment
from repro.stages.train_program import train_with_program
from repro.training.distributed import Ranks, join


def run_stages(
    project: Project,
    experiment: AnyExperiment,
    device: str,
    *,
    bench_seconds: float = 10.0,
    kind: Kind = "trained",
    reporter: Reporter = SILENT,
) -> Record:
    """Prepare (if needed), train, evaluate, benchmark and record.

    An experiment that measures only the cost of a network runs the last two. Raises what the stages raise.
    """
    if isinstance(experiment, ExternalExperiment):
        return run_programs(project, experiment, kind=kind, reporter=reporter)
    ranks, folder = join(device), project.experiment_folder(experiment.name)
    place = str(ranks.device)
    if not experiment.cost_only:
        train_with_start(project, experiment, ranks, reporter)
        evaluate_all(project, experiment, device=place, reporter=reporter)
    benchmark_experiment(project, experiment, folder, device=place, seconds=bench_seconds)
    return record_experiment(project, experiment, kind=kind)


def run_programs(
    project: Project, experiment: ExternalExperiment, *, kind: Kind, reporter: Reporter
) -> Record:
    """Prepare (if needed), train and evaluate with the experiment's programs, and record."""
    prepare_missing(project, experiment)
    if experiment.external.train is not None:
        train_with_program(project, experiment, reporter=reporter)
    evaluate_all_with_programs(project, experiment, reporter=reporter)
    return record_experiment(project, experiment, kind=kind)


def train_with_start(
    project: Project, experiment: TrainedExperiment, ranks: Ranks, reporter: Reporter
) -> None:
    """Prepare data and train; first trains the experiment it starts from, if that has no weights."""
    start = experiment.start_from
    if start is not None and not project.weights(start).is_file():
        train_with_start(project, load_trained(project, start), ranks, reporter)
    prepare_missing(project, experiment)
    train_experiment(project, experiment, ranks=ranks, reporter=reporter)
