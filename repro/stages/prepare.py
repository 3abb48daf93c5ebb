"""The stage `prepare`: raw data to prepared splits."""

from __future__ import annotations

from collections.abc import Callable

from repro.datasets import Report, dataset_module, prepare_dataset
from repro.errors import DataError, UnknownNameError
from repro.params import DatasetFacts, Experiment, Project, parse, read_yaml
from repro.params.project import BUILT_IN
from repro.stages.inputs_ready import restore


def prepare_named(
    project: Project,
    name: str,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    workers: int | None = None,
) -> Report:
    """Prepare data/NAME.

    Raises UnknownNameError, and DataError where the raw data is not here or not as it should be.
    """
    dataset_module(name)
    facts = facts_of(project, name)
    require_here(project, name)
    raw, prepared = project.data / name, project.prepared / name
    return prepare_dataset(name, raw, prepared, facts, progress=progress, workers=workers)


def facts_of(project: Project, name: str) -> DatasetFacts:
    """The block of NAME under `datasets:` in params.yaml; UnknownNameError where there is none."""
    blocks = read_yaml(project.params).get("datasets", {})
    if not blocks.get(name):
        hint = f"add datasets.{name} to params.yaml"
        raise UnknownNameError("data set in params.yaml", name, blocks, hint=hint)
    return parse(DatasetFacts, blocks[name], f"params.yaml: datasets.{name}")


def require_here(project: Project, name: str, more: str = "") -> None:
    """DataError, with where to get it, unless something lies at data/NAME; `more` ends the hint."""
    layout, raw = dataset_module(name).LAYOUT, project.data / name
    if restore(project, name):
        return
    what = f"the data set {name} is not here"
    if raw.is_symlink():
        what = f"the link of the data set {name} leads to nothing: {raw.readlink()}"
    raise DataError(what, where=raw, allowed=layout, hint=to_get(name) + more)


def to_get(name: str) -> str:
    """How to bring a data set, for the hint of an error."""
    if name == BUILT_IN:
        return "`repro data synthetic` draws it"
    link, size = (
        f"`repro data link {name} PATH`",
        sum(file.size_GB for file in dataset_module(name).DOWNLOADS),
    )
    if can_be_fetched(name):
        return f"`repro data get {name}` fetches {size:.2g} GB, or {link}"
    return f"`repro data list {name}` says where it comes from, then {link}"


def command_to_get(name: str) -> str:
    """The command that brings a data set."""
    if name == BUILT_IN:
        return "repro data synthetic"
    return f"repro data get {name}" if can_be_fetched(name) else f"repro data link {name} PATH"


def can_be_fetched(name: str) -> bool:
    """Whether the owner lets everything be downloaded without an account."""
    files = dataset_module(name).DOWNLOADS
    return bool(files) and all(file.url for file in files)


def prepare_missing(project: Project, experiment: Experiment) -> None:
    """Prepare the experiment's data set where nothing of it is prepared yet."""
    prepared = project.prepared / experiment.dataset
    if not prepared.is_dir():
        prepare_dataset(experiment.dataset, project.data / experiment.dataset, prepared, experiment.facts)
