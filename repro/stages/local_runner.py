"""All stages of an experiment one after another in this process: without DVC, and for smoke runs."""

from __future__ import annotations

from repro.params import Experiment, Project, load_experiment
from repro.records import Record
from repro.records.verdict import Kind
from repro.stages.benchmark import benchmark_experiment
from repro.stages.evaluate import evaluate_all
from repro.stages.prepare import prepare_missing
from repro.stages.record import record_experiment
from repro.stages.reporter import SILENT, Voice
from repro.stages.train import train_experiment
from repro.training.distributed import Ranks, join


def run_stages(
    project: Project,
    experiment: Experiment,
    device: str,
    *,
    bench_seconds: float = 10.0,
    kind: Kind = "trained",
    voice: Voice = SILENT,
) -> Record:
    """Prepare (where nothing is prepared), train, evaluate, benchmark, record. Raises what a stage raises.

    Of an experiment that measures cost alone the last two.
    """
    ranks, folder = join(device), project.experiment_folder(experiment.name)
    place = str(ranks.device)
    if experiment.measure == "all":
        train_line(project, experiment, ranks, voice)
        evaluate_all(project, experiment, device=place, voice=voice)
    benchmark_experiment(project, experiment, folder, device=place, seconds=bench_seconds)
    return record_experiment(project, experiment, kind=kind)


def train_line(project: Project, experiment: Experiment, ranks: Ranks, voice: Voice) -> None:
    """Prepare its data and train, before that whatever it starts from that has no weights yet."""
    start = experiment.start_from
    if start is not None and not project.weights(start).is_file():
        train_line(project, load_experiment(project, start), ranks, voice)
    prepare_missing(project, experiment)
    train_experiment(project, experiment, ranks=ranks, voice=voice)
