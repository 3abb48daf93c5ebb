"""An experiment: one folder, one hand-written params.yaml, and the shared blocks it names.

`params.yaml` of the experiment holds the difference; `recipes:` and `protocols:` of the root params.yaml
hold what is shared. The merge is per key, deep, and the experiment wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.errors import ParamsError, UnknownNameError, nearest
from repro.params.data import Augmentation, DatasetFacts
from repro.params.model import ModelParams
from repro.params.names import experiment_name, experiment_names
from repro.params.parse import parse, read_yaml
from repro.params.project import Project
from repro.params.protocol import Protocol
from repro.params.training import TrainingParams


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Where and how an experiment is measured."""

    split: str
    protocol: str  # a key of `protocols:` in the root params.yaml


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A number this project measured before and must not fall below; percent points."""

    mIoU: float
    band: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Versions of the code that can change a number; a stage re-runs when its own is raised."""

    data: int
    training: int
    evaluation: int


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A fully resolved experiment: nothing left to look up."""

    name: str
    dataset: str
    recipe: str
    rows: tuple[str, ...] = ()
    note: str = ""
    seed: int = 0
    expect: Expectation | None = None
    start_from: str | None = None  # another experiment whose weights training starts from
    model: ModelParams
    augmentation: Augmentation
    training: TrainingParams
    evaluation: Evaluation
    protocol: Protocol
    also: Mapping[str, Protocol] = field(default_factory=dict)  # further protocols, each measured on its own
    facts: DatasetFacts
    engine: Engine

    @property
    def folder(self) -> str:
        return f"experiments/{self.name}"


def load_experiment(project: Project, name: str) -> Experiment:
    """The experiment `name` (also `experiments/name` and with a trailing slash), fully resolved."""
    name = experiment_name(name)
    path = project.experiments / name / "params.yaml"
    if not path.is_file():
        raise UnknownNameError("experiment", name, experiment_names(project), hint="`repro list` shows all")
    return resolve(name, read_yaml(path), read_yaml(project.params), path)


def resolve(name: str, own: Mapping[str, Any], root: Mapping[str, Any], where: Path) -> Experiment:
    """Merge an experiment's own keys with the root blocks it names, and type the result."""
    for key in ("dataset", "recipe", "evaluation"):
        if key not in own:
            near = nearest(key, own)
            hint = f"is '{near}' it, misspelt?" if near else "see the experiments beside it"
            raise ParamsError(f"missing key '{key}'", where=where, hint=hint)
    recipe = _block(root, "recipes", own["recipe"])
    merged = deep_merge(recipe, own)
    evaluation = parse(Evaluation, merged["evaluation"], where)
    merged |= {
        "name": name,
        "facts": _block(root, "datasets", own["dataset"]),
        "protocol": _block(root, "protocols", evaluation.protocol),
        "also": {name: _block(root, "protocols", name) for name in _also(own, evaluation.protocol, where)},
        "engine": root.get("engine", {}),
    }
    experiment = parse(Experiment, merged, where)
    for key in ("training", "evaluation"):
        _check_split(f"{key}.split", getattr(experiment, key).split, experiment.facts.splits, where)
    return experiment


def _check_split(key: str, split: str, splits: Iterable[str], where: Path) -> None:
    if split not in splits:
        near = nearest(split, splits)
        hint = f"did you mean '{near}'?" if near else None
        raise ParamsError(f"key '{key}': got '{split}'", where=where, allowed=", ".join(splits), hint=hint)


def _also(own: Mapping[str, Any], protocol: str, where: Path) -> list[str]:
    """Names of the further protocols; beside `evaluation`, not in it, so that adding one re-runs nothing."""
    names = own.get("also", [])
    wrong = not isinstance(names, list) or protocol in names or len(set(map(str, names))) < len(names)
    if wrong:
        allowed = f"a list of other keys of `protocols:` than '{protocol}', each once"
        raise ParamsError(f"key 'also': got {names!r}", where=where, allowed=allowed)
    return [str(name) for name in names]


def deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `over` laid on top, mapping by mapping."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = deep_merge(merged[key], value) if both else value
    return merged


def _block(root: Mapping[str, Any], section: str, key: object) -> dict[str, Any]:
    blocks = root.get(section, {})
    if key not in blocks:
        raise UnknownNameError(section.removesuffix("s"), str(key), blocks)
    return dict(blocks[key])
