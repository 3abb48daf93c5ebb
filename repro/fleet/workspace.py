"""DVC as a subprocess, and files in `.repro` that are no longer needed."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from repro.params import Project
from repro.records import is_locked, locked, read_records
from repro.tracking import read_state


def has_dvc(project: Project) -> bool:
    """Whether DVC is installed and looks after this project."""
    return importlib.util.find_spec("dvc") is not None and (project.root / ".dvc").is_dir()


def dvc(*arguments: str) -> list[str]:
    """The command line of the DVC that is installed beside this program, whatever PATH says."""
    return [sys.executable, "-m", "dvc", *arguments]


def dvc_repro(*targets: str) -> list[str]:
    """The command that makes `targets` beside others, which may hold DVC's lock."""
    return dvc("--wait-for-lock", "repro", *targets)


def run_dvc(project: Project, *arguments: str, stdout: int | None = None) -> int:
    """Run DVC in the project; its exit status. `stdout=2` sends what it prints to standard error."""
    return subprocess.run(dvc(*arguments), cwd=project.root, check=False, stdout=stdout).returncode


# Everything here can be made again by the command that made it.
CACHES = {
    "tmp": "half-written file",
    "smoke": "smoke run",
    "replay": "replayed run",
    "fleet": "log of a fleet",
    "import": "unpacked run",
}


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """No training runs in this work folder meanwhile; StorageError where one does."""
    with locked(work / ".lock", "a training with these parameters is running here"):  # a training holds it
        yield


def garbage(project: Project, *, older_than: float) -> Iterator[tuple[Path, str]]:
    """(path, why) of what can go; `older_than` seconds since it was last written to."""
    records, damaged = read_records(project.rows)
    recorded = None if damaged else {record.run_key for record in records.values()}
    for work in sorted(path for path in _inside(project, project.work) if path.is_dir()):
        why = _why(work, recorded)
        if why and _age(work) > older_than and not is_locked(work / ".lock"):
            yield work, why
    for name, why in CACHES.items():
        for path in sorted(_inside(project, project.root / ".repro" / name)):
            if _age(path) > older_than:
                yield path, why


def _inside(project: Project, folder: Path) -> Iterator[Path]:
    """What lies in a folder; nothing where links lead out of the project: that is not ours to delete."""
    return folder.glob("*") if folder.resolve().is_relative_to(project.root.resolve()) else iter(())


def _why(work: Path, recorded: set[str] | None) -> str:
    """Why a work folder is no longer needed; "" while it is.

    `recorded`: run keys of the records; None where one is damaged, which a finished run may belong to.
    """
    state = read_state(work / "journal.jsonl")
    if state is None:
        return "" if any(work.glob("*.ckpt")) else "nothing was trained here"
    if state.status == "RUNNING":
        return ""
    checkpoints = any(work.glob("*.ckpt"))
    if state.status == "FINISHED":
        if recorded is None:
            return ""
        if work.name in recorded:
            return "recorded: the journal is in MLflow, the curve in git"
        return "" if checkpoints else "finished, of parameters that have no record"
    return (
        f"{state.status.lower()}, can be resumed from iteration {state.steps}"
        if checkpoints
        else "failed early"
    )


def _age(path: Path) -> float:
    """Seconds since anything below `path` was written."""
    times = [p.stat().st_mtime for p in (path, *path.rglob("*")) if not p.is_symlink()]
    return time.time() - max(times)


def size_of(path: Path) -> int:
    """Bytes below a path; links are not followed."""
    return sum(p.lstat().st_size for p in (path, *path.rglob("*")) if not p.is_dir())


def remove(path: Path) -> None:
    """Delete a file or a folder; a link goes, its target stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
