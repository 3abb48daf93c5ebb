"""The training loop: exactly resumable, with metrics written to the journal and batches prefetched.

Decoding and warping release the GIL, so one thread can prefetch while the network computes; `workers` of the
loader adds threads. `step` in the journal is the number of completed iterations.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from repro.errors import Interrupted
from repro.io.threads import in_order
from repro.models import number_formats
from repro.params.training import TrainingParams
from repro.records import peak_memory, reset_peak_memory
from repro.training import optimizers, runtime
from repro.training.checkpoint import Best, finish_writing, restore, save
from repro.training.monitor import Speed, Status, Stop, signals
from repro.training.schedule import Length, better
from repro.training.train_step import Batch, Run, Task, check_compiled, memory_format, start, update

T = TypeVar("T")
DEPTH = 4  # prefetched batches


def prefetch(batches: Iterator[T], *, pin: bool = False) -> Generator[tuple[T, float]]:
    """Yield (batch, seconds waited for it), preparing batches in a thread; errors are raised here.

    `pin` copies tensors into page-locked memory, from which CUDA copies asynchronously.
    """

    def take(_: None) -> T | None:
        batch = next(batches, None)
        return _pinned(batch) if pin and batch is not None else batch

    try:
        with closing(in_order(take, repeat(None), workers=1, ahead=DEPTH, name="prefetch")) as taken:
            began = time.monotonic()
            while (batch := next(taken)) is not None:
                yield batch, time.monotonic() - began
                began = time.monotonic()
    finally:
        if close := getattr(batches, "close", None):
            close()


def _pinned(batch: Any) -> Any:
    from dataclasses import replace

    return replace(batch, image_NCHW=batch.image_NCHW.pin_memory(), label_NHW=batch.label_NHW.pin_memory())


SYSTEM_SECONDS = 30.0  # between journal entries about speed and memory


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a finished training; `chosen` is the iteration of the weights."""

    state_dict: dict[str, Tensor]
    iterations: int
    chosen: int
    resumed_from: int
    no_best: bool  # `keep: best`, but no validation gave a number: these are the last weights
    nondeterministic: tuple[str, ...]


def fit(task: Task) -> Outcome:
    """Train to the end, resuming from the newest checkpoint in `task.work` if there is one.

    Every error keeps the last checkpoint.

    Raises:
        Interrupted: a signal arrived; a checkpoint is saved.
        TrainingDiverged: the loss or a weight is not finite, or the loss stayed too high.
    """
    with (
        runtime.runtime_settings(task.params, task.seed + task.ranks.rank) as nondeterministic,
        signals() as stop,
    ):
        reset_peak_memory(str(task.ranks.device))  # an earlier training may have run in this process
        run = start(task)
        resumed_from = restore(run)
        check_compiled(run)
        optimizers.training_mode(run.model, task.params, task.parts)
        with closing(run.writer), closing(batches_of(run)) as batches:  # an error also ends the threads
            _iterate(run, batches, stop)
            save(run)
            finish_writing(run, wait=True)
        if task.journal is not None:
            task.journal.event("nondeterministic", operations=nondeterministic)
            if task.params.precision == "bf16" and number_formats.is_emulated(task.ranks.device):
                task.journal.event("bf16_in_float32")
        best = task.params.keep == "best" and run.best.is_defined
        no_best = task.params.keep == "best" and not best
        if no_best and task.journal is not None:
            task.journal.event("no_best", step=run.iteration)
        return Outcome(
            state_dict=run.best.load(task.work) if best else clean_state(run.model),
            iterations=run.iteration,
            chosen=run.best.iteration if best else run.iteration,
            no_best=no_best,
            resumed_from=resumed_from,
            nondeterministic=tuple(nondeterministic),
        )


def batches_of(run: Run) -> Generator[tuple[Batch, float]]:
    """(batch, seconds waited for it) of the remaining iterations."""
    task = run.task
    return prefetch(task.feed(run.iteration, task.of.iterations), pin=task.ranks.device.type == "cuda")


def _iterate(run: Run, batches: Iterable[tuple[Batch, float]], stop: Stop) -> None:
    task, speed = run.task, Speed()
    saved = reported = time.monotonic()
    if run.unvalidated:
        validate_or_stop(run)
    for batch, waited in batches:
        run.losses.add(update(run, batch))
        run.iteration += 1
        speed.add(images=task.params.batch, waited=waited)
        if run.iteration % task.params.log_every == 0 or run.iteration == task.of.iterations:
            log_losses(run)
            if time.monotonic() - reported > SYSTEM_SECONDS:
                reported = time.monotonic()
                log_system(run, speed)
        report_progress(run, speed)
        if validation_is_due(task.params, task.of, run.iteration):
            validate_or_stop(run)
        finish_writing(run)
        if checkpoint_is_due(run, stop, minutes=(time.monotonic() - saved) / 60):
            save(run)
            saved = time.monotonic()
            if stop.signal is not None or stop.other_rank:
                raise interrupted(run)


def validate_or_stop(run: Run) -> None:
    """Validate; if a signal interrupts it, save and stop, and the resumed run validates first."""
    run.unvalidated = not validate(run)
    if run.unvalidated:
        save(run)
        raise interrupted(run)


def interrupted(run: Run) -> Interrupted:
    """The error after a signal, once the checkpoint is on disk."""
    finish_writing(run, wait=True)
    return Interrupted(
        f"training stopped after {run.iteration} of {run.task.of.iterations} iterations",
        hint="progress is saved, rerun to resume",
    )


def log_losses(run: Run) -> None:
    """Write mean loss and learning rate to the journal; raises TrainingDiverged."""
    task = run.task
    mean = task.ranks.mean(run.losses.take())
    if task.journal is not None:
        task.journal.metrics({"train/loss": mean, "train/lr": run.lr}, step=run.iteration)
    run.losses.check(mean, task.params, iteration=run.iteration)


def log_system(run: Run, speed: Speed) -> None:
    """Write speed and memory to the journal, as separate entries since they are not reproducible."""
    if run.task.journal is None:
        return
    values = {"system/images_per_s": speed.images_per_s, "system/data_wait": speed.data_wait}
    values["system/memory_MiB"] = peak_memory(str(run.task.ranks.device))
    run.task.journal.metrics(values, step=run.iteration)


def validate(run: Run) -> bool:
    """Validate, and keep the weights if they are the best so far; the random state is not changed.

    Returns False, without a result, if a signal reached any process before the end.
    """
    task = run.task
    if task.validate is None:
        return True
    task.ranks.broadcast(run.model.buffers())  # evaluate the batch statistics that rank 0 saves
    with runtime.fork_random_state(task.ranks.device), torch.no_grad():
        run.model.eval()
        found = task.ranks.gather(task.validate(run.model))
    # Evaluation may convert the weights to channels_last; other kernels would give other last bits.
    run.model.to(memory_format=memory_format(task.params))
    optimizers.training_mode(run.model, task.params, task.parts)
    if any(one is None for one in found):
        return False
    values = dict(found[0])  # every rank decides by the same numbers
    if task.journal is not None:
        task.journal.metrics({f"val/{name}": value for name, value in values.items()}, step=run.iteration)
    if not task.params.needs_validation:
        return True
    watched = values[task.params.monitor]
    run.plateau.update(watched, task.params)
    if task.params.keep == "best" and better(watched, run.best.value, task.params):
        weights = clean_state(run.model)
        best = Best.write(task.work, weights, watched, run.iteration, write=task.ranks.first)
        run.best = task.ranks.gather(best)[0]  # with the file name, which only rank 0 knows
    return True


def validation_is_due(params: TrainingParams, of: Length, iteration: int) -> bool:
    """Whether to validate: every `validate_every` iterations, or every epoch, and at the end."""
    if params.validate_every is None:
        return False
    every = of.steps_per_epoch if params.validate_every == "epoch" else params.validate_every
    return iteration % every == 0 or iteration == of.iterations


def checkpoint_is_due(run: Run, stop: Stop, *, minutes: float) -> bool:
    """Whether to save now; several processes decide together, every `log_every` iterations."""
    wanted = [stop.signal is not None, minutes >= run.task.params.checkpoint_minutes]
    if run.task.ranks.world > 1:
        if run.iteration % run.task.params.log_every:
            return False
        wanted = run.task.ranks.any(*wanted)
    stop.other_rank = wanted[0]
    return any(wanted) and run.iteration < run.task.of.iterations


def report_progress(run: Run, speed: Speed) -> None:
    """Update the progress bar."""
    if run.task.progress is None:
        return
    left = run.task.of.iterations - run.iteration
    run.task.progress(
        Status(
            iteration=run.iteration,
            iterations=run.task.of.iterations,
            loss=run.losses.last_mean,
            lr=run.lr,
            images_per_s=speed.images_per_s,
            data_wait=speed.data_wait,
            eta_s=speed.eta(left),
        )
    )


def clean_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict as detached, contiguous copies on the CPU."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in model.state_dict().items()
    }
