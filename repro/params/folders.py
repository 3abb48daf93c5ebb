"""All experiment folders of a project: those that can be loaded, and the errors of those that cannot."""

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
    """Files of the pipeline and of results that a merge left with both sides."""
    root = project.root
    names = ("params.yaml", "dvc.yaml", "dvc.lock", "data.dvc", "README.md", "reports/results.csv")
    found = [root / name for name in names]
    for pattern in ("dvc.lock", "*/params.yaml", "*/dvc.lock", "*/*.json", "*/*.csv"):
        found += sorted(project.experiments.glob(pattern))
    found += sorted(project.rows.glob("*.json"))
    return (path for path in found if path.is_file() and file_has_conflict(path))


def require_merged(project: Project) -> None:
    """ParamsError where DVC would stumble over a dvc.lock with both sides in it."""
    for folder in (project.root, project.experiments, *sorted(project.experiments.glob("*/"))):
        if file_has_conflict(folder / "dvc.lock"):
            raise merge_conflict(folder / "dvc.lock")


T = TypeVar("T")
Broken = dict[str, ReproError]  # name of an experiment -> why its params.yaml cannot be used


def sorted_out(names: Iterable[str], read: Callable[[str], T]) -> tuple[dict[str, T], Broken]:
    """Name -> what `read` makes of it; and name -> its ReproError where it makes none."""
    whole: dict[str, T] = {}
    broken: Broken = {}
    for name in names:
        try:
            whole[name] = read(name)
        except ReproError as error:
            broken[name] = error
    return whole, broken


def resolve_all(
    project: Project, own: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Experiment], Broken]:
    """Name -> the resolved experiment; and those with a misspelt key, a wrong value, an absent recipe.

    ParamsError where the root params.yaml cannot be read: all would be broken for its reason.
    """
    root = read_yaml(project.params)
    return sorted_out(own, lambda name: resolve(name, own[name], root, project.params_of(name)))


def broken_error(broken: Mapping[str, ReproError], *, done: str) -> ParamsError:
    """One error for all of them, with the reason of the first; `done`: what became of the others."""
    name, first = next(iter(broken.items()))
    others = ", ".join(list(broken)[1:21])
    what = f"{name}: {first.what}" + (f"; broken too: {others}" if others else "")
    hint = first.hint or "correct the file, then repeat the command"
    return ParamsError(f"{what} ({done})", where=first.where, allowed=first.allowed, hint=hint)
