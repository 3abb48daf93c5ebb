"""The stage `prepare`: convert raw data to prepared splits."""

from __future__ import annotations

from collections.abc import Callable

from repro.datasets import PrepareResult, dataset_module, described, prepare_dataset
from repro.errors import DataError
from repro.params import Experiment, Project, dataset_facts
from repro.params.project import BUILT_IN
from repro.stages.inputs_ready import restore


def prepare_named(
    project: Project,
    name: str,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    workers: int | None = None,
) -> PrepareResult:
    """Prepare data/NAME.

    Raises:
        UnknownNameError: the data set is unknown.
        DataError: the raw data is missing or invalid.
    """
    module = dataset_module(project, name)
    facts = dataset_facts(project, name)
    require_raw_data(project, name)
    raw, prepared = project.data / name, project.prepared / name
    return prepare_dataset(name, raw, prepared, facts, module=module, progress=progress, workers=workers)


def require_raw_data(project: Project, name: str, more: str = "") -> None:
    """Raise DataError unless data/NAME is present; the hint says how to get it and ends with `more`."""
    layout, raw = described(project, name).LAYOUT, project.data / name
    if restore(project, name):
        return
    what = f"the data set {name} is missing"
    if raw.is_symlink():
        what = f"the link of the data set {name} is broken: {raw.readlink()}"
    raise DataError(what, where=raw, allowed=layout, hint=data_hint(project, name) + more)


def data_hint(project: Project, name: str) -> str:
    """How to get a data set, for the hint of an error."""
    if name == BUILT_IN:
        return "`repro data synthetic` generates it"
    link = f"`repro data link {name} PATH`"
    if is_downloadable(project, name):
        size = sum(file.size_GB for file in described(project, name).DOWNLOADS)
        return f"`repro data get {name}` downloads {size:.2g} GB, or {link}"
    return f"`repro data list {name}` shows its source, then {link}"


def data_command(project: Project, name: str) -> str:
    """The command to get a data set."""
    if name == BUILT_IN:
        return "repro data synthetic"
    return f"repro data get {name}" if is_downloadable(project, name) else f"repro data link {name} PATH"


def is_downloadable(project: Project, name: str) -> bool:
    """Whether all files can be downloaded without an account."""
    files = described(project, name).DOWNLOADS
    return bool(files) and all(file.url for file in files)


def prepare_missing(project: Project, experiment: Experiment) -> None:
    """Prepare the experiment's data set unless a prepared folder exists."""
    prepared = project.prepared / experiment.dataset
    if not prepared.is_dir():
        prepare_named(project, experiment.dataset)
