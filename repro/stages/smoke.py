"""Smoke runs: every stage of an experiment in seconds, on drawn data, in a project of its own.

Network, losses, optimiser, schedule, augmentation steps, protocols and quirks are the experiment's own, and
where it starts from another experiment's weights that one is trained first. Sizes are not: four tiny images,
crops of 65 pixels, three updates; nor are ImageNet weights, which would have to be downloaded. Without them a
network with frozen normalisation cannot learn, and its learning rate is next to nothing. All of it lies in
.repro/smoke/<name>/, a project of its own whose params, records and tables say so; MLflow hears nothing.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from repro.datasets.prepare.smoke_fixtures import write_standin
from repro.params import Experiment, Project, experiment_names, load_experiment, read_each, to_plain
from repro.params.protocol import Protocol
from repro.reports import generated_files
from repro.reports.results import load_results
from repro.stages.local_runner import run_stages
from repro.stages.pipeline import each
from repro.stages.reporter import SILENT, Voice

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


BACKBONES = ("mobilenetv2", "resnet18", "densenet", "resnet50", "vgg16", "resnet101")  # the fastest first


def run_smokes(
    project: Project,
    names: Sequence[str],
    device: str,
    voice: Voice = SILENT,
    told: Callable[[str, float], None] = lambda name, seconds: None,
) -> None:
    """The named experiments, or without names one of each page and family. Raises as `each` does.

    `told` gets the name and the seconds of each that went through.
    """
    whole, broken = read_each(names or experiment_names(project), partial(load_experiment, project))
    for name, error in broken.items():
        if names:
            raise error
        voice.note(f"left out {name}: {error.what}")
    chosen = list(whole.values()) if names else representatives(list(whole.values()))
    keep, began = len(chosen) == 1, time.monotonic()  # the weights of one network are 20 to 500 MB

    def run(one: Experiment) -> None:
        told(one.name, run_smoke(project, one, device, keep=keep, voice=voice))

    each(chosen, run, voice.note)
    if not keep:
        voice.say(f"smoke runs of {len(chosen)} experiments: {time.monotonic() - began:.0f} s")


def run_smoke(
    project: Project, experiment: Experiment, device: str, *, keep: bool = True, voice: Voice = SILENT
) -> float:
    """Every stage on a stand-in in .repro/smoke/NAME/; it stays there where `keep`, and when it failed.

    The seconds it took.
    """
    began = time.monotonic()
    small, shrunk = smoke_project(project, experiment)
    with _untracked():
        run_stages(small, shrunk, device, bench_seconds=0.1, kind="smoke", voice=voice)
    generated_files.write(generated_files.generated_files(load_results(small)))
    if not keep:
        shutil.rmtree(small.root)
    seconds = time.monotonic() - began
    voice.say(f"smoke run of {experiment.name}: every stage works, nothing measured ({seconds:.0f} s)")
    return seconds


@contextmanager
def _untracked() -> Iterator[None]:
    """MLflow is left alone."""
    before = os.environ.get("REPRO_TRACKING")
    os.environ["REPRO_TRACKING"] = "off"
    try:
        yield
    finally:
        os.environ.pop("REPRO_TRACKING")
        if before is not None:
            os.environ["REPRO_TRACKING"] = before


def representatives(experiments: Sequence[Experiment]) -> list[Experiment]:
    """As few experiments as show every page with each of its families, and every data set; the fast ones.

    Greedy: the one that shows most of what is not shown yet, until nothing is missing.
    """
    ordered = sorted(experiments, key=_slowness)
    missing, chosen = {trait for e in ordered for trait in traits(e)}, []
    while missing:
        chosen.append(max(ordered, key=lambda e: len(missing & traits(e))))  # the first of equals
        missing -= traits(chosen[-1])
    return sorted(chosen, key=lambda e: e.name)


def traits(experiment: Experiment) -> set[tuple[str, ...]]:
    """What a smoke run of `experiment` shows: page, family and backbone; data set; a start from another."""
    model, pages = experiment.model, {row.split("-")[0] for row in experiment.rows} or {""}
    backbone = model.backbone.rstrip("0123456789") if model.backbone.startswith("resnet") else model.backbone
    network = (model.family, f"{backbone} {model.resnet.version}" if backbone == "resnet" else backbone)
    found: set[tuple[str, ...]] = {(page, *network) for page in pages}
    start = {("starts from another",)} if experiment.start_from is not None else set()
    return found | {("data", experiment.dataset)} | start


def _slowness(experiment: Experiment) -> tuple[int, int, str]:
    model = experiment.model
    return BACKBONES.index(model.backbone), -model.output_stride, experiment.name
