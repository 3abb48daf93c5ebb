"""All experiment folders of a project: the valid ones, and the errors of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from repro.errors import ParamsError, ReproError
from repro.io.git import file_has_conflict, merge_conflict
from repro.io.yaml_reader import read_yaml
from repro.params.experiment import Experiment, resolve
from repro.params.project import Project


def conflicted(project: Project) -> Iterator[Path]:
    """Yield the files of the pipeline and of results that contain merge conflict markers."""
    root = project.root
    names = ("params.yaml", "dvc.yaml", "dvc.lock", "data.dvc", "README.md", "reports/results.csv")
    found = [root / name for name in names]
    for pattern in ("dvc.lock", "*/params.yaml", "*/dvc.lock", "*/*.json", "*/*.csv"):
        found += sorted(project.experiments.glob(pattern))
    found += sorted(project.rows.glob("*.json"))
    return (path for path in found if path.is_file() and file_has_conflict(path))


def check_no_conflicts(project: Project) -> None:
    """Raise ParamsError for a dvc.lock with merge conflict markers, which DVC cannot read."""
    for folder in (project.root, project.experiments, *sorted(project.experiments.glob("*/"))):
        if file_has_conflict(folder / "dvc.lock"):
            raise merge_conflict(folder / "dvc.lock")


T = TypeVar("T")
Broken = dict[str, ReproError]  # name of an experiment -> the error in its params.yaml


def read_each(names: Iterable[str], read: Callable[[str], T]) -> tuple[dict[str, T], Broken]:
    """Call `read` for every name; return the results and the errors, both by name."""
    results: dict[str, T] = {}
    broken: Broken = {}
    for name in names:
        try:
            results[name] = read(name)
        except ReproError as error:
            broken[name] = error
    return results, broken


def resolve_all(
    project: Project, own: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Experiment], Broken]:
    """Resolve experiments from their own params; return the valid ones and the errors of the others.

    Raises ParamsError if the root params.yaml is invalid.
    """
    root = read_yaml(project.params)
    return read_each(own, lambda name: resolve(name, own[name], root, project.params_of(name)))


def broken_error(broken: Mapping[str, ReproError], *, done: str) -> ParamsError:
    """Return a single error with the reason of the first; `done` is the outcome for the valid experiments."""
    name, first = next(iter(broken.items()))
    others = ", ".join(list(broken)[1:21])
    what = f"{name}: {first.what}" + (f"; also invalid: {others}" if others else "")
    hint = first.hint or "correct the file, then repeat the command"
    return ParamsError(f"{what} ({done})", where=first.where, allowed=first.allowed, hint=hint)
