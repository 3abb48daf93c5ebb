"""`repro doctor`: what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from repro.cli.console import Json, console, emit_json

if TYPE_CHECKING:
    from repro.params import Project

SUPPORTED = ((3, 11), (3, 14))
ENOUGH_GIB = 5.0  # one data set's prepared splits and the weights of a few runs


class Finding(NamedTuple):
    """One line: `good` False means that something needs doing, and `advice` says what."""

    what: str
    found: str
    good: bool
    advice: str = ""
    required: bool = False  # no experiment can run without it


def doctor(as_json: Json = False) -> None:
    """Check what every run needs (Python, torch, disk, git, DVC), then data and MLflow.

    Exit code 1 where a run cannot work.

    Example: repro doctor
    """
    from repro.errors import CheckFailed
    from repro.params import find_project

    project = find_project()
    findings = [finding for look in LOOKS for finding in look(project)]
    required = [finding for finding in findings if finding.required]
    if as_json:
        emit_json([finding._asdict() for finding in findings])
    else:
        console().print(_table("needed by every run", required))
        optional = [finding for finding in findings if not finding.required]
        console().print(_table("optional: where you use it", optional))
        console().print("`repro data list NAME`: where a data set comes from, its size and its layout")
    if not all(finding.good for finding in required):
        raise CheckFailed("something that every run needs is missing", hint="see the lines marked 'no'")


def _python(project: Project) -> Iterator[Finding]:
    good = SUPPORTED[0] <= sys.version_info[:2] < SUPPORTED[1]
    advice = "install Python 3.11, 3.12 or 3.13, then `make setup PYTHON=python3.12`"
    yield Finding("Python", sys.version.split()[0], good, advice, required=True)


def _torch(project: Project) -> Iterator[Finding]:
    try:
        import torch
    except ImportError as error:
        advice = "pip install 'deeplab-repro[all]'; in a clone of this repository `make setup`"
        yield Finding("torch", str(error), False, advice, required=True)
        return
    yield Finding("torch", torch.__version__, True, required=True)
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        device = "MPS" if torch.backends.mps.is_available() else f"CPU, {torch.get_num_threads()} threads"
    yield Finding("device", device, True)


def _disk(project: Project) -> Iterator[Finding]:
    free = shutil.disk_usage(project.root).free / 2**30
    writable = os.access(project.root, os.W_OK)
    advice = f"free some space: {ENOUGH_GIB:g} GiB hold one data set and a few runs"
    if not writable:
        advice = f"nothing can be written below {project.root}: change its permissions, or clone elsewhere"
    good = writable and free >= ENOUGH_GIB
    yield Finding("disk", f"{free:.0f} GiB free", good, advice, required=True)


def _dvc(project: Project) -> Iterator[Finding]:
    missing = [program for program in ("dvc", "repro") if shutil.which(program) is None]
    folder = Path(sys.executable).parent
    advice = f"source {folder}/activate" if (folder / "activate").is_file() else f"export PATH={folder}:$PATH"
    found = f"not on PATH: {', '.join(missing)}" if missing else "dvc and repro on PATH"
    yield Finding("dvc", found, not missing, advice, required=True)


def _git(project: Project) -> Iterator[Finding]:
    """Without git a record names no commit, and nothing can be replayed or compared with a revision."""
    from repro.errors import ReproError
    from repro.io.git import git

    try:
        commit = git(project.root, "rev-parse", "HEAD").decode().strip()
    except ReproError as error:
        yield Finding("git", error.what, False, error.hint or "", required=_dvc_needs_git(project))
        return
    yield Finding("git", f"commit {commit[:12]}", True)


def _dvc_needs_git(project: Project) -> bool:
    """DVC 3 stops where no folder above is a repository; without the program it works by a library."""
    config, root = project.root / ".dvc" / "config", project.root.resolve()
    without = config.is_file() and "no_scm" in config.read_text(encoding="utf-8", errors="replace")
    return not without and not any((folder / ".git").exists() for folder in (root, *root.parents))


def _lock_files(project: Project) -> Iterator[Finding]:
    """What DVC remembers of its stages: a killed DVC can leave such a file empty, a merge marks in it."""
    locks = [project.root / "dvc.lock", *sorted(project.experiments.rglob("dvc.lock"))]
    damaged = [(path, what) for path in locks if (what := _damage(path))]
    for path, what in damaged:
        found = f"{path.relative_to(project.root)}: {what}"
        yield Finding("dvc.lock", found, False, _unlock(project, path), required=True)
    if not damaged:
        yield Finding("dvc.lock", "readable", True, required=True)


def _damage(lock: Path) -> str:
    """Why DVC cannot read a lock file; "" where it can, and where there is none."""
    from repro.errors import ParamsError
    from repro.params import read_yaml

    if not lock.exists():
        return ""
    try:
        read_yaml(lock)
    except ParamsError as error:
        return error.what.splitlines()[0] if lock.stat().st_size else "empty"
    return ""


def _unlock(project: Project, path: Path) -> str:
    """The command that restores a lock file from git, or recreates it from the present outputs."""
    from repro.errors import ReproError
    from repro.io.git import git

    name = path.relative_to(project.root)
    try:
        git(project.root, "cat-file", "-e", f"HEAD:{name.as_posix()}")
        return f"git checkout HEAD -- {name}"
    except ReproError:
        return f"rm {name} && dvc commit --force {name.with_name('dvc.yaml')}"


def _datasets(project: Project) -> Iterator[Finding]:
    from repro.errors import ParamsError
    from repro.params import read_yaml

    try:
        names = sorted(map(str, dict(read_yaml(project.params).get("datasets") or {})))
    except (TypeError, ValueError):
        advice = "`datasets:` is a mapping: one key a data set"
        yield Finding("params.yaml", "'datasets' is no mapping", False, advice, required=True)
        return
    except ParamsError as error:
        advice = error.hint or error.allowed or "edit it"
        yield Finding("params.yaml", error.what.splitlines()[0], False, advice, required=True)
        return
    yield from (_dataset(project, name) for name in names)


def _dataset(project: Project, name: str) -> Finding:
    from repro.errors import ReproError, UnknownNameError
    from repro.params.project import BUILT_IN
    from repro.stages.inputs_ready import is_present
    from repro.stages.prepare import data_command

    raw = project.data / name
    places = (("raw", raw), ("prepared", project.prepared / name))
    state = " and ".join(word for word, path in places if is_present(path))
    if raw.is_symlink() and not raw.exists():
        state, good = f"the link leads to nothing: {raw.readlink()}", False
    elif name == BUILT_IN:
        state, good = state or "drawn by the first run", True
    else:
        state, good = state or "absent", bool(state)
    try:
        advice = data_command(project, name)
    except UnknownNameError as error:
        state, good = error.what, False
        advice = "take it out of params.yaml, or declare it with `folder:` or `module:`"
    except ReproError as error:
        state, good, advice = error.what, False, error.hint or "correct it in params.yaml"
    return Finding(f"data {name}", state, good, advice)


def _pages(project: Project) -> Iterator[Finding]:
    """Every command that shows results reads all pages: one that is damaged stops them all."""
    from repro.errors import ParamsError, counted

    try:
        found = project.published
        state = f"{counted(len(found.ids), 'page')}, {counted(len(found.rows), 'row')}"
    except ParamsError as error:
        where = os.path.relpath(str(error.where), project.root)
        advice = error.hint or f"correct it, or `git checkout HEAD -- {where}`"
        yield Finding(
            "published pages", f"{where}: {error.what.splitlines()[0]}", False, advice, required=True
        )
        return
    yield Finding("published pages", state, True)


def _merge(project: Project) -> Iterator[Finding]:
    from repro.io.git import merge_conflict
    from repro.params.folders import conflicted

    for path in conflicted(project):
        name = str(path.relative_to(project.root))
        yield Finding(
            f"merge {name}", "both sides of a merge are in it", False, str(merge_conflict(path).hint)
        )


def _mlflow(project: Project) -> Iterator[Finding]:
    if find_spec("mlflow") is None:
        advice = "pip install 'deeplab-repro[pipeline]'; without it runs are in journals and records alone"
        yield Finding("MLflow", "not installed", False, advice)
        return
    from repro.tracking.health import store_state

    uri, good, advice = store_state(project)
    yield Finding("MLflow store", uri, good, advice)


LOOKS: tuple[Callable[[Project], Iterator[Finding]], ...] = (
    _python,
    _torch,
    _disk,
    _git,
    _dvc,
    _lock_files,
    _merge,
    _datasets,
    _pages,
    _mlflow,
)


def _table(title: str, findings: Sequence[Finding]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("", "found", "", "next", box=None, title=title, title_justify="left")
    for one in findings:
        mark, colour = ("ok", "green") if one.good else ("no", "red") if one.required else ("--", "yellow")
        table.add_row(one.what, one.found, Text(mark, colour), "" if one.good else one.advice)
    return table
