"""DVC as a program that is run, never imported."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from repro.params import Project


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
