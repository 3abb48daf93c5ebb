"""The stage `train`: train an experiment, resuming from its newest checkpoint, and save its weights."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from repro.checkpoints import save_model
from repro.datasets.prepare.prepared_split import Split
from repro.errors import CheckpointError
from repro.evaluation.evaluate import Stopped, evaluate
from repro.io.sources import trust
from repro.params import Project, ReferenceModel, TrainedExperiment, to_plain
from repro.records import Journal, locked, read_journal, training_key, write_bytes
from repro.records.build import PRETRAINED, pretrained_of
from repro.records.curve import curve_csv
from repro.records.network import network_origin
from repro.stages.lookup import open_split, training_split
from repro.stages.model_setup import initial_weights
from repro.stages.reporter import SILENT, Reporter, Say
from repro.stages.trial import check_network
from repro.stages.unchanged_inputs import TRAINING, unchanged_inputs
from repro.tracking.mirror import Mirror
from repro.tracking.run_info import Run
from repro.training import checkpoint
from repro.training.distributed import Ranks
from repro.training.loop import Outcome
from repro.training.monitor import signalled
from repro.training.train import pretrained_sha256, train, validation_loss
from repro.training.train_step import Validate


def train_experiment(
    project: Project,
    experiment: TrainedExperiment,
    *,
    ranks: Ranks,
    workers: int | None = None,
    fresh: bool = False,
    reporter: Reporter = SILENT,
) -> Outcome:
    """Train an experiment, in one process of the job.

    Args:
        project: the project.
        experiment: the experiment to train.
        ranks: device and rank of this process.
        workers: threads that prepare batches (default: depends on the device).
        fresh: discard existing checkpoints.
        reporter: output for messages and progress.

    Raises:
        StorageError: another job is running the same training.
        DataError: the data is not prepared.
        CheckpointError, Interrupted, TrainingDiverged: see `training.train.train`.
        ParamsError: params or data changed while it trained; its checkpoints are kept.
    """
    trust(project.root)
    check_network(project, experiment)
    split = training_split(project, experiment)
    initial, initial_sha256 = initial_weights(project, experiment)
    key = training_key(experiment, split.fingerprint, initial_sha256=initial_sha256)
    work = project.work_folder(key)
    with _exclusive(work, ranks):
        if ranks.first:
            _rewind(work, fresh, reporter.note)
        ranks.wait()
        journal = Journal(work / "journal.jsonl") if ranks.first else None
        with journal or nullcontext(), _mirror(project, experiment, split, key, ranks):
            if journal is not None:
                check_pretrained(experiment, work, journal)
            inputs = unchanged_inputs(project, experiment.name, TRAINING, (split.path,))
            with inputs, reporter.training_bar() if ranks.first else nullcontext() as progress:
                outcome = train(
                    experiment,
                    split=split,
                    work=work,
                    device=ranks,
                    journal=journal,
                    validate=validation(project, experiment, ranks, reporter.note),
                    progress=progress,
                    initial=initial,
                    workers=workers,
                )
            if outcome.no_best and ranks.first:
                reporter.note("no validation gave a number (keep: best): the last weights are kept")
            if ranks.first:  # inside the mirror: a failed write must not become a finished run
                promote(project, experiment, outcome.state_dict, work, key, reporter.note)
        if ranks.first:
            checkpoint.remove_checkpoints(work)
    return outcome


def check_pretrained(experiment: TrainedExperiment, work: Path, journal: Journal) -> None:
    """Note in the journal which weights `pretrained_args` load; they are not in the run key.

    Raises CheckpointError if a training would resume with others than it began with.
    """
    model = experiment.model
    if not isinstance(model, ReferenceModel) or not model.pretrained_args:
        return
    found, known = pretrained_sha256(experiment), pretrained_of(read_journal(work / "journal.jsonl"))
    if not known:
        return journal.event(PRETRAINED, sha256=found)
    if known != found:
        what = f"`pretrained_args` load other weights now, {found[:12]}, than before, {known[:12]}"
        hint = f"install the package or files of then, or `repro train {experiment.name} --fresh`"
        raise CheckpointError(what, where=work, hint=hint)


def promote(
    project: Project,
    experiment: TrainedExperiment,
    weights: Mapping[str, Tensor],
    work: Path,
    key: str,
    note: Say,
) -> None:
    """Write curve.csv and model.safetensors to the experiment's folder, each atomically."""
    folder = project.experiment_folder(experiment.name)
    write_bytes(folder / "curve.csv", curve_csv(work / "journal.jsonl").encode())
    package = network_origin(to_plain(experiment.model)).get("package")
    made = {"experiment": experiment.name, "run_key": key} | ({"package": package} if package else {})
    save_model(folder / "model.safetensors", weights, made)
    note(f"wrote {os.path.relpath(folder)}/model.safetensors and curve.csv")


def validation(project: Project, experiment: TrainedExperiment, ranks: Ranks, note: Say) -> Validate | None:
    """Create the validation function: the experiment's protocol at a single scale without flips.

    An undefined mIoU becomes NaN, and `note` reports the reason.
    """
    if experiment.training.validate_every is None:
        return None
    split = open_split(project, experiment)
    protocol = replace(experiment.protocol, ms_flip=None, scales=(1.0,), flip=False)

    def validate(model: nn.Module) -> Mapping[str, float] | None:
        try:
            result = evaluate(
                model,
                split,
                protocol=protocol,
                model_params=experiment.model,
                num_classes=experiment.facts.num_classes,
                device=str(ranks.device),
                stopped=signalled,
            )
        except Stopped:
            return None
        values = {"mIoU": math.nan if result.metrics["mIoU"] is None else result.metrics["mIoU"]}
        if result.metrics["mIoU"] is None and ranks.first:
            note(f"validation: mIoU is undefined: {result.metrics['undefined']['mIoU']}")
        if experiment.training.monitor == "loss":
            loss = validation_loss(model, split, experiment, device=ranks.device, stopped=signalled)
            if loss is None:
                return None
            values["loss"] = loss
        return values

    return validate


def _rewind(work: Path, fresh: bool, note: Say) -> None:
    """Reset the work folder to its newest intact checkpoint, or remove all checkpoints if `fresh`."""
    work.mkdir(parents=True, exist_ok=True)
    if fresh:
        checkpoint.remove_checkpoints(work)

    def damaged(paths: list[Path]) -> None:
        note(f"skipping corrupt checkpoints: {', '.join(path.name for path in paths)}")

    done = checkpoint.rewind(work, work / "journal.jsonl", on_damaged=damaged)
    if done or checkpoint.checkpoints(work):
        note(f"resuming after iteration {done}" if done else "no readable checkpoint, starting from scratch")


def _mirror(
    project: Project, experiment: TrainedExperiment, split: Split, key: str, ranks: Ranks
) -> AbstractContextManager[object]:
    """Context that mirrors the journal of rank 0 to MLflow."""
    if not ranks.first:
        return nullcontext()
    run = Run(
        name=experiment.name,
        dataset=experiment.dataset,
        run_key=key,
        split=experiment.training.split,
        dataset_fingerprint=split.fingerprint,
        params=to_plain(experiment),
    )
    return Mirror(project, project.journal(key), run=run, device=str(ranks.device))


@contextmanager
def _exclusive(work: Path, ranks: Ranks) -> Iterator[None]:
    """Lock the work folder against other jobs."""
    if not ranks.first:
        yield
        return
    with locked(work / ".lock", "this training is running"):
        yield
