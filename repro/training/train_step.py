"""One update of the weights: what is trained, what changes while it is, and how a batch becomes a step.

Legend: N images, C classes, H W crop, h w logit size. An iteration is one update, counted from 0.
Nothing here knows of experiments, files of weights or trackers: `repro.training.train` builds what is needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from repro.params.training import TrainingParams
from repro.records import Journal
from repro.training import optimizers, runtime
from repro.training.checkpoint import Best, Writer
from repro.training.distributed import Ranks
from repro.training.losses import Resize, counted_pixels, only_classes, total_loss
from repro.training.monitor import Losses, Progress
from repro.training.schedule import Length, Plateau

Validate = Callable[[nn.Module], Mapping[str, float] | None]  # None: a signal came before its end


class Batch(Protocol):
    """A rank's part of a global batch, on the CPU."""

    @property
    def image_NCHW(self) -> Tensor: ...  # noqa: N802
    @property
    def label_NHW(self) -> Tensor: ...  # noqa: N802


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained, on what, and where it is written."""

    params: TrainingParams
    model: nn.Module
    feed: Callable[[int, int], Iterator[Batch]]  # this rank's batches of global iterations start..stop
    of: Length
    classes: int
    work: Path
    journal: Journal | None  # rank 0 only
    ranks: Ranks
    seed: int = 0
    normalise: Callable[[Tensor], Tensor] = Tensor.float
    resize: Resize
    validate: Validate | None = None
    progress: Progress | None = None


@dataclass(kw_only=True)
class Run:
    """Everything that changes while training."""

    task: Task
    model: nn.Module  # the network itself
    runner: nn.Module  # what is called: the network, compiled or spread over processes
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    multiplied: list[tuple[Tensor, float]]
    writer: Writer
    saved_bests: deque[Best] = field(default_factory=lambda: deque(maxlen=2))  # of the checkpoints kept
    iteration: int = 0
    lr: float = 0.0
    losses: Losses = field(default_factory=Losses)
    plateau: Plateau = field(default_factory=Plateau)
    best: Best = field(default_factory=Best)
    unvalidated: bool = False  # a signal came during the validation that is due at this iteration


def start(task: Task) -> Run:
    """The network, its optimiser and its precision on the device, before the first update."""
    device = task.ranks.device
    model = optimizers.prepare_norms(task.model, task.params, ranks=task.ranks).to(device)
    model = model.to(memory_format=memory_format(task.params))
    return Run(
        task=task,
        model=model,
        runner=task.ranks.wrap(model),
        optimizer=optimizers.optimizer_for(model, task.params),
        scaler=runtime.scaler_for(task.params, device),
        multiplied=optimizers.gradient_multipliers(model, task.params),
        writer=Writer(task.work),
    )


def update(run: Run, batch: Batch) -> Tensor:
    """One update of the weights from one batch; returns the loss over the whole global batch's share here.

    The images are cut into `accumulate` micro-batches whose gradients add up to that of the whole batch;
    batch normalisation alone sees the difference.
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
        with task.ranks.exchange(run.runner, now=number == len(parts)):
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
    """Forward and backward of one micro-batch; its part of the loss, detached."""
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
    """Put torch.compile's network in place where the params ask for it and its gradients are right."""
    task = run.task
    if not task.params.compile:
        return
    batch = next(iter(task.feed(0, 1)))
    label_NHW = only_classes(batch.label_NHW, classes=task.classes)
    optimizers.training_mode(run.model, task.params)
    pixels = float(counted_pixels(label_NHW, task.params))

    def step(runner: nn.Module) -> None:
        backward(run, runner, batch.image_NCHW, label_NHW, pixels)

    fast, difference = runtime.compiled(run.model, step)
    run.runner = task.ranks.wrap(fast)
    if task.journal is not None:
        task.journal.event("compile", used=difference is None, gradient_difference=difference)
