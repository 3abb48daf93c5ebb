"""Estimates of hours and memory of a training from the size of its network, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from repro.params import TrainedExperiment
from repro.params.training import TrainingParams

BACKWARD = 3.0  # cost of forward, input gradients and weight gradients, relative to the forward pass
EFFICIENCY = 0.3  # fraction of the peak; convolutional networks of these sizes reach 0.2 to 0.5
# Dense peak TFLOPS from data sheets: (fp32, tf32, bf16 or fp16).
GPUS: dict[str, tuple[float, float, float]] = {
    "T4": (8.1, 8.1, 65.0),
    "L4": (30.3, 60.0, 121.0),
    "V100": (15.7, 15.7, 125.0),
    "RTX 4090": (82.6, 82.6, 165.2),
    "A100": (19.5, 156.0, 312.0),
    "H100 SXM": (66.9, 494.5, 989.4),
    "H200": (66.9, 494.5, 989.4),
}
# GiB available to a program.
MEMORY = {"T4": 14.5, "L4": 22, "V100": 31, "RTX 4090": 23, "A100": 79, "H100 SXM": 79, "H200": 139}
_PEAK = {"fp32": 0, "tf32": 1, "bf16": 2, "fp16": 2}


class Size(Protocol):
    """What is needed of the cost of a network: parameters; MACs and activations of one crop."""

    @property
    def params_M(self) -> float: ...  # noqa: N802
    @property
    def gmacs_conv(self) -> float: ...
    @property
    def activation_MiB(self) -> float: ...  # noqa: N802


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a training takes on `devices` equal devices; hours do not include validation."""

    images: int  # samples drawn in total
    gmacs_total: float  # convolutions, forward and backward
    memory_GiB: float  # per device: weights, gradients, optimiser state, activations
    weights_GB: float
    checkpoints_GB: float  # of the two that are kept while training
    hours: dict[str, float]  # GPU -> estimate for `devices` of them
    too_small: tuple[str, ...]  # GPUs with less than memory_GiB


def estimate(experiment: TrainedExperiment, iterations: int, cost: Size, *, devices: int = 1) -> Estimate:
    """Estimate a training of `iterations` from the cost of its network."""
    params = experiment.training
    images = iterations * params.batch
    gmacs = BACKWARD * cost.gmacs_conv * images
    memory_GiB = memory_bytes(experiment, cost, devices=devices) / 2**30
    return Estimate(
        images=images,
        gmacs_total=gmacs,
        memory_GiB=memory_GiB,
        weights_GB=cost.params_M * 4 / 1e3,
        checkpoints_GB=2 * cost.params_M * 4 * (1 + optimizer_copies(params)) / 1e3,
        hours={name: gpu_hours(gmacs / devices, params, peaks) for name, peaks in GPUS.items()},
        too_small=tuple(name for name in GPUS if MEMORY[name] < memory_GiB),
    )


def memory_bytes(experiment: TrainedExperiment, cost: Size, *, devices: int = 1) -> float:
    """Bytes per device: fp32 weights, gradients and optimiser state, activations, buffers of the loss.

    Autocast halves the activations and adds a half-size copy of the weights.
    """
    params = experiment.training
    half = params.precision in ("bf16", "fp16")
    micro = max(params.batch // (devices * params.accumulate), 1)
    weights = cost.params_M * 1e6 * 4 * (2 + optimizer_copies(params) + (0.5 if half else 0))
    activations = cost.activation_MiB * 2**20 * micro * (0.5 if half else 1.0)
    height, width = experiment.augmentation.crop
    # The loss is computed image by image. On a GPU, deterministic interpolation uses indexing, which needs
    # more memory (torch 2.15, nn/functional.py: interpolate; counted with fake tensors, not on a device).
    blocks = 9 if params.deterministic else 4
    loss = blocks * experiment.facts.num_classes * height * width * 4
    return weights + activations + loss


def optimizer_copies(params: TrainingParams) -> int:
    """Number of values that the optimiser stores per weight."""
    return 2 if params.optimizer == "adam" else 1


def gpu_hours(gmacs: float, params: TrainingParams, peaks: tuple[float, float, float]) -> float:
    """Hours for `gmacs` (2 operations per multiply-accumulate) at EFFICIENCY of the precision's peak."""
    return 2 * gmacs * 1e9 / (peaks[_PEAK[params.precision]] * 1e12 * EFFICIENCY) / 3600


def validations(params: TrainingParams, iterations: int, steps_per_epoch: int) -> int:
    """Number of validations during the training."""
    if params.validate_every is None:
        return 0
    every = steps_per_epoch if params.validate_every == "epoch" else params.validate_every
    return -(-iterations // every)
