"""`repro sync --rebuild`: the store made anew, as a new sqlite file or in place beside the runs of others."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from repro.params import Project
from repro.tracking.address import sqlite_path, sqlite_uri
from repro.tracking.owned_runs import delete_all, known_runs, label, owned, tag
from repro.tracking.owner import CLONE, RETIRED, owner_of
from repro.tracking.report import Confirm, Report
from repro.tracking.run_writer import NAME, retire
from repro.tracking.store import CHECK_SECONDS, damage, keyed_runs, open_client, read_only

Send = Callable[[str], Report]  # fills the store of this address


def rebuild(project: Project, uri: str, send: Send, confirm: Confirm) -> Report:
    """Send everything again: into a new file, or in place where others have runs in the store."""
    if sqlite_path(uri) is not None and not holds_others(project, uri):
        return _rebuild_file(project, uri, send)
    return _rebuild_in_place(project, uri, send, confirm)


def _rebuild_file(project: Project, uri: str, send: Send) -> Report:
    """A new sqlite file, put in place of the old one when all is in it; the old one is kept beside it.

    A new one that lacks something is better than none: then, and only then, it is taken as it is.
    """
    path = sqlite_path(uri)
    assert path is not None
    for left in path.parent.glob(f"{path.name}.rebuilding*"):
        left.unlink()
    # A name of its own: MLflow would take one that this process has used for a store with tables in it.
    new = path.with_name(f"{path.name}.rebuilding-{time.time_ns()}")
    report = send(sqlite_uri(new))
    new.with_name(f"{new.name}.lock").unlink(missing_ok=True)  # nobody else knows this file
    if report.failed and path.exists():
        new.unlink()
        return replace(report, sent=[], kept=True)
    if path.exists():
        os.replace(path, _free_name(path.with_name(f"{path.name}.before-rebuild")))
    os.replace(new, path)
    _forget_connections(open_client(project, uri))
    return report


def holds_others(project: Project, uri: str) -> bool:
    """Whether a sqlite file has active runs of others, and may not be replaced.

    In the project's own file those are runs of other clones: the backup keeps what other programs logged.
    """
    path, owner = sqlite_path(uri), owner_of(project)
    if path is None or not path.exists() or damage(path):
        return False
    own = path == project.root / "mlflow.db"
    try:
        with closing(read_only(path, timeout=CHECK_SECONDS)) as connection:
            (count,) = connection.execute(_OTHER_CLONES if own else _OTHERS, (CLONE, owner.clone)).fetchone()
    except sqlite3.Error:  # no such tables: nothing of anybody is in it
        return False
    return bool(count)


_ACTIVE = "select count(*) from runs where lifecycle_stage = 'active' and run_uuid"
_OTHERS = f"{_ACTIVE} not in (select run_uuid from tags where key = ? and value = ?)"
_OTHER_CLONES = f"{_ACTIVE} in (select run_uuid from tags where key = ? and value != ?)"


def _rebuild_in_place(project: Project, uri: str, send: Send, confirm: Confirm) -> Report:
    """Send everything again beside what is there, then delete this clone's runs from before.

    Those of an experiment that could not be sent stay.
    """
    client = open_client(project, uri)
    before = [run for run in owned(known_runs(client, project, uri)) if run.info.status != "RUNNING"]
    if before and not confirm([label(run) for run in before]):
        return Report(kept=True)
    for run in before:
        retire(client, run.info.run_id)
    report = send(uri)
    lost = [run for run in before if tag(run, NAME) in report.failed]
    for run in lost:
        client.delete_tag(run.info.run_id, RETIRED)
    gone = [run for run in before if run not in lost and run.info.run_id in _active(client)]
    delete_all(client, gone)
    report.deleted += [label(run) for run in gone]
    return report


def _active(client: Any) -> set[str]:
    return {run.info.run_id for run in keyed_runs(client)}


def _free_name(path: Path) -> Path:
    """`path`, or with the first number that is free: no backup takes the place of an earlier one."""
    numbered = (path.with_name(f"{path.name}.{number}") for number in count(2))
    return next(one for one in chain([path], numbered) if not one.exists())


def _forget_connections(client: Any) -> None:
    """MLflow keeps connections for the life of a process; these still lead to the replaced file."""
    for part in (client._tracking_client, client._get_registry_client()):
        part.store.engine.dispose()
