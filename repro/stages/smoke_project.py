"""The project of a smoke run: every stage of an experiment in seconds, on stand-in data, far from results.

Network, losses, optimiser, schedule, augmentation steps, protocols and quirks are the experiment's own, and
where it starts from another experiment's weights that one is trained first. Sizes are not: four tiny images,
crops of 65 pixels, three updates; nor are ImageNet weights, which would have to be downloaded. Without them a
network with frozen normalisation cannot learn, and its learning rate is next to nothing. All of it lies in
.repro/smoke/<name>/, a project of its own whose params, records and tables say so; MLflow hears nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from repro.datasets.standin import write_standin
from repro.params import Experiment, Project, load_experiment, to_plain
from repro.params.protocol import Protocol

NOTE = "SMOKE RUN on a stand-in data set: shows that every stage works; no number in here is a result."
SIDE = 65  # pixels; odd, as DeepLab's crops are
BASE = (96, 65)  # long and short side of an image before the network


def smoke_project(project: Project, experiment: Experiment) -> tuple[Project, Experiment]:
    """Make .repro/smoke/<name>/ anew: stand-in raw data, params; the project there and its experiment."""
    root = project.cache_folder("smoke", experiment.name)
    shutil.rmtree(root, ignore_errors=True)
    small, line = Project(root), lineage(project, experiment)
    splits = {e.dataset: write_standin(e.dataset, small.data / e.dataset) for e in line}
    _write(small.params, shared_params(line, splits))
    for e in line:
        _write(small.params_of(e.name), own_params(e))
    (root / "SMOKE.txt").write_text(NOTE + "\n", encoding="utf-8")
    return small, load_experiment(small, experiment.name)


def lineage(project: Project, experiment: Experiment) -> list[Experiment]:
    """The experiment, the one whose weights it starts from, and so on."""
    line = [experiment]
    while line[-1].start_from is not None:
        line.append(load_experiment(project, line[-1].start_from))
    return line


def _write(path: Path, params: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# {NOTE}\n" + yaml.safe_dump(dict(params), sort_keys=False), encoding="utf-8")


def shared_params(line: Sequence[Experiment], splits: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """The root params.yaml of the smoke project; `splits`: data set -> split -> images of its stand-in."""
    facts = {
        e.dataset: to_plain(e.facts) | {"splits": {name: splits[e.dataset][name] for name in e.facts.splits}}
        for e in line
    }
    protocols = {name: protocol for e in line for name, protocol in smoke_protocols(e).items()}
    return {
        "engine": to_plain(line[0].engine),
        "datasets": facts,
        "recipes": {"smoke": {}},
        "protocols": {name: small_protocol(protocol) for name, protocol in protocols.items()},
    }


def smoke_protocols(experiment: Experiment) -> dict[str, Protocol]:
    """The protocols of an experiment by the names they have in a smoke project."""
    also = {f"smoke_{name}": protocol for name, protocol in experiment.also.items()}
    return {f"smoke_{experiment.evaluation.protocol}": experiment.protocol, **also}


def own_params(experiment: Experiment) -> dict[str, Any]:
    """The experiment's params with small sizes, no foreign weights and no published row."""
    plain, (protocol, *also) = to_plain(experiment), smoke_protocols(experiment)
    crop = [min(side, SIDE) for side in experiment.augmentation.crop]
    base = experiment.augmentation.base and list(BASE)
    return {
        "dataset": experiment.dataset,
        "recipe": "smoke",
        "note": NOTE,
        "seed": experiment.seed,
        "start_from": experiment.start_from,
        "model": plain["model"] | {"pretrained": None},
        "augmentation": plain["augmentation"] | {"crop": crop, "base": base, "cache": False},
        "training": plain["training"] | small_training(experiment),
        "evaluation": {"split": experiment.evaluation.split, "protocol": protocol},
        "also": also,
    }


def small_training(experiment: Experiment) -> dict[str, Any]:
    """Three updates of two images, a validation where the experiment has one, and a checkpoint at the end."""
    looks = None if experiment.training.validate_every is None else 2
    length: dict[str, Any] = {"epochs": None, "iterations": 3, "epoch_scale": 1, "epoch_devices": 1}
    if experiment.training.batch_norm == "frozen":
        # A hundred layers on statistics that are not theirs: losses of 1e5, then NaN at the row's rate.
        length["lr"] = 1e-9
    return length | {"batch": 2, "accumulate": 1, "warmup": 0, "validate_every": looks, "log_every": 1}


def small_protocol(protocol: Protocol) -> dict[str, Any]:
    """The protocol with small images and tiles, on two images."""
    small = replace(
        protocol,
        first=2,
        base=BASE if protocol.mode == "whole" or protocol.base else None,
        crop=protocol.crop and (SIDE, SIDE),
        stride=protocol.stride and (43, 43),
    )
    return dict(to_plain(small))
