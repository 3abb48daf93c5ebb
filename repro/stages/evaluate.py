"""The stage `evaluate`: metrics of an experiment's weights, with one folder of results per protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist

from repro.checkpoints.files import read_metadata
from repro.datasets.prepare.prepared_split import Split
from repro.errors import ParamsError
from repro.evaluation.evaluate import evaluate
from repro.evaluation.outputs import write_result
from repro.evaluation.summary import EvaluationResult
from repro.evaluation.visualize import keeper
from repro.io.sources import trust
from repro.params import Experiment, Project, TrainedExperiment, to_plain
from repro.params.experiment import num_classes
from repro.params.protocol import Protocol
from repro.records import sha256_file
from repro.records.build import ALSO
from repro.records.network import network_origin
from repro.stages.lookup import open_split
from repro.stages.model_setup import trained_model
from repro.stages.reporter import SILENT, Reporter
from repro.stages.unchanged_inputs import EVALUATION, unchanged_inputs


def require_outside(project: Project, out: Path) -> Path:
    """Return `out`; ParamsError if it is in experiments/, whose files are results for `repro record`."""
    if out.resolve().is_relative_to(project.experiments.resolve()):
        what = "cannot write other results into experiments/"
        raise ParamsError(what, where=out, allowed="a folder outside experiments/")
    return out


def result_folder(project: Project, experiment: Experiment, protocol: str | None) -> Path:
    """Folder of the results under `protocol`; ParamsError for one that the experiment does not list."""
    folder = project.experiment_folder(experiment.name)
    if protocol in (None, experiment.evaluation.protocol):
        return folder
    if protocol not in experiment.also:
        hint = "add --out FOLDER, or list it under `also:` in the experiment's params.yaml"
        raise ParamsError(f"'{protocol}' is not a protocol of {experiment.name}", hint=hint)
    return folder / ALSO / protocol


def evaluate_all(
    project: Project, experiment: TrainedExperiment, *, device: str, reporter: Reporter = SILENT
) -> None:
    """Evaluate under all protocols of the experiment."""
    protocols = {experiment.evaluation.protocol: experiment.protocol, **experiment.also}
    for name, protocol in protocols.items():
        folder = result_folder(project, experiment, name)
        evaluate_experiment(project, experiment, protocol, folder, device=device, reporter=reporter)


def evaluate_experiment(
    project: Project,
    experiment: TrainedExperiment,
    protocol: Protocol,
    folder: Path,
    *,
    device: str,
    reporter: Reporter = SILENT,
) -> EvaluationResult | None:
    """Evaluate and write the result to `folder`; returns None on all ranks except the first.

    Raises:
        DataError: the data is not prepared.
        CheckpointError: the weights are missing or belong to another network.
    """
    trust(project.root)
    split = open_split(project, experiment)
    weights = project.weights(experiment.name)
    inputs = unchanged_inputs(project, experiment.name, EVALUATION, (split.path, weights))
    overlays, bar = overlay_writer(folder / "overlays", split, protocol), reporter.bar("evaluate")
    with inputs, overlays as keep, bar as progress:
        model = trained_model(weights, experiment, device)
        note_other_package(weights, experiment, reporter)
        result = evaluate(
            model,
            split,
            protocol=protocol,
            model_params=experiment.model,
            num_classes=num_classes(experiment, protocol),
            device=device,
            progress=progress,
            keep=keep,
        )
    if dist.is_initialized() and dist.get_rank() > 0:
        return None
    write_result(result, folder, split=experiment.evaluation.split, model_sha256=sha256_file(weights))
    return result


def note_other_package(weights: Path, experiment: TrainedExperiment, reporter: Reporter) -> None:
    """Report that the package of a network by reference has changed since the weights were trained."""
    then = read_metadata(weights).get("package")
    now = network_origin(to_plain(experiment.model)).get("package")
    if then and now and then != now:
        reporter.note(f"the network was trained with {then}, this is {now}: the result may differ")


@contextmanager
def overlay_writer(folder: Path, split: Split, protocol: Protocol) -> Iterator[Callable[..., None]]:
    """A `keep` for `evaluate` that writes overlays into `folder`, replacing those of an earlier run."""
    number = min(len(split), protocol.first or len(split))
    wanted = keeper(folder, split.ids[:number], split.palette)
    if not dist.is_initialized() or dist.get_rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()
    if dist.is_initialized():
        dist.barrier()  # no process writes before the old overlays are removed
    yield wanted
