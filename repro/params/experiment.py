"""An experiment: one folder, one hand-written params.yaml, and the shared blocks it names.

`params.yaml` of the experiment holds the difference; `recipes:` and `protocols:` of the root params.yaml
hold what is shared. The merge is per key, deep, and the experiment wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from repro.errors import ParamsError, UnknownNameError, nearest
from repro.io.yaml_reader import read_yaml
from repro.params.data import Augmentation, DatasetFacts
from repro.params.model import ModelParams
from repro.params.names import experiment_name, experiment_names
from repro.params.parse import PlainName, parse, to_plain
from repro.params.problems import Loc
from repro.params.project import Project
from repro.params.protocol import Protocol
from repro.params.training import TrainingParams

# What experiments/pipeline.yaml fills into names of files from an experiment's own params.yaml alone.
FOLLOWED = ("training", "training.split", "evaluation.split", "evaluation.protocol")
ROOT = "params.yaml"  # in errors: the shared file, at the root of the project


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Where and how an experiment is measured."""

    split: PlainName
    protocol: str  # a key of `protocols:` in the root params.yaml


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A number this project measured before and must not fall below; percent points."""

    mIoU: float
    band: Annotated[float, Gt(0)]
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

    name: PlainName
    dataset: PlainName
    recipe: str
    rows: tuple[str, ...] = ()
    note: str = ""
    seed: Annotated[int, Ge(0), Le(2**63 - 1)] = 0
    expect: Expectation | None = None
    start_from: PlainName | None = None  # another experiment whose weights training starts from
    measure: Literal["all", "cost"] = "all"  # cost: size and speed of the network alone, from no data
    model: ModelParams
    augmentation: Augmentation
    training: TrainingParams
    evaluation: Evaluation
    protocol: Protocol
    also: Mapping[PlainName, Protocol] = field(default_factory=dict)  # further ones, each measured apart
    facts: DatasetFacts
    engine: Engine

    @property
    def folder(self) -> str:
        return f"experiments/{self.name}"


def num_classes(experiment: Experiment, protocol: Protocol) -> int:
    """Classes of the network and its matrices: without the data set's class 0 where the protocol drops it."""
    return experiment.facts.classes - int(protocol.reduce_zero_label)


def load_experiment(project: Project, name: str) -> Experiment:
    """The experiment `name` (also `experiments/name` and with a trailing slash), fully resolved."""
    name = experiment_name(name)
    path = project.params_of(name)
    if not path.is_file():
        raise UnknownNameError("experiment", name, experiment_names(project), hint="`repro list` shows all")
    experiment = resolve(name, read_yaml(path), read_yaml(project.params), path)
    require_beginning(project, name, experiment.start_from)
    return experiment


def require_beginning(project: Project, name: str, start: object) -> None:
    """ParamsError where `start`, whose weights `name` starts from, starts from `name` in the end."""
    line = [name]
    while isinstance(start, str):
        path = project.params_of(start)
        if start in line:
            what, hint = f"key 'start_from': {' <- '.join([*line, start])} is a circle", "take it out of one"
            raise ParamsError(what, where=project.params_of(name), hint=hint)
        line.append(start)
        try:
            start = read_yaml(path).get("start_from")
        except ParamsError:  # told where that experiment is looked at
            return


def resolve(name: str, own: Mapping[str, Any], root: Mapping[str, Any], where: Path) -> Experiment:
    """Merge an experiment's own keys with the root blocks it names, and type the result."""
    for key in ("dataset", "recipe", "evaluation"):
        _require(own, key, where, otherwise="see the experiments beside it")
    recipe = _block(root, "recipes", own["recipe"])
    merged = deep_merge(recipe, own)
    source = partial(_source, own=own, recipe=recipe, where=where)
    evaluation = parse(Evaluation, merged["evaluation"], lambda loc: source(("evaluation", *loc)))
    further = also_names(own, where, evaluation.protocol)
    merged |= {
        "name": name,
        "facts": _typed(DatasetFacts, root, "datasets", own["dataset"]),
        "protocol": _typed(Protocol, root, "protocols", evaluation.protocol),
        "also": {name: _typed(Protocol, root, "protocols", name) for name in further},
        "engine": to_plain(parse(Engine, section(root, "engine"), f"{ROOT}: engine")),
    }
    experiment = parse(Experiment, merged, source)
    for key in FOLLOWED:
        _require_own(own, key, where)
    if experiment.measure == "cost" and experiment.protocol.crop is None:
        hint = "the size of its tiles is the size of the network's input; without data there is no other"
        raise ParamsError("key 'measure': 'cost' needs a protocol with a crop", where=where, hint=hint)
    for key in ("training", "evaluation"):
        _check_split(f"{key}.split", getattr(experiment, key).split, experiment.facts.splits, where)
    return experiment


def _require(
    found: Mapping[str, Any], key: str, where: object, *, otherwise: str, name: str | None = None
) -> None:
    if key not in found:
        near = nearest(key, map(str, found))
        hint = f"is '{near}' it, misspelt?" if near else otherwise
        raise ParamsError(f"missing key '{name or key}'", where=where, hint=hint)


def _require_own(own: Mapping[str, Any], key: str, where: Path) -> None:
    """A key of the experiment's own file; dotted: in a block of it."""
    block, _, inner = key.rpartition(".")
    found = own.get(block) if block else own
    otherwise = "write it in this file, also where a recipe has it"
    if isinstance(found, Mapping):  # else of another type: said where the block is parsed
        _require(found, inner, where, name=key, otherwise=otherwise)


def _source(loc: Loc, own: Mapping[str, Any], recipe: Mapping[str, Any], where: Path) -> object:
    """The file, or the recipe in the root's, that says what stands at `loc` of the two merged."""
    mine: Any = own
    theirs: Any = recipe
    for part in loc:
        if isinstance(mine, Mapping) and part in mine:
            mine, theirs = mine[part], theirs.get(part, {}) if isinstance(theirs, Mapping) else {}
        elif isinstance(mine, Mapping) and isinstance(theirs, Mapping) and part in theirs:
            return f"{ROOT}: recipes.{own['recipe']}"
    return where


def _check_split(key: str, split: str, splits: Iterable[str], where: Path) -> None:
    if split not in splits:
        near = nearest(split, splits)
        hint = f"did you mean '{near}'?" if near else None
        raise ParamsError(f"key '{key}': got '{split}'", where=where, allowed=", ".join(splits), hint=hint)


def also_names(own: Mapping[str, Any], where: Path, protocol: str = "") -> list[str]:
    """Names of the further protocols; beside `evaluation`, not in it, so that adding one re-runs nothing."""
    names = own.get("also", [])
    wrong = not isinstance(names, list) or protocol in names or len(set(map(str, names))) < len(names)
    if wrong:
        allowed = f"a list of other keys of `protocols:` than '{protocol}', each once"
        raise ParamsError(f"key 'also': got {names!r}"[:200], where=where, allowed=allowed)
    return [str(name) for name in names]


def deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `over` laid on top, mapping by mapping."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = deep_merge(merged[key], value) if both else value
    return merged


def section(root: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of the root params.yaml, such as `recipes:`; ParamsError when there is none."""
    _require(root, name, ROOT, otherwise="`git diff params.yaml` shows what was changed")
    return _mapping(root[name], f"{ROOT}: {name}")


def _block(root: Mapping[str, Any], kind: str, key: object) -> Mapping[str, Any]:
    blocks = section(root, kind)
    if not isinstance(key, str) or key not in blocks:
        raise UnknownNameError(kind.removesuffix("s"), str(key), map(str, blocks), where=f"{ROOT}: {kind}")
    return _mapping(blocks[key], f"{ROOT}: {kind}.{key}")


def _typed(cls: type[Any], root: Mapping[str, Any], kind: str, key: str) -> Any:
    """A block of the root params.yaml, blamed for its own mistakes, as plain data."""
    return to_plain(parse(cls, _block(root, kind, key), f"{ROOT}: {kind}.{key}"))


def _mapping(found: object, where: str) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise ParamsError(
            f"expected a mapping, got {found!r}", where=where, allowed="indented `key: value` lines"
        )
    return found
