"""`repro sync --rebuild`: recreate the store as a new SQLite file, or in place if others have runs in it."""

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
from repro.tracking.owner import owner_of
from repro.tracking.report import Confirm, Report
from repro.tracking.run_writer import retire
from repro.tracking.store import CHECK_SECONDS, damage, keyed_runs, open_client, read_only
from repro.tracking.tags import CLONE, NAME, RETIRED

Send = Callable[[str], Report]  # sends everything to the store of this address


def rebuild(project: Project, uri: str, send: Send, confirm: Confirm) -> Report:
    """Send everything again, to a new file, or in place if others have runs in the store."""
    if sqlite_path(uri) is not None and not holds_others(project, uri):
        return _rebuild_file(project, uri, send)
    return _rebuild_in_place(project, uri, send, confirm)


def _rebuild_file(project: Project, uri: str, send: Send) -> Report:
    """Fill a new SQLite file, then replace the old one, which is kept as a backup.

    An incomplete new file is discarded, unless there is no old one.
    """
    path = sqlite_path(uri)
    assert path is not None
    for left in path.parent.glob(f"{path.name}.rebuilding*"):
        left.unlink()
    # A unique name: MLflow assumes that a file which this process has used before has its tables.
    new = path.with_name(f"{path.name}.rebuilding-{time.time_ns()}")
    report = send(sqlite_uri(new))
    new.with_name(f"{new.name}.lock").unlink(missing_ok=True)  # no other process uses this file
    if report.failed and path.exists():
        new.unlink()
        return replace(report, sent=[], kept=True)
    if path.exists():
        os.replace(path, _free_name(path.with_name(f"{path.name}.before-rebuild")))
    os.replace(new, path)
    _forget_connections(open_client(project, uri))
    return report


def holds_others(project: Project, uri: str) -> bool:
    """Whether a SQLite file has active runs of others, so that it must not be replaced.

    In the project's own file only runs of other clones count; runs of other programs are kept in the backup.
    """
    path, owner = sqlite_path(uri), owner_of(project)
    if path is None or not path.exists() or damage(path):
        return False
    own = path == project.root / "mlflow.db"
    try:
        with closing(read_only(path, timeout=CHECK_SECONDS)) as connection:
            (count,) = connection.execute(_OTHER_CLONES if own else _OTHERS, (CLONE, owner.clone)).fetchone()
    except sqlite3.Error:  # no tables, so no runs
        return False
    return bool(count)


_ACTIVE = "select count(*) from runs where lifecycle_stage = 'active' and run_uuid"
_OTHERS = f"{_ACTIVE} not in (select run_uuid from tags where key = ? and value = ?)"
_OTHER_CLONES = f"{_ACTIVE} in (select run_uuid from tags where key = ? and value != ?)"


def _rebuild_in_place(project: Project, uri: str, send: Send, confirm: Confirm) -> Report:
    """Send everything again, then delete this clone's earlier runs, except those that could not be sent."""
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
    """`path`, or `path` with the first unused number, so that no earlier backup is replaced."""
    numbered = (path.with_name(f"{path.name}.{number}") for number in count(2))
    return next(one for one in chain([path], numbered) if not one.exists())


def _forget_connections(client: Any) -> None:
    """Close MLflow's pooled connections, which still refer to the replaced file."""
    for part in (client._tracking_client, client._get_registry_client()):
        part.store.engine.dispose()
