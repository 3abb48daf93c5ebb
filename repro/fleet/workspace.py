"""Run DVC as a subprocess, and find obsolete files in `.repro`."""

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
from repro.tracking.run_info import read_state


def has_dvc(project: Project) -> bool:
    """Whether DVC is installed and this project uses it."""
    return importlib.util.find_spec("dvc") is not None and (project.root / ".dvc").is_dir()


def dvc(*arguments: str) -> list[str]:
    """Command line of the DVC in this Python environment, independent of PATH."""
    return [sys.executable, "-m", "dvc", *arguments]


def dvc_repro(*targets: str) -> list[str]:
    """The command that reproduces `targets`, and waits for DVC's lock."""
    return dvc("--wait-for-lock", "repro", *targets)


def run_dvc(project: Project, *arguments: str, stdout: int | None = None) -> int:
    """Run DVC in the project and return its exit status; `stdout=2` sends its output to standard error."""
    return subprocess.run(dvc(*arguments), cwd=project.root, check=False, stdout=stdout).returncode


# Folders in .repro whose content can be recreated -> description
CACHES = {
    "tmp": "half-written file",
    "smoke": "smoke run",
    "replay": "replayed run",
    "fleet": "log of a fleet",
    "verify": "log of a verification",
    "import": "unpacked run",
    "splits": "unpacked split",
    "maps": "label maps of a program",
}


@contextmanager
def training_lock(work: Path) -> Iterator[None]:
    """Hold the lock of a training in this work folder; StorageError if one is running."""
    with locked(work / ".lock", "a training with these parameters is running here"):
        yield


def garbage(project: Project, *, older_than: float) -> Iterator[tuple[Path, str]]:
    """Yield (path, reason) of files that can be deleted, unchanged for more than `older_than` seconds."""
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
    """Entries of a folder; none if it is a link out of the project, which must not be deleted."""
    return folder.glob("*") if folder.resolve().is_relative_to(project.root.resolve()) else iter(())


def _why(work: Path, recorded: set[str] | None) -> str:
    """Why a work folder is obsolete, "" if it is not.

    `recorded` are the run keys of the records; None if a record is corrupt, since it may belong to any run.
    """
    state = read_state(work / "journal.jsonl")
    if state is None:
        return "" if _resumable(work) else "no training"
    if state.status == "RUNNING":
        return ""
    checkpoints = _resumable(work)
    if state.status == "FINISHED":
        if recorded is None:
            return ""
        if work.name in recorded:
            return "recorded: the journal is in MLflow, the curve in git"
        return "" if checkpoints else "finished, without a record"
    if not checkpoints:
        return "failed early"
    return f"{state.status.lower()}, can be resumed from iteration {state.steps}"


def _resumable(work: Path) -> bool:
    """Whether a work folder has checkpoints, or what a stopped program left."""
    return any(work.glob("*.ckpt")) or any((work / "out").glob("*"))


def _age(path: Path) -> float:
    """Seconds since the last change in `path`."""
    times = [p.stat().st_mtime for p in (path, *path.rglob("*")) if not p.is_symlink()]
    return time.time() - max(times)


def size_of(path: Path) -> int:
    """Total bytes of a path; links are not followed."""
    return sum(p.lstat().st_size for p in (path, *path.rglob("*")) if not p.is_dir())


def remove(path: Path) -> None:
    """Delete a file, a folder or a link (not its target)."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
