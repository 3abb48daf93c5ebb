"""Smoke runs: which experiments show every page, family and data set, and every stage of each in seconds."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from repro.params import Experiment, Project, experiment_names, load_experiment, sorted_out
from repro.reports import regions
from repro.reports.results import load_results
from repro.stages.chain import each
from repro.stages.in_process import run_stages
from repro.stages.smoke_project import smoke_project
from repro.stages.voice import SILENT, Voice

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
    whole, broken = sorted_out(names or experiment_names(project), partial(load_experiment, project))
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
    regions.write(regions.generated_files(load_results(small)))
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
