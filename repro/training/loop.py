"""The training loop: one update after another, exactly resumable, every number into the journal first.

Legend: N images, C classes, H W crop, h w logit size. An iteration is one update, counted from 0; `step` in
the journal is the number of completed iterations. The loop knows nothing of experiments, files of weights or
trackers: `repro.training.train` builds what it needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from repro.params.training import TrainingParams
from repro.records import Journal, peak_memory, reset_peak_memory
from repro.training import parameters, precision
from repro.training.losses import Resize, counted_pixels, only_classes, total_loss
from repro.training.prefetch import ahead
from repro.training.ranks import Ranks
from repro.training.schedule import Length, Plateau, better
from repro.training.state import Best, restore, save
from repro.training.watch import Interrupted, Losses, Progress, Speed, Status, Stop, signals

Validate = Callable[[nn.Module], Mapping[str, float]]
SYSTEM_SECONDS = 30.0  # between journal lines about speed and memory


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
    iteration: int = 0
    lr: float = 0.0
    losses: Losses = field(default_factory=Losses)
    plateau: Plateau = field(default_factory=Plateau)
    best: Best = field(default_factory=Best)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished training. `chosen` is the iteration whose weights these are."""

    state_dict: dict[str, Tensor]
    iterations: int
    chosen: int
    resumed_from: int
    nondeterministic: tuple[str, ...]


def fit(task: Task) -> Outcome:
    """Train to the end, from the newest checkpoint in `task.work` if there is one.

    Raises Interrupted after a signal (saved), TrainingDiverged (last good checkpoint kept), and whatever the
    data or the disk raise (the last checkpoint is kept).
    """
    with precision.machine(task.params, task.seed + task.ranks.rank) as nondeterministic, signals() as stop:
        reset_peak_memory(str(task.ranks.device))  # another training may have run in this process
        run = start(task)
        resumed_from = restore(run)
        check_compiled(run)
        parameters.training_mode(run.model, task.params)
        _iterate(run, stop)
        save(run)
        if task.journal is not None:
            task.journal.event("nondeterministic", operations=nondeterministic)
        return Outcome(
            state_dict=run.best.load(task.work) if task.params.keep == "best" else clean_state(run.model),
            iterations=run.iteration,
            chosen=run.best.iteration if task.params.keep == "best" else run.iteration,
            resumed_from=resumed_from,
            nondeterministic=tuple(nondeterministic),
        )


def _iterate(run: Run, stop: Stop) -> None:
    task, speed = run.task, Speed()
    saved = reported = time.monotonic()
    batches = task.feed(run.iteration, task.of.iterations)
    for batch, waited in ahead(batches, pin=task.ranks.device.type == "cuda"):
        run.losses.add(update(run, batch))
        run.iteration += 1
        speed.add(images=task.params.batch, waited=waited)
        if run.iteration % task.params.log_every == 0 or run.iteration == task.of.iterations:
            log_losses(run)
            if time.monotonic() - reported > SYSTEM_SECONDS:
                reported = time.monotonic()
                log_system(run, speed)
        tell(run, speed)
        if validation_is_due(task.params, task.of, run.iteration):
            look(run)
        if due(run, stop, minutes=(time.monotonic() - saved) / 60):
            save(run)
            saved = time.monotonic()
            if stop.signal is not None or stop.elsewhere:
                raise Interrupted(
                    f"training stopped after {run.iteration} of {task.of.iterations} iterations",
                    hint="it is saved: the same command goes on from there",
                )


def start(task: Task) -> Run:
    """The network, its optimiser and its precision on the device, before the first update."""
    device = task.ranks.device
    model = parameters.prepare_norms(task.model, task.params, ranks=task.ranks).to(device)
    model = model.to(memory_format=memory_format(task.params))
    return Run(
        task=task,
        model=model,
        runner=task.ranks.wrap(model),
        optimizer=parameters.optimizer_for(model, task.params),
        scaler=precision.scaler_for(task.params, device),
        multiplied=parameters.gradient_multipliers(model, task.params),
    )


def update(run: Run, batch: Batch) -> Tensor:
    """One update of the weights from one batch; returns the loss over the whole global batch's share here.

    The images are cut into `accumulate` micro-batches whose gradients add up to that of the whole batch;
    batch normalisation alone sees the difference.
    """
    task, params = run.task, run.task.params
    label_NHW = only_classes(batch.label_NHW, classes=task.classes)
    pixels = task.ranks.mean(counted_pixels(label_NHW, params))
    run.lr = parameters.set_rates(
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
    parameters.scale_gradients(run.multiplied)
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
    with precision.autocast(task.params, device):
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
    parameters.training_mode(run.model, task.params)
    pixels = float(counted_pixels(label_NHW, task.params))

    def step(runner: nn.Module) -> None:
        backward(run, runner, batch.image_NCHW, label_NHW, pixels)

    fast, difference = precision.compiled(run.model, step)
    run.runner = task.ranks.wrap(fast)
    if task.journal is not None:
        task.journal.event("compile", used=difference is None, gradient_difference=difference)


def log_losses(run: Run) -> None:
    """Mean loss and learning rate into the journal; stops a run that diverges."""
    task = run.task
    mean = task.ranks.mean(run.losses.take())
    if task.journal is not None:
        task.journal.metrics({"train/loss": mean, "train/lr": run.lr}, step=run.iteration)
    run.losses.check(mean, task.params, iteration=run.iteration)


def log_system(run: Run, speed: Speed) -> None:
    """Speed and memory: true, useful and different each time, so on lines of their own."""
    if run.task.journal is None:
        return
    values = {"system/images_per_s": speed.images_per_s, "system/data_wait": speed.data_wait}
    values["system/memory_MiB"] = peak_memory(str(run.task.ranks.device))
    run.task.journal.metrics(values, step=run.iteration)


def look(run: Run) -> None:
    """Validate; keep the weights if they are the best so far. Leaves no trace in the random state."""
    task = run.task
    if task.validate is None:
        return
    task.ranks.share(run.model.buffers())  # statistics of batch normalisation: measure what rank 0 keeps
    with precision.forked(task.ranks.device), torch.no_grad():
        run.model.eval()
        values = task.ranks.gather(dict(task.validate(run.model)))[0]  # all decide by the same numbers
    # Evaluation may lay the weights out channels_last; other strides mean other kernels and other last bits.
    run.model.to(memory_format=memory_format(task.params))
    parameters.training_mode(run.model, task.params)
    if task.journal is not None:
        task.journal.metrics({f"val/{name}": value for name, value in values.items()}, step=run.iteration)
    if not task.params.watched:
        return
    watched = values[task.params.monitor]
    run.plateau.look(watched, task.params)
    if task.params.keep == "best" and better(watched, run.best.value, task.params):
        weights = clean_state(run.model)
        run.best = Best.write(task.work, weights, watched, run.iteration, write=task.ranks.first)


def validation_is_due(params: TrainingParams, of: Length, iteration: int) -> bool:
    """After every `validate_every` iterations or epoch, and at the end."""
    if params.validate_every is None:
        return False
    every = of.steps_per_epoch if params.validate_every == "epoch" else params.validate_every
    return iteration % every == 0 or iteration == of.iterations


def due(run: Run, stop: Stop, *, minutes: float) -> bool:
    """Whether to save now. Several processes agree on it, every log_every iterations only."""
    wanted = [stop.signal is not None, minutes >= run.task.params.checkpoint_minutes]
    if run.task.ranks.world > 1:
        if run.iteration % run.task.params.log_every:
            return False
        wanted = run.task.ranks.agree(*wanted)
    stop.elsewhere = wanted[0]
    return any(wanted) and run.iteration < run.task.of.iterations


def tell(run: Run, speed: Speed) -> None:
    """Tell the progress bar."""
    if run.task.progress is None:
        return
    left = run.task.of.iterations - run.iteration
    run.task.progress(
        Status(
            iteration=run.iteration,
            iterations=run.task.of.iterations,
            loss=run.losses.shown,
            lr=run.lr,
            images_per_s=speed.images_per_s,
            data_wait=speed.data_wait,
            eta_s=speed.eta(left),
        )
    )


def clean_state(model: nn.Module) -> dict[str, Tensor]:
    """Weights as contiguous CPU tensors, detached from the training."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in model.state_dict().items()
    }
