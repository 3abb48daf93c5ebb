"""The stage `benchmark`: speed and memory of an experiment's network, which needs no weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from repro.evaluation.benchmark import benchmark
from repro.io.sources import trust
from repro.models import build
from repro.params import Project, TrainedExperiment
from repro.params.experiment import num_classes
from repro.params.protocol import scaled_size
from repro.records import write_json
from repro.stages.lookup import open_split
from repro.stages.model_setup import chosen_device


def benchmark_experiment(
    project: Project, experiment: TrainedExperiment, folder: Path, *, device: str, seconds: float
) -> dict[str, Any]:
    """Measure for `seconds` on `device`; writes `folder`/cost.json and returns its content.

    Raises:
        DataError: the size of an image is needed, but the data is not prepared.
        ParamsError: the device is not available.
    """
    trust(project.root)
    classes = num_classes(experiment, experiment.protocol)
    cost = benchmark(
        build(experiment.model, num_classes=classes),
        model_params=experiment.model,
        num_classes=classes,
        protocol=experiment.protocol,
        input_size=input_size(project, experiment),
        device=chosen_device(device),
        seconds=seconds,
    )
    write_json(folder / "cost.json", cost)
    return cost


def input_size(project: Project, experiment: TrainedExperiment) -> tuple[int, int]:
    """Size (height, width) of the network's input at scale 1: a tile, or the first image after resizing."""
    if experiment.protocol.crop is not None:
        return experiment.protocol.crop
    sample = open_split(project, experiment).samples[0]
    return scaled_size((sample.height, sample.width), 1.0, experiment.protocol)
