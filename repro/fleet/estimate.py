"""How long an experiment will take: its arithmetic, divided by what this machine was seen to do.

Work is counted in GFLOP: 2 per multiply-accumulate, and a training sample costs three forward passes (one
forward, two backward). The speed is measured from finished trainings in `.repro/work`; without one, a
cautious figure stands in for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from repro.params import Experiment, ModelParams, Project, parse
from repro.records import read_journal
from repro.training.schedule import length

# GFLOP/s of a whole training step in fp32. CPU: 95 a core, from a DenseNet of page 003 at 321x321 (10 GFLOP
# forward) that took 0.16 s a sample on two cores, and 0.078 s in bf16. GPU: a guess, until one was measured.
CPU_CORE_SPEED, GPU_SPEED = 95.0, 3000.0
BF16_GAIN = 2.0
FORWARD_PASSES = 3  # of a training sample


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What an experiment costs: images seen in training, GFLOP in all, seconds at the given speed."""

    name: str
    samples: int
    gflop: float
    seconds: float


def estimate(experiment: Experiment, *, speed: float) -> Estimate:
    """The cost of training `experiment`; `speed` is GFLOP/s in fp32."""
    params = experiment.training
    iterations = length(params, images=experiment.facts.splits[params.split]).iterations
    samples = iterations * params.batch
    macs = _gmacs(experiment.model, experiment.facts.classes, experiment.augmentation.crop)
    gflop = 2 * macs * FORWARD_PASSES * samples
    seconds = gflop / (speed * gain(params.precision))
    return Estimate(name=experiment.name, samples=samples, gflop=gflop, seconds=seconds)


@cache
def _gmacs(model: ModelParams, classes: int, size_HW: tuple[int, int]) -> float:
    """Multiply-accumulates of one forward pass, 1e9; many rows of a page share a network."""
    from repro.models.cost import count

    return count(model, classes, size_HW).gmacs_conv


def gain(precision: str) -> float:
    """How much faster than fp32."""
    return 1.0 if precision == "fp32" else BF16_GAIN


def speed_of(project: Project, device: str) -> float:
    """GFLOP/s in fp32 that trainings on `device` ("cpu", "cuda") reached here; a default without any."""
    seen = [speed for path in project.work.glob("*/journal.jsonl") if (speed := _measured(path, device))]
    if seen:
        return median(seen)
    return GPU_SPEED if device.startswith("cuda") else CPU_CORE_SPEED * (os.cpu_count() or 1)


def _measured(path: Path, device: str) -> float | None:
    """GFLOP/s of one journal between its first and last metrics; None when it cannot be told."""
    entries = read_journal(path)
    runs = [entry for entry in entries if entry["kind"] == "run"]
    metrics = [entry for entry in entries if entry["kind"] == "metrics" and "train/loss" in entry["values"]]
    if len(runs) != 1 or len(metrics) < 2 or _device(entries) != device.partition(":")[0]:
        return None
    seconds = float(metrics[-1]["at"]) - float(metrics[0]["at"])
    return _work(runs[0]["run"]["params"], metrics) / max(seconds, 1e-9)


def _device(entries: list[dict[str, Any]]) -> str | None:
    found = [entry["found"]["device"] for entry in entries if entry["kind"] == "provenance"]
    return found[-1].get("type") if found else None


def _work(plain: dict[str, Any], metrics: list[dict[str, Any]]) -> float:
    """GFLOP between the first and the last of some lines, as fp32 would have done them in that time."""
    model, training = parse(ModelParams, plain["model"], "journal"), plain["training"]
    height, width = plain["augmentation"]["crop"]
    macs = _gmacs(model, int(plain["facts"]["classes"]), (height, width))
    samples = (metrics[-1]["step"] - metrics[0]["step"]) * training["batch"]
    return float(2 * macs * FORWARD_PASSES * samples / gain(training["precision"]))
