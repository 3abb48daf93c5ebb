"""The stage `evaluate`: a network's weights under its protocols, into the folders of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist

from repro.datasets.prepare.prepared_split import Split
from repro.errors import ParamsError
from repro.evaluation.evaluate import evaluate
from repro.evaluation.outputs import write_result
from repro.evaluation.summary import EvaluationResult
from repro.evaluation.visualize import keeper
from repro.params import Experiment, Project
from repro.params.experiment import num_classes
from repro.params.protocol import Protocol
from repro.records import sha256_file
from repro.records.build import ALSO
from repro.stages.lookup import open_split
from repro.stages.model_setup import trained_model
from repro.stages.reporter import SILENT, Voice


def elsewhere(project: Project, out: Path) -> Path:
    """`out`; ParamsError within experiments/, where files are results and `repro record` believes them."""
    if out.resolve().is_relative_to(project.experiments.resolve()):
        raise ParamsError("not a place for other results", where=out, allowed="a folder outside experiments/")
    return out


def own_folder(project: Project, experiment: Experiment, protocol: str | None) -> Path:
    """Where results under `protocol` belong; ParamsError for one that the experiment does not name."""
    folder = project.experiment_folder(experiment.name)
    if protocol in (None, experiment.evaluation.protocol):
        return folder
    if protocol not in experiment.also:
        hint = "add --out FOLDER, or list it under `also:` in the experiment's params.yaml"
        raise ParamsError("another protocol needs a folder of its own", hint=hint)
    return folder / ALSO / protocol


def evaluate_all(project: Project, experiment: Experiment, *, device: str, voice: Voice = SILENT) -> None:
    """Evaluate under the experiment's protocol and every further one, each in its own folder."""
    protocols = {experiment.evaluation.protocol: experiment.protocol, **experiment.also}
    for name, protocol in protocols.items():
        folder = own_folder(project, experiment, name)
        evaluate_experiment(project, experiment, protocol, folder, device=device, voice=voice)


def evaluate_experiment(
    project: Project,
    experiment: Experiment,
    protocol: Protocol,
    folder: Path,
    *,
    device: str,
    voice: Voice = SILENT,
) -> EvaluationResult | None:
    """Evaluate and write; None on all processes of a job but the first.

    Raises DataError where nothing is prepared, CheckpointError for no weights or those of another network.
    """
    split = open_split(project, experiment)
    weights = project.weights(experiment.name)
    model = trained_model(weights, experiment, device)
    with pictures(folder / "overlays", split, protocol) as keep, voice.bar("evaluate") as progress:
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


@contextmanager
def pictures(folder: Path, split: Split, protocol: Protocol) -> Iterator[Callable[..., None]]:
    """Writes overlays into `folder`, in place of those of an earlier run."""
    number = min(len(split), protocol.first or len(split))
    wanted = keeper(folder, split.ids[:number], split.palette)
    if not dist.is_initialized() or dist.get_rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.png"):
            old.unlink()
    if dist.is_initialized():
        dist.barrier()  # no process writes before the old pictures are gone
    yield wanted
