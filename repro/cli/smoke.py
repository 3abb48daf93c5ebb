"""Smoke mode: every stage of an experiment in seconds, on a stand-in data set, far away from results.

Network, losses, optimiser, schedule, augmentation steps, protocol and quirks are the experiment's own; sizes
are not: four tiny images, crops of 65 pixels, three updates. All of it lies in .repro/smoke/<name>/, a
project of its own, and says so in its params; MLflow hears nothing of it.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repro.params import Experiment, Project

NOTE = "SMOKE RUN on a stand-in data set: shows that every stage works; no number in here is a result."
SIDE = 65  # pixels; odd, as DeepLab's crops are
BASE = (96, 65)  # long and short side of an image before the network


def smoke_project(project: Project, experiment: Experiment) -> tuple[Project, Experiment]:
    """Make .repro/smoke/<name>/ anew: stand-in raw data, params; the project there and its experiment."""
    from repro.datasets.standin import write_standin
    from repro.params import Project, load_experiment

    root = project.root / ".repro" / "smoke" / experiment.name
    shutil.rmtree(root, ignore_errors=True)
    small = Project(root)
    counts = write_standin(experiment.dataset, small.data / experiment.dataset)
    splits = {split: counts[split] for split in experiment.facts.splits}
    _write(small.params, shared_params(experiment, splits))
    _write(small.experiments / experiment.name / "params.yaml", own_params(experiment))
    (root / "SMOKE.txt").write_text(NOTE + "\n")
    return small, load_experiment(small, experiment.name)


def _write(path: Path, params: Mapping[str, Any]) -> None:
    import yaml

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# {NOTE}\n" + yaml.safe_dump(dict(params), sort_keys=False))


def shared_params(experiment: Experiment, splits: Mapping[str, int]) -> dict[str, Any]:
    """The root params.yaml of the smoke project."""
    from repro.params import to_plain

    facts = to_plain(experiment.facts) | {"splits": dict(splits)}
    return {
        "engine": to_plain(experiment.engine),
        "datasets": {experiment.dataset: facts},
        "recipes": {"smoke": {}},
        "protocols": {"smoke": small_protocol(experiment)},
    }


def own_params(experiment: Experiment) -> dict[str, Any]:
    """The experiment's params with small sizes, no foreign weights and no published row."""
    from repro.params import to_plain

    plain = to_plain(experiment)
    crop = [min(side, SIDE) for side in experiment.augmentation.crop]
    base = experiment.augmentation.base and list(BASE)
    return {
        "dataset": experiment.dataset,
        "recipe": "smoke",
        "note": NOTE,
        "seed": experiment.seed,
        "model": plain["model"] | {"pretrained": None},
        "augmentation": plain["augmentation"] | {"crop": crop, "base": base, "cache": False},
        "training": plain["training"] | small_training(experiment),
        "evaluation": {"split": experiment.evaluation.split, "protocol": "smoke"},
    }


def small_training(experiment: Experiment) -> dict[str, Any]:
    """Three updates of two images, with a validation and checkpoints where the experiment has them."""
    looks = None if experiment.training.validate_every is None else 2
    length = {
        "epochs": None,
        "iterations": 3,
        "epoch_scale": 1,
        "epoch_devices": 1,
        "batch": 2,
        "accumulate": 1,
    }
    return length | {"warmup": 0, "validate_every": looks, "log_every": 1, "checkpoint_minutes": 0.0}


def small_protocol(experiment: Experiment) -> dict[str, Any]:
    """The protocol with small images and tiles, on two images."""
    from repro.params import to_plain

    protocol = experiment.protocol
    small = replace(protocol, first=2, base=BASE if protocol.mode == "whole" or protocol.base else None)
    if protocol.crop is not None:
        small = replace(small, crop=(SIDE, SIDE))
    if protocol.stride is not None:
        small = replace(small, stride=(43, 43))
    return dict(to_plain(small))
