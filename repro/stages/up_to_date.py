"""Whether `dvc repro experiments/NAME` has nothing to do, known without starting DVC.

DVC loads every stage of a project first, which takes minutes with 2,000 experiments. After a successful run,
`repro run` stores size and time of every file that decides, as DVC does in its own state, and while none of
them differs, DVC is not started (docs/decisions/2026-11-30-two-thousand-experiments.md).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from repro.errors import ParamsError
from repro.io import limits
from repro.params import Experiment, Project, read_yaml
from repro.records import sha256_text, write_text
from repro.records.dvc_files import parse_lock

KIND = "up_to_date"  # folder in .repro
_PARAMS = re.compile(r"(?ms)^    params:\n(.*?)(?=^ {2,4}\S|\Z)")  # of a stage in a lock
_FILE = re.compile(r"(?m)^      (\S.*):$")  # of params


def is_up_to_date(project: Project, experiment: Experiment) -> bool:
    """Whether nothing changed since `remember`; False if that is not known."""
    path = project.cache_folder(KIND, experiment.name)
    return path.is_file() and path.read_text(encoding="utf-8") == stamp(project, experiment)


def remember(project: Project, experiment: Experiment) -> None:
    """Store that the experiment is up to date, unless one of its files is missing."""
    if found := stamp(project, experiment):
        write_text(project.cache_folder(KIND, experiment.name), found)


def stamp(project: Project, experiment: Experiment) -> str | None:
    """Return a digest of all files that decide whether a stage re-runs; None if one is missing."""
    entries = root_entries(project, experiment)
    paths = [project.root / path for entry in entries for path in paths_in(entry)]
    for name in lineage(project, experiment.name):
        paths += _of_experiment(project, name)
    found = described(paths)
    return None if found is None else sha256_text("\n".join([*entries, found]))


def params_stamp(project: Project, experiment: Experiment) -> str | None:
    """The same for the params alone: an edit during a run makes its results obsolete."""
    return described([project.params, *map(project.params_of, lineage(project, experiment.name))])


def lineage(project: Project, name: str) -> Iterator[str]:
    """Yield the experiment and those whose weights it starts from."""
    start: object = name
    while isinstance(start, str):
        yield start
        start = read_yaml(project.params_of(start)).get("start_from")


def root_entries(project: Project, experiment: Experiment) -> list[str]:
    """The entries of the root dvc.lock for the experiment's record and data."""
    path = project.root / "dvc.lock"
    text = limits.read_text(path, limits.LOCK_BYTES, error=ParamsError) if path.is_file() else ""
    stages = (experiment.folder, f"prepare@{experiment.dataset}", f"data@{experiment.dataset}")
    found = (re.search(rf"(?ms)^  {re.escape(stage)}:\n.*?(?=^  \S|\Z)", text) for stage in stages)
    return [match[0] for match in found if match]


def paths_in(lock: str) -> list[str]:
    """Paths of dependencies, params files and outputs in a lock."""
    parsed = parse_lock(lock)
    params = (file for block in _PARAMS.findall(lock) for file in _FILE.findall(block))
    return sorted({*parsed.deps, *parsed.outs, *params})


def _of_experiment(project: Project, name: str) -> list[Path]:
    folder = project.experiment_folder(name)
    lock = folder / "dvc.lock"
    inside = paths_in(limits.read_text(lock, limits.LOCK_BYTES, error=ParamsError)) if lock.is_file() else []
    return [lock, folder / "dvc.yaml", folder / "params.yaml", *(folder / path for path in inside)]


def described(paths: Iterable[Path]) -> str | None:
    """Size and modification time of files, and of all files in folders; None if one does not exist."""
    lines = []
    for path in sorted(set(paths)):
        try:
            lines += [_line(file) for file in _files(path)]
        except OSError:
            return None
    return "\n".join(lines)


def _files(path: Path) -> Iterator[Path]:
    """The file, or all files below the folder; links to folders are followed."""
    if not path.is_dir():
        yield path
    for here, folders, names in os.walk(path, followlinks=True):
        folders.sort()
        yield from (Path(here, name) for name in sorted(names))


def _line(path: Path) -> str:
    found = path.stat()
    return f"{path} {found.st_size} {found.st_mtime_ns}"
