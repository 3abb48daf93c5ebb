"""Estimate iterations, memory, disk space and time of a training before it starts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from repro.errors import ParamsError
from repro.models.cost import count
from repro.params import TrainedExperiment
from repro.records import synchronize
from repro.training.distributed import Ranks
from repro.training.estimate import Estimate, estimate, validations
from repro.training.runtime import runtime_settings
from repro.training.schedule import length_of, require_statistics
from repro.training.train import logits_resize, network, network_input
from repro.training.train_step import Task, start, update

PROBE_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class Plan(Estimate):
    """Estimates for one training; hours do not include validation."""

    experiment: str
    iterations: int
    steps_per_epoch: int
    hours_here: float | None  # measured by a probe
    validations: int


def plan(experiment: TrainedExperiment, *, devices: int = 1, probe: str | None = None) -> Plan:
    """Estimate the training of `experiment` on `devices` equal devices.

    Args:
        experiment: the experiment to train.
        devices: number of devices.
        probe: device ("cpu", "cuda") on which to time 20 updates on random pixels.

    Raises:
        ParamsError: the experiment measures only the cost of a network, or the batch exceeds the data.
    """
    if experiment.cost_only:
        what = "the experiment measures only the cost of a network: there is no training to plan"
        raise ParamsError(what, where=experiment.folder)
    of, crop = length_of(experiment), experiment.augmentation.crop
    cost = count(experiment.model, experiment.facts.num_classes, crop)
    return Plan(
        experiment=experiment.name,
        iterations=of.iterations,
        steps_per_epoch=of.steps_per_epoch,
        hours_here=None if probe is None else probe_seconds(experiment, probe) * of.iterations / 3600,
        validations=validations(experiment.training, of.iterations, of.steps_per_epoch),
        **vars(estimate(experiment, of.iterations, cost, devices=devices)),
    )


@dataclass(frozen=True)
class _Pixels:
    image_NCHW: Tensor
    label_NHW: Tensor


def probe_seconds(experiment: TrainedExperiment, device: str) -> float:
    """Seconds per update on `device`: the mean of 20 after 3 warm-up updates, without loading data."""
    require_statistics(experiment.model, experiment.training, world=1)
    task, batch = _probe_task(experiment, device), _random_batch(experiment)
    with runtime_settings(experiment.training, experiment.seed):
        run = start(task)
        for _ in range(3):
            update(run, batch)
        synchronize(device)
        began = time.monotonic()
        for _ in range(PROBE_STEPS):
            update(run, batch)
        synchronize(device)
    return (time.monotonic() - began) / PROBE_STEPS


def _probe_task(experiment: TrainedExperiment, device: str) -> Task:
    params = experiment.training
    return Task(
        params=params,
        model=network(experiment, pretrained=False),
        parts=experiment.model.parts,
        feed=lambda start, stop: iter(()),
        of=length_of(experiment),
        classes=experiment.facts.num_classes,
        work=Path(),
        journal=None,
        ranks=Ranks(device=torch.device(device)),
        normalise=network_input(experiment),
        resize=logits_resize(experiment),
    )


def _random_batch(experiment: TrainedExperiment) -> _Pixels:
    shape = (experiment.training.batch, *experiment.augmentation.crop)
    image_NHWC = torch.randint(0, 256, (*shape, 3), dtype=torch.uint8)
    label_NHW = torch.randint(0, experiment.facts.num_classes, shape, dtype=torch.uint8)
    return _Pixels(image_NHWC.permute(0, 3, 1, 2).contiguous(), label_NHW)
