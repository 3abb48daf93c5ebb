"""Smoke runs: every stage of an experiment in seconds, on generated data, in a temporary project.

Network, losses, optimiser, schedule, augmentations and protocols are those of the experiment; an experiment
that it starts from is trained first. Sizes are reduced: four tiny images, crops of 65 pixels, three updates.
ImageNet weights are not used. The project is .repro/smoke/<name>/, and its params, records and tables are
marked as smoke runs; MLflow is not used.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from repro.datasets import dataset_module
from repro.datasets.prepare.smoke_fixtures import write_fixture
from repro.errors import DataError
from repro.io.sources import source_files
from repro.params import (
    AnyExperiment,
    Experiment,
    ExternalExperiment,
    NetworkParams,
    Project,
    ReferenceModel,
    TrainedExperiment,
    experiment_names,
    load_experiment,
    load_trained,
    read_each,
    to_plain,
)
from repro.params.dataset import DatasetFacts, Folder, Tile
from repro.params.protocol import Protocol
from repro.reports import generated_files
from repro.reports.results import load_results
from repro.stages.local_runner import run_stages
from repro.stages.pipeline import each
from repro.stages.reporter import SILENT, Reporter

NOTE = "SMOKE RUN on a stand-in data set: shows that every stage works; no number in here is a result."
SIDE = 65  # pixels; odd, as DeepLab's crops are
STAND_IN = Folder(images="{split}/images/{id}.png", labels="{split}/labels/{id}.png")
BASE = (96, 65)  # long and short side of an image before the network


def smoke_project(project: Project, experiment: AnyExperiment) -> tuple[Project, AnyExperiment]:
    """Create .repro/smoke/<name>/ with generated raw data; returns (project, experiment)."""
    if isinstance(experiment, ExternalExperiment):
        return program_project(project, experiment)
    root = project.cache_folder("smoke", experiment.name)
    shutil.rmtree(root, ignore_errors=True)
    small, line = Project(root), lineage(project, experiment)
    drawn = {e.dataset: stand_in(project, small, e) for e in line}
    facts = {name: declaration for name, (declaration, _) in drawn.items()}
    splits = {name: counts for name, (_, counts) in drawn.items()}
    _write(small.params, shared_params(line, facts, splits))
    for e in line:
        _write(small.params_of(e.name), own_params(e))
        copy_files(project, small, e.model.sources if isinstance(e.model, ReferenceModel) else ())
    (root / "SMOKE.txt").write_text(NOTE + "\n", encoding="utf-8")
    return small, load_trained(small, experiment.name)


def copy_files(project: Project, small: Project, files: Iterable[str]) -> None:
    """Copy files and folders of the project that define a network by reference, or a program."""
    for file in files:
        source, target = project.root / file, small.root / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)


def program_project(project: Project, experiment: ExternalExperiment) -> tuple[Project, AnyExperiment]:
    """As `smoke_project`, with the files of the programs."""
    root = project.cache_folder("smoke", experiment.name)
    shutil.rmtree(root, ignore_errors=True)
    small, programs, name = Project(root), experiment.external, experiment.dataset
    facts, counts = stand_in(project, small, experiment)
    _write(small.params, shared_params([experiment], {name: facts}, {name: counts}))
    protocol, *also = smoke_protocols(experiment)
    external = to_plain(programs)
    external["also"] = {f"smoke_{key}": program for key, program in external["also"].items()}
    own = {"dataset": name, "note": NOTE, "seed": experiment.seed, "external": external, "also": also}
    own["evaluation"] = {"split": experiment.evaluation.split, "protocol": protocol}
    _write(small.params_of(experiment.name), own)
    copy_files(project, small, programs.deps)
    return small, load_experiment(small, experiment.name)


def lineage(project: Project, experiment: TrainedExperiment) -> list[TrainedExperiment]:
    """The experiment, the experiment it starts from, and so on."""
    line = [experiment]
    while line[-1].start_from is not None:
        line.append(load_trained(project, line[-1].start_from))
    return line


def _write(path: Path, params: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# {NOTE}\n" + yaml.safe_dump(dict(params), sort_keys=False), encoding="utf-8")


def stand_in(
    project: Project, small: Project, experiment: Experiment
) -> tuple[DatasetFacts, Mapping[str, int]]:
    """Draw the data set of an experiment; returns its declaration and the samples of each split.

    A module of the zoo that has `draw` writes its own files, and reads them in the smoke project.
    """
    name, facts = experiment.dataset, experiment.facts
    module = dataset_module(project, name) if facts.module else None
    if hasattr(module, "draw"):
        copy_files(project, small, source_files(project.root, facts.module_name))
        return facts, drawn_by_module(module, facts, small.data / name)
    facts = small_facts(facts)
    return facts, write_fixture(name, small.data / name, facts)


def drawn_by_module(module: Any, facts: DatasetFacts, folder: Path) -> Mapping[str, int]:
    """Call `draw` of a module of the zoo. Raises DataError if it fails, or leaves a split out."""
    folder.mkdir(parents=True)
    try:
        counts = {str(split): int(count) for split, count in module.draw(folder).items()}
    except Exception as error:  # the code of a zoo can raise anything
        what = f"draw(folder) failed: {type(error).__name__}: {error}"
        raise DataError(what, where=facts.module, allowed="the number of samples of each split") from error
    missing = [split for split in facts.splits if counts.get(split, 0) < 1]
    if missing:
        what = f"draw(folder) gives no samples of the split '{missing[0]}'"
        raise DataError(what, where=facts.module, allowed=f"a number for each of {', '.join(facts.splits)}")
    return counts


def small_facts(facts: DatasetFacts) -> DatasetFacts:
    """The declaration with small tiles; a module of the zoo becomes a folder, whose files can be drawn."""
    if facts.module is not None:
        facts = replace(facts, module=None, folder=STAND_IN, classes=facts.class_names)
    return facts if facts.tile is None else replace(facts, tile=Tile(size=SIDE - 1))


def shared_params(
    line: Sequence[Experiment],
    known: Mapping[str, DatasetFacts],
    splits: Mapping[str, Mapping[str, int]],
) -> dict[str, Any]:
    """The root params.yaml of the smoke project; `splits`: data set -> split -> number of images."""
    facts = {
        name: to_plain(one) | {"splits": {split: splits[name][split] for split in one.splits}}
        for name, one in known.items()
    }
    protocols = {name: protocol for e in line for name, protocol in smoke_protocols(e).items()}
    return {
        "engine": to_plain(line[0].engine),
        "datasets": facts,
        "recipes": {"smoke": {}},
        "protocols": {name: small_protocol(protocol) for name, protocol in protocols.items()},
    }


def smoke_protocols(experiment: Experiment) -> dict[str, Protocol]:
    """The protocols of an experiment by their names in the smoke project."""
    also = {f"smoke_{name}": protocol for name, protocol in experiment.also.items()}
    return {f"smoke_{experiment.evaluation.protocol}": experiment.protocol, **also}


def own_params(experiment: TrainedExperiment) -> dict[str, Any]:
    """The experiment's params with small sizes, without pretrained weights and published rows."""
    plain, (protocol, *also) = to_plain(experiment), smoke_protocols(experiment)
    divisor = experiment.model.size_divisor
    crop = [min(side, max(SIDE // divisor, 1) * divisor) for side in experiment.augmentation.crop]
    base = experiment.augmentation.base and list(BASE)
    return {
        "dataset": experiment.dataset,
        "recipe": "smoke",
        "note": NOTE,
        "seed": experiment.seed,
        "start_from": experiment.start_from,
        "model": plain["model"] | without_pretrained(experiment.model),
        "augmentation": plain["augmentation"] | {"crop": crop, "base": base, "cache": False},
        "training": plain["training"] | small_training(experiment),
        "evaluation": {"split": experiment.evaluation.split, "protocol": protocol},
        "also": also,
    }


def without_pretrained(model: NetworkParams) -> dict[str, Any]:
    """The keys of `model:` that initialise the network randomly."""
    return {"pretrained_args": {}} if isinstance(model, ReferenceModel) else {"pretrained": None}


def small_training(experiment: TrainedExperiment) -> dict[str, Any]:
    """Training params for three updates of two images, with a validation if the experiment has one."""
    looks = None if experiment.training.validate_every is None else 2
    length: dict[str, Any] = {"epochs": None, "iterations": 3, "epoch_scale": 1, "epoch_devices": 1}
    if experiment.training.batch_norm == "frozen":
        # A hundred layers with wrong statistics: losses of 1e5, then NaN at the experiment's learning rate.
        length["lr"] = 1e-9
    return length | {"batch": 2, "accumulate": 1, "warmup": 0, "validate_every": looks, "log_every": 1}


def small_protocol(protocol: Protocol) -> dict[str, Any]:
    """The protocol with small images and tiles, and two images; that of a program only says what it does."""
    if protocol.mode == "external":
        return dict(to_plain(protocol))
    small = replace(
        protocol,
        first=2,
        base=BASE if protocol.mode == "whole" or protocol.base else None,
        crop=protocol.crop and (SIDE, SIDE),
        stride=protocol.stride and (43, 43),
    )
    return dict(to_plain(small))


BACKBONES = ("mobilenetv2", "resnet18", "densenet", "resnet50", "vgg16", "resnet101")  # fastest first


def run_smokes(
    project: Project,
    names: Sequence[str],
    device: str,
    reporter: Reporter = SILENT,
    on_done: Callable[[str, float], None] = lambda name, seconds: None,
) -> None:
    """Run the named experiments, or without names one per page and family. Raises like `each`.

    `on_done` is called with the name and the seconds of every successful run.
    """
    whole, broken = read_each(names or experiment_names(project), partial(load_experiment, project))
    for name, error in broken.items():
        if names:
            raise error
        reporter.note(f"left out {name}: {error.what}")
    can = runnable(whole.values(), reporter)
    chosen = can if names else representatives(can)
    keep, began = len(chosen) == 1, time.monotonic()  # the weights of a network have 20 to 500 MB

    def run(one: AnyExperiment) -> None:
        on_done(one.name, run_smoke(project, one, device, keep=keep, reporter=reporter))

    each(chosen, run, reporter.note)
    if not keep:
        reporter.say(f"smoke runs of {len(chosen)} experiments: {time.monotonic() - began:.0f} s")


def runnable(experiments: Iterable[AnyExperiment], reporter: Reporter) -> list[AnyExperiment]:
    """Those that can be run in a smoke run: a program only if its params say so; the others are named."""
    found = list(experiments)
    for one in found:
        if isinstance(one, ExternalExperiment) and not one.external.smoke:
            why = "its program does not declare `external.smoke: true`"
            reporter.note(f"left out {one.name}: {why}")
    return [one for one in found if not isinstance(one, ExternalExperiment) or one.external.smoke]


def run_smoke(
    project: Project,
    experiment: AnyExperiment,
    device: str,
    *,
    keep: bool = True,
    reporter: Reporter = SILENT,
) -> float:
    """Run every stage in .repro/smoke/NAME/, kept if `keep` or on failure; returns the seconds it took."""
    began = time.monotonic()
    small, shrunk = smoke_project(project, experiment)
    with _environment(REPRO_TRACKING="off", REPRO_SMOKE="1"):
        run_stages(small, shrunk, device, bench_seconds=0.1, kind="smoke", reporter=reporter)
    generated_files.write(generated_files.generated_files(load_results(small)))
    if not keep:
        shutil.rmtree(small.root)
    seconds = time.monotonic() - began
    reporter.say(f"smoke run of {experiment.name}: every stage works, nothing measured ({seconds:.0f} s)")
    return seconds


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def representatives(experiments: Sequence[AnyExperiment]) -> list[AnyExperiment]:
    """Few fast experiments that cover every page with each of its families, and every data set.

    A greedy set cover: repeatedly takes the experiment with most uncovered traits.
    """
    ordered = sorted(experiments, key=_slowness)
    missing, chosen = {trait for e in ordered for trait in traits(e)}, []
    while missing:
        chosen.append(max(ordered, key=lambda e: len(missing & traits(e))))  # ties: the first, fastest one
        missing -= traits(chosen[-1])
    return sorted(chosen, key=lambda e: e.name)


def traits(experiment: AnyExperiment) -> set[tuple[str, ...]]:
    """What `experiment` covers: page, family and backbone; data set; a start from another experiment."""
    pages = {row.rpartition("-")[0] for row in experiment.rows} or {""}
    if isinstance(experiment, ExternalExperiment):
        return {(page, "external", experiment.external.family) for page in pages}
    found: set[tuple[str, ...]] = {(page, *network_traits(experiment.model)) for page in pages}
    start = {("starts from another",)} if experiment.start_from is not None else set()
    return found | {("data", experiment.dataset)} | start


def network_traits(model: NetworkParams) -> tuple[str, ...]:
    """Family and backbone, or what a network by reference calls."""
    if isinstance(model, ReferenceModel):
        return (model.build,)
    backbone = model.backbone.rstrip("0123456789") if model.backbone.startswith("resnet") else model.backbone
    return (model.family, f"{backbone} {model.resnet.version}" if backbone == "resnet" else backbone)


def _slowness(experiment: AnyExperiment) -> tuple[int, int, str]:
    """A key that sorts fast networks first; how fast others than these backbones are is not known."""
    if isinstance(experiment, ExternalExperiment):
        return len(BACKBONES), 0, experiment.name
    model = experiment.model
    if isinstance(model, ReferenceModel) or model.backbone not in BACKBONES:
        return len(BACKBONES), 0, experiment.name
    return BACKBONES.index(model.backbone), -model.output_stride, experiment.name
