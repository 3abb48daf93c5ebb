"""All runs of a tracking store, read without importing MLflow where the store is a sqlite file.

Four queries replace a page-wise search and a data frame: the tables of MLflow's own schema, opened
read-only, active runs only. Any other store is read through MlflowClient.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.errors import ReproError
from repro.params.project import Project
from repro.tracking.store import open_client, sqlite_path, tracking_uri

_RUNS = """
    SELECT r.run_uuid, r.name, e.name, r.status, r.start_time FROM runs r
    JOIN experiments e ON e.experiment_id = r.experiment_id
    WHERE r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active'
    ORDER BY r.start_time DESC, r.run_uuid
"""
_VALUES = {
    "metrics": "SELECT run_uuid, key, CASE WHEN is_nan THEN NULL ELSE value END FROM latest_metrics",
    "params": "SELECT run_uuid, key, value FROM params",
    "tags": "SELECT run_uuid, key, value FROM tags",
}


@dataclass(frozen=True)
class Run:
    """One MLflow run: its last metrics, its params and its tags. NaN stays NaN."""

    id: str
    name: str
    experiment: str
    status: str
    started: int
    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def read_runs(project: Project, uri: str | None = None) -> list[Run]:
    """Every active run of the store at `uri` (default: the project's own), newest first."""
    uri = uri or tracking_uri(project)
    path = sqlite_path(uri)
    return _from_sqlite(path) if path else list(_from_client(open_client(project, uri)))


def _from_sqlite(path: Path) -> list[Run]:
    if not path.is_file():
        raise ReproError(
            "there is no tracking store", where=path, hint="`repro sync`, or name one with --uri"
        )
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            runs = {row[0]: Run(*row) for row in database.execute(_RUNS)}
            for kind, query in _VALUES.items():
                for run_id, key, value in database.execute(query):
                    if run_id in runs:
                        getattr(runs[run_id], kind)[key] = math.nan if value is None else value
    except sqlite3.DatabaseError as error:
        raise ReproError(f"not an MLflow store: {error}", where=path) from error
    return list(runs.values())


def _from_client(client: Any) -> Iterator[Run]:
    experiments = {one.experiment_id: one.name for one in client.search_experiments()}
    token = None
    while experiments:
        page = client.search_runs(list(experiments), max_results=1000, page_token=token)
        for run in page:
            info = run.info
            yield Run(
                info.run_id,
                info.run_name or "",
                experiments[info.experiment_id],
                info.status,
                info.start_time,
                dict(run.data.metrics),
                dict(run.data.params),
                dict(run.data.tags),
            )
        token = page.token
        if not token:
            break
