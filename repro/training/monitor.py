"""Monitoring of a training: speed, divergence, signals."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

from torch import Tensor

from repro.errors import TrainingDiverged
from repro.params.training import TrainingParams


@dataclass(frozen=True, kw_only=True)
class Status:
    """Values for a progress bar."""

    iteration: int
    iterations: int
    loss: float
    lr: float
    images_per_s: float
    data_wait: float  # fraction of time spent waiting for batches, 0 to 1
    eta_s: float


class Progress(Protocol):
    """Called after every update."""

    def __call__(self, status: Status) -> None: ...


@dataclass
class Stop:
    """The signal that arrived, if any."""

    signal: int | None = None
    other_rank: bool = False  # another process of the job got a signal


@contextmanager
def signals() -> Iterator[Stop]:
    """Make SIGINT and SIGTERM set a flag; a second signal raises KeyboardInterrupt.

    Spot machines and SLURM send SIGTERM 30 s or more before SIGKILL.
    """
    global _current
    before_it, _current = _current, (stop := Stop())

    def note(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # only the main thread receives signals
        before = {}
    try:
        yield stop
    finally:
        _current = before_it
        for number, handler in before.items():
            signal.signal(number, handler)


_current = Stop()


def signalled() -> bool:
    """Whether a signal arrived during this process's training; validation checks it before every batch."""
    return _current.signal is not None


@dataclass
class Speed:
    """Images per second and fraction of waiting, over about the last 30 seconds."""

    images: int = 0
    waited: float = 0.0
    since: float = field(default_factory=time.monotonic)
    iterations: int = 0

    def add(self, *, images: int, waited: float) -> None:
        self.images += images
        self.waited += waited
        self.iterations += 1
        if self.elapsed > 30:  # halve the window, so that the average follows changes
            half = self.elapsed / 2
            self.images //= 2
            self.waited /= 2
            self.iterations //= 2
            self.since += half

    @property
    def elapsed(self) -> float:
        return max(time.monotonic() - self.since, 1e-9)

    @property
    def images_per_s(self) -> float:
        return self.images / self.elapsed

    @property
    def data_wait(self) -> float:
        return min(self.waited / self.elapsed, 1.0)

    def eta(self, left: int) -> float:
        """Seconds for `left` more iterations."""
        return left * self.elapsed / max(self.iterations, 1)


@dataclass
class Losses:
    """Running mean of the loss since the last journal entry."""

    total: float | Tensor = 0.0  # stays on the device until an entry is due, since reading it synchronises
    count: int = 0
    high: int = 0  # iterations for which the mean has been above training.diverge_loss
    last_mean: float = math.nan

    def add(self, loss: Tensor) -> None:
        self.total, self.count = self.total + loss, self.count + 1

    def take(self) -> float:
        """Return the mean and reset it."""
        self.last_mean = float(self.total) / max(self.count, 1)
        self.total, self.count = 0.0, 0
        return self.last_mean

    def check(self, mean: float, params: TrainingParams, *, iteration: int) -> None:
        """Raise TrainingDiverged if the mean is not finite, or above the bound for too long."""
        if not math.isfinite(mean):
            raise diverged(f"the loss is {mean} after {iteration} iterations")
        self.high = self.high + params.log_every if mean > params.diverge_loss else 0
        if self.high >= params.diverge_after:
            bound = f"training.diverge_loss {params.diverge_loss:g}"
            raise diverged(f"the loss stayed above {bound} for {self.high} iterations (now {mean:.3g})")

    def state(self) -> dict[str, Any]:
        return {"total": float(self.total), "count": self.count, "high": self.high}


def diverged(what: str) -> TrainingDiverged:
    return TrainingDiverged(
        f"training diverged: {what}",
        hint="lower training.lr or add training.warmup; earlier checkpoints are kept",
    )
