"""`repro train`: train an experiment, from its newest checkpoint on, and put its weights in place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.common import Json, Name, console, emit_json
from repro.cli.train_bar import training_bar

if TYPE_CHECKING:
    from torch import Tensor, nn

    from repro.params import Experiment, Project
    from repro.training.loop import Outcome
    from repro.training.ranks import Ranks


def train(
    name: Name,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Threads that prepare batches; default: 1, on a GPU up to 8.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget earlier progress of this training.")] = False,
    json: Json = False,
) -> None:
    """Train NAME and write its model.safetensors and curve.csv. Stopped or killed, the same command goes on.

    On several GPUs: torchrun --nproc-per-node 4 -m repro train NAME. On several machines: the same under
    torchrun's or SLURM's usual environment, with the project on a shared disk.

    Example: repro train camvid_mobilenetv2_os16
    """
    from repro.params import find_project, load_experiment
    from repro.training.ranks import join, leave, telling

    project = find_project()
    experiment = load_experiment(project, name)
    ranks = join(device)
    try:
        with telling(ranks):
            outcome = train_experiment(project, experiment, ranks=ranks, workers=workers, fresh=fresh)
        if json and ranks.first:
            emit_json(told(experiment, outcome))
    finally:
        leave()


def train_experiment(
    project: Project, experiment: Experiment, *, ranks: Ranks, workers: int | None = None, fresh: bool = False
) -> Outcome:
    """Everything that `repro train` does, for one process of the job."""
    from repro.datasets.archive import Split
    from repro.records import Journal, training_key
    from repro.training import state
    from repro.training.train import train as run_training

    split = Split.open(project.prepared / experiment.dataset / f"{experiment.training.split}.zip")
    initial, initial_sha256 = initial_weights(project, experiment)
    key = training_key(experiment, split.fingerprint, initial_sha256=initial_sha256)
    work = project.work / key
    with _alone(work, ranks):
        if ranks.first:
            _rewind(work, fresh)
        ranks.wait()
        journal_path = work / "journal.jsonl"
        journal = Journal(journal_path) if ranks.first else None
        with (
            journal or nullcontext(),
            _mirror(project, experiment, split, key, ranks),
            training_bar(ranks) as bar,
        ):
            outcome = run_training(
                experiment,
                split=split,
                work=work,
                device=ranks,
                journal=journal,
                validate=validation(project, experiment, ranks),
                progress=bar,
                initial=initial,
                workers=workers,
            )
        if ranks.first:
            promote(project, experiment, outcome.state_dict, work, key)
            state.forget(work)
    return outcome


def told(experiment: Experiment, outcome: Outcome) -> dict[str, Any]:
    """What `--json` prints of a finished training."""
    return {
        "experiment": experiment.name,
        "weights": f"{experiment.folder}/model.safetensors",
        "curve": f"{experiment.folder}/curve.csv",
        "iterations": outcome.iterations,
        "chosen": outcome.chosen,
        "resumed_from": outcome.resumed_from,
        "nondeterministic": list(outcome.nondeterministic),
    }


def promote(
    project: Project, experiment: Experiment, weights: Mapping[str, Tensor], work: Path, key: str
) -> None:
    """Put curve.csv and model.safetensors into the experiment's folder, each by one rename."""
    from repro.checkpoints import save_model
    from repro.records import write_bytes
    from repro.training.curve import curve_csv

    folder = project.root / experiment.folder
    write_bytes(folder / "curve.csv", curve_csv(work / "journal.jsonl").encode())
    save_model(folder / "model.safetensors", weights, {"experiment": experiment.name, "run_key": key})
    console(stderr=True).print(f"wrote {os.path.relpath(folder)}/model.safetensors and curve.csv")


def initial_weights(project: Project, experiment: Experiment) -> tuple[dict[str, Tensor] | None, str]:
    """(weights that training starts from or None, the sha256 that stands for them in the run key)."""
    from repro.checkpoints import load_model, pretrained_backbone
    from repro.records import sha256_file

    if experiment.start_from is not None:
        path = project.experiments / experiment.start_from / "model.safetensors"
        weights, _ = load_model(path)
        return weights, sha256_file(path)
    if experiment.model.pretrained is not None:
        return pretrained_backbone(experiment.model, _first_weights(experiment))
    return None, ""


def initial_sha256(project: Project, experiment: Experiment) -> str:
    """The second half of `initial_weights`, without reading any weights; "" for a start from scratch."""
    from repro.checkpoints import store
    from repro.records import sha256_file

    if experiment.start_from is not None:
        return sha256_file(project.experiments / experiment.start_from / "model.safetensors")
    if experiment.model.pretrained is not None:
        return sha256_file(store.find(experiment.model.pretrained))
    return ""


def _first_weights(experiment: Experiment) -> dict[str, Tensor]:
    """The new network's values: what an ImageNet file of a near relative lacks keeps them."""
    import torch

    from repro.cli.measure import num_classes
    from repro.models import build

    torch.manual_seed(experiment.seed)
    classes = num_classes(experiment, experiment.protocol)
    return dict(build(experiment.model, num_classes=classes).state_dict())


def validation(
    project: Project, experiment: Experiment, ranks: Ranks
) -> Callable[[nn.Module], Mapping[str, float]] | None:
    """How the loop measures the network while training: the experiment's own protocol at one scale."""
    from dataclasses import replace

    from repro.datasets.archive import Split

    if experiment.training.validate_every is None:
        return None
    from repro.evaluation.evaluate import evaluate
    from repro.training.validation import validation_loss

    split = Split.open(project.prepared / experiment.dataset / f"{experiment.evaluation.split}.zip")
    protocol = replace(experiment.protocol, ms_flip=None, scales=(1.0,), flip=False)

    def validate(model: nn.Module) -> Mapping[str, float]:
        result = evaluate(
            model,
            split,
            protocol=protocol,
            model_params=experiment.model,
            num_classes=experiment.facts.classes,
            device=str(ranks.device),
        )
        values = {"mIoU": result.metrics["mIoU"]}
        if experiment.training.monitor == "loss":
            values["loss"] = validation_loss(model, split, experiment, device=ranks.device)
        return values

    return validate


def _rewind(work: Path, fresh: bool) -> None:
    from repro.training import resume, state

    work.mkdir(parents=True, exist_ok=True)
    if fresh:
        state.forget(work)
    say = console(stderr=True).print

    def damaged(paths: list[Path]) -> None:
        names = ", ".join(path.name for path in paths)
        say(f"damaged, passed over: {names}", markup=False)

    done = state.rewind(work, work / "journal.jsonl", on_damaged=damaged)
    if done or resume.checkpoints(work):
        say(f"going on after iteration {done}" if done else "no checkpoint can be read: beginning anew")


def _mirror(
    project: Project, experiment: Experiment, split: Any, key: str, ranks: Ranks
) -> AbstractContextManager[Any]:
    """MLflow follows the journal of rank 0."""
    if not ranks.first:
        return nullcontext()
    from repro.params import to_plain
    from repro.tracking import Mirror, Run

    run = Run(
        name=experiment.name,
        dataset=experiment.dataset,
        run_key=key,
        split=experiment.training.split,
        dataset_fingerprint=split.fingerprint,
        params=to_plain(experiment),
    )
    return Mirror(project, project.work / key / "journal.jsonl", run=run, device=str(ranks.device))


@contextmanager
def _alone(work: Path, ranks: Ranks) -> Iterator[None]:
    """No second job trains in the same folder."""
    from filelock import FileLock, Timeout

    from repro.errors import StorageError

    if not ranks.first:
        yield
        return
    work.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work / ".lock", timeout=0):
            yield
    except Timeout:
        raise StorageError(
            "this training is running already", where=work, hint="wait for it or stop it"
        ) from None
