"""Train an experiment: build the network, the data loader and the validation loss, and call the loop."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from repro.datasets.loader import batches
from repro.datasets.prepare.prepared_split import Split
from repro.errors import CheckpointError
from repro.io.threads import cores
from repro.models import build, normalise, resize_logits
from repro.params import TrainedExperiment
from repro.records import Journal
from repro.training.distributed import Ranks, pick_device
from repro.training.loop import Outcome, fit
from repro.training.losses import Resize, counted_pixels, only_classes, total_loss
from repro.training.monitor import Progress
from repro.training.schedule import epoch_images, length, require_statistics
from repro.training.train_step import Batch, Task, Validate


def train(
    experiment: TrainedExperiment,
    *,
    split: Split,
    work: Path,
    device: str | Ranks = "auto",
    journal: Journal | None = None,
    validate: Validate | None = None,
    progress: Progress | None = None,
    initial: Mapping[str, Tensor] | None = None,
    workers: int | None = None,
) -> Outcome:
    """Train `experiment` on `split`, resuming from the newest checkpoint in `work`.

    Call `checkpoint.rewind` before opening the journal.

    Args:
        experiment: parameters of the training.
        split: training data.
        work: folder of the checkpoints.
        device: device name, or rank and device of this process.
        journal: where metrics and events are written (rank 0 only).
        validate: returns metrics of the network, or None after a signal.
        progress: called after every update.
        initial: initial weights of the whole network, or of the backbone only (`backbone.*`).
        workers: threads that prepare batches (default: `loader_threads`); samples do not depend on it.

    Raises:
        CheckpointError: `initial` belongs to another network.
        Interrupted, TrainingDiverged: see `loop.fit`.
    """
    ranks = device if isinstance(device, Ranks) else Ranks(device=pick_device(device))
    require_statistics(experiment.model, experiment.training, world=ranks.world)
    workers = loader_threads(ranks) if workers is None else workers
    return fit(
        Task(
            params=experiment.training,
            model=network(experiment, initial=initial),
            parts=experiment.model.parts,
            feed=partial(_feed, experiment, split, ranks, workers),
            of=length(experiment.training, images=len(split)),
            classes=experiment.facts.num_classes,
            work=work,
            journal=journal,
            ranks=ranks,
            seed=experiment.seed,
            normalise=network_input(experiment),
            resize=logits_resize(experiment),
            validate=validate,
            progress=progress,
        )
    )


def loader_threads(ranks: Ranks) -> int:
    """Default number of threads that prepare batches: this GPU's share of the cores, at most 8.

    On a CPU it is 0, since the cores compute; the thread of `prefetch` is enough. One thread prepares about
    35 Cityscapes samples per second, too few for a GPU (docs/decisions/2026-11-20-input-pipeline.md).
    """
    if ranks.device.type == "cpu":
        return 0
    return cores(processes=max(1, min(ranks.world, torch.cuda.device_count())))


def network(
    experiment: TrainedExperiment, *, initial: Mapping[str, Tensor] | None = None, pretrained: bool = True
) -> nn.Module:
    """Build the network of `experiment`, initialised from its seed and `initial`.

    Without `initial`, a network by reference gets its `pretrained_args`, unless not `pretrained`.
    """
    torch.manual_seed(experiment.seed)
    random.seed(experiment.seed)  # the code of a network by reference may draw from any of them
    np.random.seed(experiment.seed % 2**32)
    start = pretrained and initial is None
    model = build(experiment.model, num_classes=experiment.facts.num_classes, pretrained=start)
    if initial is not None:
        _load(model, initial)
    return model


def pretrained_sha256(experiment: TrainedExperiment) -> str:
    """sha256 of the weights that `pretrained_args` load: names and values of all that no seed changes."""
    first, second = (network(replace(experiment, seed=seed)).state_dict() for seed in (0, 1))
    digest = hashlib.sha256()
    for name in sorted(name for name in first if torch.equal(first[name], second[name])):
        content = first[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(f"{name} {tuple(first[name].shape)}\n".encode() + content.numpy().tobytes())
    return digest.hexdigest()


def network_input(experiment: TrainedExperiment) -> Callable[[Tensor], Tensor]:
    """The function that normalises images for the network."""
    return partial(normalise, params=experiment.model)


def logits_resize(experiment: TrainedExperiment) -> Resize:
    """The function that resizes logits to a label's size by the network's resize rule."""
    return partial(resize_logits, rule=experiment.model.resize)


def _load(model: nn.Module, initial: Mapping[str, Tensor]) -> None:
    """Load `initial` strictly; it may be the whole network or the backbone."""
    wanted = model.state_dict()
    if all(name.startswith("backbone.") for name in initial):
        wanted = {name: value for name, value in wanted.items() if name.startswith("backbone.")}
    wrong = sorted(wanted.keys() ^ initial.keys()) or [
        name for name in wanted if wanted[name].shape != initial[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"the initial weights belong to another network: {len(wrong)} entries differ",
            where=wrong[0],
            hint="compare model: in the params of both experiments",
        )
    model.load_state_dict(dict(initial), strict=False)


def _feed(
    experiment: TrainedExperiment, split: Split, ranks: Ranks, workers: int, start: int, stop: int
) -> Iterator[Batch]:
    return batches(
        split,
        experiment.augmentation,
        batch=experiment.training.batch,
        seed=experiment.seed,
        start=start,
        stop=stop,
        workers=workers,
        rank=ranks.rank,
        world=ranks.world,
        epoch_images=epoch_images(experiment.training, images=len(split)),
    )


def validation_loss(
    model: nn.Module,
    split: Split,
    experiment: TrainedExperiment,
    *,
    device: torch.device,
    stopped: Callable[[], bool] = lambda: False,
) -> float | None:
    """Mean cross entropy per image of `split`, with images resized to the training crop.

    Page 000's TensorFlow rows validate like this, on 768x768. Returns None if `stopped`, which is called
    before each image, returns True.
    """
    params, classes = experiment.training, experiment.facts.num_classes
    losses = []
    for i in range(len(split)):
        if stopped():
            return None
        image_NCHW, label_NHW = _sized(split, i, experiment.augmentation.crop)
        label_NHW = only_classes(label_NHW, classes=classes)
        heads = model(network_input(experiment)(image_NCHW.to(device)))[:1]
        pixels = max(counted_pixels(label_NHW, params), 1)
        resize = logits_resize(experiment)
        losses.append(total_loss(heads, label_NHW.to(device), params, pixels=pixels, resize=resize))
    return float(torch.stack(losses).mean())


def _sized(split: Split, i: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    width_height = (size[1], size[0])
    image_HWC = cv2.resize(split.image(i), width_height, interpolation=cv2.INTER_LINEAR)
    label_HW = cv2.resize(split.label(i), width_height, interpolation=cv2.INTER_NEAREST)
    return torch.from_numpy(image_HWC).permute(2, 0, 1)[None], torch.from_numpy(label_HW)[None]
