"""Experiments: the params.yaml of a folder, merged with the shared blocks of the root params.yaml.

The experiment's `params.yaml` holds the differences; `recipes:` and `protocols:` of the root params.yaml hold
the shared values. Mappings are merged recursively, and the experiment takes precedence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from annotated_types import Ge, Le
from pydantic import Discriminator, Tag

from repro.errors import ParamsError, UnknownNameError, nearest
from repro.io.sources import source_hashes
from repro.io.yaml_reader import read_yaml
from repro.params.augmentation import Augmentation
from repro.params.dataset import DatasetFacts, parse_facts
from repro.params.expectation import Expect
from repro.params.model import ModelParams
from repro.params.names import experiment_name, experiment_names
from repro.params.parse import Later, PlainName, parse, to_plain
from repro.params.problems import Loc
from repro.params.program import External
from repro.params.project import Project
from repro.params.protocol import Protocol
from repro.params.reference import ReferenceModel, network_kind
from repro.params.training import TrainingParams

# Keys that the stage template pipeline.yaml reads from the experiment's own params.yaml, to build file names.
PIPELINE_KEYS = ("training", "training.split", "evaluation.split", "evaluation.protocol")
EXTERNAL = "external"  # the protocol of programs that declare nothing
ROOT = "params.yaml"  # name of the root file in errors


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Split and protocol of an evaluation."""

    split: PlainName
    protocol: str  # a key of `protocols:` in the root params.yaml


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Versions of the code that can change a number; raising one re-runs its stage."""

    data: int
    training: int
    evaluation: int


_Network = Annotated[
    Annotated[ModelParams, Tag("ModelParams")] | Annotated[ReferenceModel, Tag("ReferenceModel")],
    Discriminator(network_kind),
]


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What every resolved experiment has, whoever trains the network: data set, rows, evaluation."""

    name: PlainName
    dataset: PlainName
    rows: tuple[str, ...] = ()
    note: str = ""
    seed: Annotated[int, Ge(0), Le(2**63 - 1)] = 0
    expect: Expect = None
    evaluation: Evaluation
    protocol: Protocol
    also: Mapping[PlainName, Protocol] = field(default_factory=dict)  # additional protocols
    facts: DatasetFacts
    engine: Engine

    @property
    def folder(self) -> str:
        return f"experiments/{self.name}"

    @property
    def cost_only(self) -> bool:
        """Whether only size and speed of a network are measured, without data."""
        return False

    @property
    def training_split(self) -> str | None:
        """The split that is trained on; None if nothing is trained."""
        return None


@dataclass(frozen=True, kw_only=True)
class TrainedExperiment(Experiment):
    """An experiment whose network this project's engine builds, trains and evaluates."""

    recipe: str
    start_from: PlainName | None = None  # another experiment, whose weights initialise the training
    measure: Later[Literal["all", "cost"]] = "all"  # cost: only size and speed of the network, without data
    model: _Network
    augmentation: Augmentation
    training: TrainingParams

    @property
    def cost_only(self) -> bool:
        return self.measure == "cost"

    @property
    def training_split(self) -> str:
        return self.training.split


@dataclass(frozen=True, kw_only=True)
class ExternalExperiment(Experiment):
    """An experiment whose network a program of any framework trains and evaluates."""

    external: External

    @property
    def training_split(self) -> str | None:
        return self.external.train.split if self.external.train else None


AnyExperiment: TypeAlias = TrainedExperiment | ExternalExperiment


def num_classes(experiment: Experiment, protocol: Protocol) -> int:
    """Return the number of classes: without class 0 if the protocol has `reduce_zero_label`."""
    return experiment.facts.num_classes - int(protocol.reduce_zero_label)


def parse_experiment(plain: Mapping[str, Any], where: object) -> AnyExperiment:
    """Parse resolved params, as `to_plain` wrote them. Raises ParamsError."""
    return parse(kind_of(plain), plain, where)


def kind_of(plain: Mapping[str, Any]) -> type[TrainedExperiment] | type[ExternalExperiment]:
    """The class of an experiment, from its own or its resolved params."""
    return ExternalExperiment if "external" in plain else TrainedExperiment


def load_experiment(project: Project, name: str) -> AnyExperiment:
    """Load and resolve an experiment.

    Args:
        project: The project.
        name: `name`, `experiments/name` or `experiments/name/`.

    Raises:
        UnknownNameError: There is no such experiment.
        ParamsError: A params.yaml is invalid.
    """
    name = experiment_name(name)
    path = project.params_of(name)
    if not path.is_file():
        raise UnknownNameError("experiment", name, experiment_names(project), hint="`repro list` shows all")
    experiment = resolve(name, read_yaml(path), read_yaml(project.params), path)
    check_start_from(project, name, read_yaml(path).get("start_from"))
    return experiment


def load_trained(project: Project, name: str) -> TrainedExperiment:
    """Load an experiment that has a network of this project. Raises ParamsError for another kind."""
    experiment = load_experiment(project, name)
    if not isinstance(experiment, TrainedExperiment):
        raise no_network(experiment)
    return experiment


def load_external(project: Project, name: str) -> ExternalExperiment:
    """Load an experiment of programs. Raises ParamsError for another kind."""
    experiment = load_experiment(project, name)
    if not isinstance(experiment, ExternalExperiment):
        what, where = f"'{experiment.name}' runs no program", f"{experiment.folder}/params.yaml"
        raise ParamsError(what, where=where, allowed="an experiment with an `external:` block")
    return experiment


def no_network(experiment: Experiment) -> ParamsError:
    """The error of a command that needs a network of this project."""
    return ParamsError(
        f"'{experiment.name}' runs a program: there is no network of this project to build",
        where=f"{experiment.folder}/params.yaml",
        allowed="an experiment with a `model:` block",
    )


def check_start_from(project: Project, name: str, start: object) -> None:
    """Raise ParamsError if the chain of `start_from` of `name`, which begins with `start`, has a cycle."""
    chain = [name]
    while isinstance(start, str):
        path = project.params_of(start)
        if start in chain:
            what = f"key 'start_from': {' <- '.join([*chain, start])} is a cycle"
            raise ParamsError(what, where=project.params_of(name), hint="remove it from one of them")
        chain.append(start)
        try:
            start = read_yaml(path).get("start_from")
        except ParamsError:  # reported when that experiment is loaded
            return


def resolve(name: str, own: Mapping[str, Any], root: Mapping[str, Any], where: Path) -> AnyExperiment:
    """Merge an experiment's own keys with the root blocks it names, and parse the result.

    Args:
        name: Name of the experiment.
        own: Content of its params.yaml.
        root: Content of the root params.yaml.
        where: Path of its params.yaml, for errors.
    """
    kind = kind_of(own)
    for key in ("dataset", *(("recipe",) if kind is TrainedExperiment else ()), "evaluation"):
        _require(own, key, where, otherwise="see the other experiments")
    recipe = _block(root, "recipes", own["recipe"]) if kind is TrainedExperiment else {}
    merged = merge(recipe, own)
    source = partial(_source, own=own, recipe=recipe, where=where)
    evaluation = parse(Evaluation, merged["evaluation"], lambda loc: source(("evaluation", *loc)))
    further = also_names(own, where, evaluation.protocol)
    merged |= {
        "name": name,
        "facts": _facts(root, own["dataset"], where),
        "protocol": _protocol(root, evaluation.protocol),
        "also": {name: _protocol(root, name) for name in further},
        "engine": to_plain(parse(Engine, section(root, "engine"), f"{ROOT}: engine")),
    }
    if network_kind(merged.get("model")) == "ReferenceModel":
        merged["model"] |= {"sources": _sources(merged["model"], where)}
    experiment: AnyExperiment = parse(kind, merged, source)
    if isinstance(experiment, ExternalExperiment):
        return _checked_external(experiment, where)
    for key in PIPELINE_KEYS:
        _require_own(own, key, where)
    _check_mode(experiment, where)
    if experiment.cost_only and experiment.protocol.crop is None:
        hint = "the crop is the input size of the benchmark"
        raise ParamsError("key 'measure': 'cost' requires a protocol with a crop", where=where, hint=hint)
    _check_crop(experiment, where)
    for key in ("training", "evaluation"):
        _check_split(f"{key}.split", getattr(experiment, key).split, experiment.facts.splits, where)
    return experiment


def _checked_external(experiment: ExternalExperiment, where: Path) -> ExternalExperiment:
    """Return an external experiment. Raises ParamsError for splits and protocols that it cannot have."""
    splits = {
        "external.train.split": experiment.training_split,
        "evaluation.split": experiment.evaluation.split,
    }
    for key, split in splits.items():
        if split is not None:
            _check_split(key, split, experiment.facts.splits, where)
    _check_mode(experiment, where)
    _check_programs(experiment, where)
    return experiment


def _check_programs(experiment: ExternalExperiment, where: Path) -> None:
    """Raise ParamsError unless each further protocol has the maps it speaks of.

    Without a command it is a further way of counting the maps of `external.predict`.
    """
    commands = experiment.external.also
    for name in commands:
        if name not in experiment.also:
            what = f"key 'external.also': '{name}' is not listed in `also:`"
            raise ParamsError(what, where=where, allowed=", ".join(experiment.also) or f"`also: [{name}]`")
    for name, protocol in experiment.also.items():
        if name not in commands and not protocol.predicts_as(experiment.protocol):
            own = experiment.evaluation.protocol
            what = f"key 'also': '{name}' needs other predictions than '{own}', those of `external.predict`"
            allowed = f"`external.also.{name}: {{command: ...}}`, or a protocol that differs only in counting"
            raise ParamsError(what, where=where, allowed=allowed)


def _check_mode(experiment: Experiment, where: Path) -> None:
    """Raise ParamsError unless a program has a protocol of mode external, and a network another mode."""
    external = isinstance(experiment, ExternalExperiment)
    named = {experiment.evaluation.protocol: experiment.protocol, **experiment.also}
    for name, protocol in named.items():
        if (protocol.mode == "external") != external:
            what = f"key 'evaluation.protocol': '{name}' has mode {protocol.mode}"
            allowed = "mode external" if external else "mode whole or slide, which this project's engine runs"
            hint = "`protocol: external` is built in" if external else None
            raise ParamsError(what, where=where, allowed=allowed, hint=hint)


def _require(
    found: Mapping[str, Any], key: str, where: object, *, otherwise: str, name: str | None = None
) -> None:
    if key not in found:
        near = nearest(key, map(str, found))
        hint = f"is '{near}' misspelt?" if near else otherwise
        raise ParamsError(f"missing key '{name or key}'", where=where, hint=hint)


def _require_own(own: Mapping[str, Any], key: str, where: Path) -> None:
    """Require a dotted key in the experiment's own file."""
    block, _, inner = key.rpartition(".")
    found = own.get(block) if block else own
    otherwise = "write it in this file, even if the recipe has it"
    if isinstance(found, Mapping):  # other types are reported when the block is parsed
        _require(found, inner, where, name=key, otherwise=otherwise)


def _source(loc: Loc, own: Mapping[str, Any], recipe: Mapping[str, Any], where: Path) -> object:
    """The source of the merged value at `loc`: the experiment's file, or the recipe in the root file."""
    over: Any = own
    base: Any = recipe
    for part in loc:
        if isinstance(over, Mapping) and part in over:
            over, base = over[part], base.get(part, {}) if isinstance(base, Mapping) else {}
        elif isinstance(over, Mapping) and isinstance(base, Mapping) and part in base:
            return f"{ROOT}: recipes.{own['recipe']}"
    return where


def _check_crop(experiment: TrainedExperiment, where: Path) -> None:
    divisor, crop = experiment.model.size_divisor, experiment.augmentation.crop
    if any(side % divisor for side in crop):
        allowed = f"multiples of model.size_divisor ({divisor})"
        raise ParamsError(f"key 'augmentation.crop': got {list(crop)}", where=where, allowed=allowed)


def _check_split(key: str, split: str, splits: Iterable[str], where: Path) -> None:
    if split not in splits:
        near = nearest(split, splits)
        hint = f"did you mean '{near}'?" if near else None
        raise ParamsError(f"key '{key}': got '{split}'", where=where, allowed=", ".join(splits), hint=hint)


def also_names(own: Mapping[str, Any], where: Path, protocol: str = "") -> list[str]:
    """Return the names of the additional protocols; not in `evaluation`, so adding one re-runs nothing."""
    names = own.get("also", [])
    if not isinstance(names, list) or protocol in names or len(set(map(str, names))) < len(names):
        allowed = f"a list of unique keys of `protocols:` except '{protocol}'"
        raise ParamsError(f"key 'also': got {names!r}"[:200], where=where, allowed=allowed)
    return [str(name) for name in names]


def merge(recipe: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merge an experiment's own keys into a recipe; a network by reference replaces the recipe's `model`."""
    merged = deep_merge(recipe, own)
    if network_kind(own.get("model")) == "ReferenceModel":
        merged["model"] = dict(own["model"])
    return merged


def _sources(model: Mapping[str, Any], where: Path) -> dict[str, str]:
    """Hashes of the files of the project at the params.yaml `where` that define a network by reference."""
    build = model["build"]
    return source_hashes(where.parents[2], build.partition(":")[0]) if isinstance(build, str) else {}


def deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two mappings recursively; values of `over` take precedence, lists are replaced."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = deep_merge(merged[key], value) if both else value
    return merged


def section(root: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section of the root params.yaml, such as `recipes:`. Raises ParamsError if it is missing."""
    _require(root, name, ROOT, otherwise="`git diff params.yaml` shows the changes")
    return _mapping(root[name], f"{ROOT}: {name}")


def _protocol(root: Mapping[str, Any], name: str) -> Any:
    """A protocol of the root params.yaml; `external` is built in where no block has its name."""
    if name == EXTERNAL and name not in (root.get("protocols") or {}):
        return {"mode": "external"}
    return _typed(Protocol, root, "protocols", name)


def _block(root: Mapping[str, Any], kind: str, key: object) -> Mapping[str, Any]:
    blocks = section(root, kind)
    if not isinstance(key, str) or key not in blocks:
        raise UnknownNameError(kind.removesuffix("s"), str(key), map(str, blocks), where=f"{ROOT}: {kind}")
    return _mapping(blocks[key], f"{ROOT}: {kind}.{key}")


def _facts(root: Mapping[str, Any], dataset: str, where: Path) -> dict[str, Any]:
    """The data set of an experiment whose params.yaml is the file `where`."""
    return dict(to_plain(parse_facts(_block(root, "datasets", dataset), dataset, where.parents[2])))


def _typed(cls: type[Any], root: Mapping[str, Any], kind: str, key: str) -> Any:
    """Parse a block of the root params.yaml separately, so that errors name it."""
    return to_plain(parse(cls, _block(root, kind, key), f"{ROOT}: {kind}.{key}"))


def _mapping(found: object, where: str) -> Mapping[str, Any]:
    if not isinstance(found, Mapping):
        raise ParamsError(
            f"expected a mapping, got {found!r}", where=where, allowed="indented `key: value` lines"
        )
    return found
