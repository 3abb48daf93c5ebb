"""One update of the weights: the task, the state of a run, forward and backward passes.

Legend: N images, C classes, H W crop, h w logit size. An iteration is one update, counted from 0.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from repro.params.model import PartNames
from repro.params.training import TrainingParams
from repro.records import Journal
from repro.training import optimizers, runtime
from repro.training.checkpoint import Best, Writer
from repro.training.distributed import Ranks
from repro.training.losses import Resize, counted_pixels, only_classes, total_loss
from repro.training.monitor import Losses, Progress
from repro.training.schedule import Length, Plateau

Validate = Callable[[nn.Module], Mapping[str, float] | None]  # None after a signal


class Batch(Protocol):
    """This rank's part of a global batch, on the CPU."""

    @property
    def image_NCHW(self) -> Tensor: ...  # noqa: N802
    @property
    def label_NHW(self) -> Tensor: ...  # noqa: N802


@dataclass(frozen=True, kw_only=True)
class Task:
    """Network, data and settings of a training."""

    params: TrainingParams
    model: nn.Module
    feed: Callable[[int, int], Iterator[Batch]]  # this rank's batches of global iterations start..stop
    of: Length
    classes: int
    work: Path
    journal: Journal | None  # rank 0 only
    ranks: Ranks
    parts: PartNames = optimizers.OURS
    seed: int = 0
    normalise: Callable[[Tensor], Tensor] = Tensor.float
    resize: Resize
    validate: Validate | None = None
    progress: Progress | None = None


@dataclass(kw_only=True)
class Run:
    """State of a training."""

    task: Task
    model: nn.Module  # the plain network
    runner: nn.Module  # the module to call: compiled or wrapped by DistributedDataParallel
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    multiplied: list[tuple[Tensor, float]]
    writer: Writer
    saved_bests: deque[Best] = field(default_factory=lambda: deque(maxlen=2))  # per checkpoint on disk
    iteration: int = 0
    lr: float = 0.0
    losses: Losses = field(default_factory=Losses)
    plateau: Plateau = field(default_factory=Plateau)
    best: Best = field(default_factory=Best)
    unvalidated: bool = False  # a signal interrupted the validation of this iteration


def start(task: Task) -> Run:
    """Create a Run on the device: network, optimiser, gradient scaler."""
    device = task.ranks.device
    model = optimizers.prepare_norms(task.model, task.params, ranks=task.ranks, parts=task.parts).to(device)
    model = model.to(memory_format=memory_format(task.params))
    return Run(
        task=task,
        model=model,
        runner=task.ranks.wrap(model),
        optimizer=optimizers.optimizer_for(model, task.params, task.parts),
        scaler=runtime.scaler_for(task.params, device),
        multiplied=optimizers.gradient_multipliers(model, task.params, task.parts),
        writer=Writer(task.work),
    )


def update(run: Run, batch: Batch) -> Tensor:
    """Update the weights from one batch; returns this rank's share of the loss of the global batch.

    The gradients of `accumulate` micro-batches add up to that of the batch; only batch normalisation differs.
    """
    task, params = run.task, run.task.params
    label_NHW = only_classes(batch.label_NHW, classes=task.classes)
    pixels = task.ranks.mean(counted_pixels(label_NHW, params))
    run.lr = optimizers.set_rates(
        run.optimizer, params, iteration=run.iteration, of=task.of, plateau=run.plateau.factor
    )
    parts = list(
        zip(batch.image_NCHW.chunk(params.accumulate), label_NHW.chunk(params.accumulate), strict=True)
    )
    losses = []
    for number, (image, label) in enumerate(parts, start=1):
        with task.ranks.sync_gradients(run.runner, enabled=number == len(parts)):
            losses.append(backward(run, run.runner, image, label, pixels))
    run.scaler.unscale_(run.optimizer)
    optimizers.scale_gradients(run.multiplied)
    if params.clip_norm is not None:
        nn.utils.clip_grad_norm_(run.model.parameters(), params.clip_norm)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    return torch.stack(losses).sum()


def backward(run: Run, runner: nn.Module, image_NCHW: Tensor, label_NHW: Tensor, pixels: float) -> Tensor:
    """Forward and backward pass of one micro-batch; returns its share of the loss, detached."""
    task, device = run.task, run.task.ranks.device
    x_NCHW = task.normalise(image_NCHW.to(device, non_blocking=True))
    x_NCHW = x_NCHW.contiguous(memory_format=memory_format(task.params))
    with runtime.autocast(task.params, device):
        heads = runner(x_NCHW)
    label_NHW = label_NHW.to(device, non_blocking=True)
    loss = total_loss(heads, label_NHW, task.params, pixels=max(pixels, 1.0), resize=task.resize)
    torch.autograd.backward(run.scaler.scale(loss))
    return loss.detach()


def memory_format(params: TrainingParams) -> torch.memory_format:
    return torch.channels_last if params.channels_last else torch.contiguous_format


def check_compiled(run: Run) -> None:
    """Use torch.compile if `params.compile` is set and the compiled gradients are correct."""
    task = run.task
    if not task.params.compile:
        return
    batch = next(iter(task.feed(0, 1)))
    label_NHW = only_classes(batch.label_NHW, classes=task.classes)
    optimizers.training_mode(run.model, task.params, task.parts)
    pixels = float(counted_pixels(label_NHW, task.params))

    def step(runner: nn.Module) -> None:
        backward(run, runner, batch.image_NCHW, label_NHW, pixels)

    fast, difference = runtime.compiled(run.model, step)
    run.runner = task.ranks.wrap(fast)
    if task.journal is not None:
        task.journal.event("compile", used=difference is None, gradient_difference=difference)
