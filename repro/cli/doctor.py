"""`repro doctor`: what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from repro.cli.common import Json, console, emit_json

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


def doctor(as_json: Json = False) -> None:
    """Look at Python, torch, device, disk, data sets and the MLflow store.

    Example: repro doctor
    """
    from repro.errors import CheckFailed
    from repro.params import find_project

    project = find_project()
    findings = [finding for look in LOOKS for finding in look(project)]
    if as_json:
        emit_json([finding._asdict() for finding in findings])
    else:
        console().print(_table(findings))
    if any(not finding.good for finding in findings if finding.what in VITAL):
        raise CheckFailed("something that every run needs is missing", hint="see the lines above")


VITAL = ("Python", "torch", "disk", "dvc", "MLflow store")


def _python(project: Project) -> Iterator[Finding]:
    good = SUPPORTED[0] <= sys.version_info[:2] < SUPPORTED[1]
    yield Finding("Python", sys.version.split()[0], good, "3.11, 3.12 or 3.13 is supported")


def _torch(project: Project) -> Iterator[Finding]:
    try:
        import torch
    except ImportError as error:
        yield Finding("torch", str(error), False, "make setup")
        return
    yield Finding("torch", torch.__version__, True)
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        device = "MPS" if torch.backends.mps.is_available() else f"CPU, {torch.get_num_threads()} threads"
    yield Finding("device", device, True)


def _disk(project: Project) -> Iterator[Finding]:
    free = shutil.disk_usage(project.root).free / 2**30
    writable = os.access(project.root, os.W_OK)
    advice = "free some space" if writable else "the project folder may not be written"
    yield Finding("disk", f"{free:.0f} GiB free", writable and free >= ENOUGH_GIB, advice)


def _dvc(project: Project) -> Iterator[Finding]:
    found = shutil.which("dvc"), shutil.which("repro")
    advice = "source .venv/bin/activate, so that DVC finds `repro`"
    yield Finding("dvc", "dvc and repro on PATH" if all(found) else "not on PATH", all(found), advice)


def _datasets(project: Project) -> Iterator[Finding]:
    from repro.params import read_yaml

    for name in sorted(read_yaml(project.params)["datasets"]):
        raw, ready = project.data / name, project.prepared / name
        places = (("raw", raw), ("prepared", ready))
        state = [word for word, path in places if path.is_file() or (path.is_dir() and any(path.iterdir()))]
        yield Finding(
            f"data {name}",
            " and ".join(state) or "absent",
            bool(state),
            f"repro data link {name} PATH (repro data list: where it comes from)",
        )


def _mlflow(project: Project) -> Iterator[Finding]:
    from repro.tracking import store_state

    uri, good, advice = store_state(project)
    yield Finding("MLflow store", uri, good, advice)


LOOKS: tuple[Callable[[Project], Iterator[Finding]], ...] = (_python, _torch, _disk, _dvc, _datasets, _mlflow)


def _table(findings: list[Finding]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "found", "", "next", box=None)
    for one in findings:
        mark = "[green]ok[/]" if one.good else ("[red]no[/]" if one.what in VITAL else "[yellow]--[/]")
        table.add_row(one.what, escape(one.found), mark, "" if one.good else one.advice)
    return table
