"""Read runs and records from an MLflow store without importing MLflow, which takes seconds.

A local database is read with SELECT statements through sqlite3, a server through its REST API.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.errors import StorageError
from repro.params import Project
from repro.records import Record, read_record
from repro.tracking.address import is_database, require_address, sqlite_path, tracking_uri, with_driver
from repro.tracking.owner import owner_of
from repro.tracking.store import open_client, read_only, refusal
from repro.tracking.tags import IN_GIT, PROJECT, RECORD


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """A run in MLflow: `experiment` is the data set, `started` in milliseconds since 1970."""

    id: str
    name: str
    experiment: str
    status: str
    started: int
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


PAGE = 1000
LONG = ("mlflow.note.content", "mlflow.user")  # tags that are not read
TABLES = {
    "metrics": "select run_uuid, key, value from latest_metrics where not is_nan",
    "params": "select run_uuid, key, value from params",
    "tags": f"select run_uuid, key, value from tags where key not in {LONG}",
}
RUNS = """
    select runs.run_uuid, runs.name, experiments.name, runs.status, runs.start_time
    from runs join experiments on runs.experiment_id = experiments.experiment_id
    where runs.lifecycle_stage = 'active' and experiments.lifecycle_stage = 'active'
    order by runs.start_time desc, runs.run_uuid
"""


def read_runs(project: Project, uri: str | None = None) -> list[StoredRun]:
    """All active runs with the last value of each metric, newest first; StorageError without a store."""
    uri = with_driver(uri) if uri else tracking_uri(project)
    require_address(uri)
    if not is_database(uri):
        return _from_server(uri)
    with _query(uri) as query:
        columns = ("id", "name", "experiment", "status", "started")
        found = {row[0]: StoredRun(**dict(zip(columns, row, strict=True))) for row in query(RUNS)}
        for kind, statement in TABLES.items():
            values = {run_id: getattr(run, kind) for run_id, run in found.items()}
            for run_id, key, value in query(statement):
                if run_id in values:
                    values[run_id][key] = value
    return list(found.values())


@contextmanager
def _query(uri: str) -> Iterator[Any]:
    """Yield a function from SQL to rows, read-only for SQLite; StorageError if the store cannot be read."""
    path = sqlite_path(uri)
    if path is None:
        with _query_database(uri) as query:
            yield query
        return
    if not path.is_file():
        raise StorageError("no MLflow store yet", where=path, hint="`repro sync` creates it from the records")
    try:
        with closing(read_only(path, timeout=30)) as connection:
            yield connection.execute
    except sqlite3.Error as error:
        raise refusal(uri, error) from None


@contextmanager
def _query_database(uri: str) -> Iterator[Any]:
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(uri)
        with engine.connect() as connection:
            yield lambda statement: connection.execute(text(statement))
        engine.dispose()
    except (SQLAlchemyError, ImportError) as error:  # a driver may be missing
        raise refusal(uri, error) from None


def _from_server(uri: str) -> list[StoredRun]:
    """Read runs through a server's REST API, 1,000 per request."""
    experiments = _pages(uri, "experiments/search", "experiments", {"max_results": PAGE})
    names = {found["experiment_id"]: found["name"] for found in experiments}
    wanted = {"experiment_ids": list(names), "max_results": PAGE, "order_by": ["attributes.start_time DESC"]}
    return [_from_json(run, names) for run in _pages(uri, "runs/search", "runs", wanted)] if names else []


def _pages(uri: str, call: str, key: str, wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    import requests

    address = f"{uri.rstrip('/')}/api/2.0/mlflow/{call}"
    token: dict[str, str] = {}
    with requests.Session() as session:
        session.headers.update(_authorisation())
        session.auth = _login()
        while True:
            try:
                answer = session.post(
                    address, json={**wanted, **({"page_token": token} if token else {})}, timeout=60
                )
                answer.raise_for_status()
            except requests.RequestException as error:
                hint = "start the server, or unset MLFLOW_TRACKING_URI"
                raise StorageError("MLflow does not respond", where=type(error).__name__, hint=hint) from None
            found = answer.json()
            yield from found.get(key, [])
            if not found.get("next_page_token"):
                return
            token = {"page_token": found["next_page_token"]}


def _authorisation() -> dict[str, str]:
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _login() -> tuple[str, str] | None:
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    return (user, password) if user and password else None


def _from_json(run: dict[str, Any], names: dict[str, str]) -> StoredRun:
    info, data = run["info"], run.get("data", {})
    return StoredRun(
        id=info["run_id"],
        name=info.get("run_name", ""),
        experiment=names[info["experiment_id"]],
        status=info["status"],
        started=int(info["start_time"]),
        metrics={key: float(value) for key, value in _pairs(data.get("metrics", ()))},
        params=dict(_pairs(data.get("params", ()))),
        tags={key: value for key, value in _pairs(data.get("tags", ())) if key not in LONG},
    )


def _pairs(entries: Iterable[dict[str, Any]]) -> Sequence[tuple[str, Any]]:
    return [(entry["key"], entry["value"]) for entry in entries]


def stored_records(project: Project, uri: str | None = None) -> dict[str, Record]:
    """Experiment -> newest record in the store at `uri` (default: the project's store).

    Runs without a record are skipped.

    Raises:
        StorageError: a record cannot be downloaded.
        RecordError: a record was edited.
    """
    owner = owner_of(project)
    ours = (run for run in read_runs(project, uri) if run.tags.get(PROJECT, owner.project) == owner.project)
    newest = list(_newest(sorted(ours, key=lambda run: run.tags.get(IN_GIT) == "no")))
    client = open_client(project, uri) if newest else None
    with tempfile.TemporaryDirectory() as folder:
        found = [_fetch(client, run, Path(folder) / str(i)) for i, run in enumerate(newest)]
    return {record.experiment: record for record in reversed(found)}


def _newest(runs: Iterable[StoredRun]) -> Iterable[StoredRun]:
    """The newest run with a record per name, newest first."""
    names: set[str] = set()
    for run in runs:
        if RECORD in run.tags and run.name not in names:
            names.add(run.name)
            yield run


def _fetch(client: Any, run: StoredRun, folder: Path) -> Record:
    from mlflow.exceptions import MlflowException

    folder.mkdir()
    try:
        return read_record(Path(client.download_artifacts(run.id, "record.json", str(folder))))
    except (MlflowException, OSError) as error:
        raise StorageError(
            f"the record of run '{run.name}' cannot be downloaded: {type(error).__name__}",
            where=run.id,
            hint="check access to the store's artifacts; `repro sync --rebuild` sends everything again",
        ) from None
