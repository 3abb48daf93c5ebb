"""Learning rate and weight decay per iteration, length of a training, and the minimum batch size.

Iterations count updates from 0; the value at iteration i is used by update i. Sources: poly per iteration as
in VainF (000), sssegmentation (001, 002) and mmcv (004); steps per epoch as in tensorpack's
ScheduledHyperParamSetter (003); plateau as in Keras' callback (000 TF).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from repro.errors import ParamsError
from repro.params import NetworkParams, ReferenceModel, TrainedExperiment, TrainingParams

PLATEAU_DELTA = 1e-4  # Keras' min_delta, the smallest improvement that counts


@dataclass(frozen=True, kw_only=True)
class Length:
    """Length of a training."""

    steps_per_epoch: int
    iterations: int

    def epoch(self, iteration: int) -> int:
        """Number of complete epochs before update `iteration`."""
        return iteration // self.steps_per_epoch


def length(params: TrainingParams, *, images: int) -> Length:
    """Length of a training on `images` images; incomplete batches are dropped as on every page.

    Page 003 counts floor(N / batch of one GPU) x epoch_scale, not divided by the number of GPUs.

    Raises:
        ParamsError: the batch is larger than the data set.
    """
    counted = params.batch // params.epoch_devices
    batches = epoch_images(params, images=images) // counted
    if batches == 0:
        raise ParamsError(
            f"training.batch: batch size {counted} exceeds the {images} images of '{params.split}'",
            allowed=f"1 to {images}",
        )
    steps = batches * params.epoch_scale
    return Length(steps_per_epoch=steps, iterations=params.iterations or (params.epochs or 0) * steps)


def epoch_images(params: TrainingParams, *, images: int) -> int:
    """Images per epoch: the split, with `pad_epoch` rounded up to a multiple of `devices`."""
    devices = params.devices if params.pad_epoch and params.devices else 1
    return -(-images // devices) * devices


def length_of(experiment: TrainedExperiment) -> Length:
    """Length of an experiment's training on its complete split; a ParamsError names the experiment."""
    params, where = experiment.training, f"{experiment.folder}/params.yaml"
    try:
        return length(params, images=experiment.facts.splits[params.split])
    except ParamsError as error:
        hint = f"lower it, or complete the data and datasets.{experiment.dataset} in the root params.yaml"
        raise ParamsError(error.what, where=where, allowed=error.allowed, hint=hint) from None


def learning_rate(
    params: TrainingParams, *, iteration: int, of: Length, multiplier: float = 1.0, plateau: float = 1.0
) -> float:
    """Learning rate of update `iteration`.

    Args:
        params: schedule, base rate and warm-up.
        iteration: update, from 0.
        of: length of the training.
        multiplier: of the parameter group.
        plateau: current factor of a Plateau, 1 for other schedules.
    """
    return _warmup(params, iteration) * _CURVES[params.schedule](params, iteration, of, multiplier) * plateau


def weight_decay(params: TrainingParams, *, iteration: int) -> float:
    """Weight decay of update `iteration`: c x factor ^ floor(iteration / steps)."""
    return params.weight_decay * float(params.weight_decay_factor ** (iteration // params.weight_decay_steps))


def curve(params: TrainingParams, *, images: int, points: int = 200) -> Iterator[tuple[int, float, float]]:
    """Yield (iteration, learning rate of the head, weight decay) at evenly spaced iterations."""
    of = length(params, images=images)
    last = of.iterations - 1
    count = min(points, of.iterations)
    for iteration in sorted({round(last * k / max(count - 1, 1)) for k in range(count)}):
        rate = learning_rate(params, iteration=iteration, of=of, multiplier=params.lr_head)
        yield iteration, rate, weight_decay(params, iteration=iteration)


@dataclass(kw_only=True)
class Plateau:
    """Keras' ReduceLROnPlateau: reduces `factor` after `patience` validations without improvement."""

    best: float | None = None
    waited: int = 0
    factor: float = 1.0

    def update(self, value: float, params: TrainingParams) -> None:
        """Update with the result of one validation."""
        if better(value, self.best, params, margin=PLATEAU_DELTA):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= params.plateau_patience:
            self.factor, self.waited = self.factor * params.plateau_factor, 0


def better(value: float, than: float | None, params: TrainingParams, *, margin: float = 0.0) -> bool:
    """Whether `value` is better than `than`: lower for a loss, higher for mIoU.

    Non-finite values (an undefined mIoU, an overflow) are worse than any number.
    """
    if not math.isfinite(value):
        return False
    if than is None or not math.isfinite(than):
        return True
    return value < than - margin if params.monitor == "loss" else value > than + margin


def _constant(params: TrainingParams, iteration: int, of: Length, multiplier: float) -> float:
    return params.lr * multiplier


def _poly(params: TrainingParams, iteration: int, of: Length, multiplier: float) -> float:
    base = params.lr * multiplier
    floor = max(params.floor, params.floor_ratio * base)
    falling: float = (1 - min(iteration, of.iterations) / of.iterations) ** params.power
    return max(base * falling, floor) if params.floor_rule == "clamp" else floor + (base - floor) * falling


def _step(params: TrainingParams, iteration: int, of: Length, multiplier: float) -> float:
    reached = [rate for epoch, rate in params.steps if of.epoch(iteration) >= epoch]
    return (reached[-1] if reached else params.lr) * multiplier


_CURVES = {"constant": _constant, "poly": _poly, "step": _step, "plateau": _constant}


def _warmup(params: TrainingParams, iteration: int) -> float:
    if iteration >= params.warmup:
        return 1.0
    return params.warmup_ratio + (1 - params.warmup_ratio) * (iteration + 1) / (params.warmup + 1)


def require_statistics(model: NetworkParams, params: TrainingParams, *, world: int) -> None:
    """Raise ParamsError if the pooled branch would normalise a single value: one image per device."""
    if isinstance(model, ReferenceModel):
        return  # `stages.preflight` runs it once
    images = params.batch // (params.accumulate * world)
    pools = model.family in ("deeplabv3", "deeplabv3plus") and model.head.aspp and model.head.pool != "none"
    shared = params.batch_norm == "sync" and world > 1
    if images > 1 or not pools or shared or params.batch_norm == "frozen":
        return
    raise ParamsError(
        "one image per device: batch normalisation of the pooled branch would see a single value",
        where=f"training.batch {params.batch}, accumulate {params.accumulate}, {world} processes",
        allowed="2 or more images per device, batch_norm sync on several GPUs, or batch_norm frozen",
    )
