"""Records out of an MLflow store: every mirrored run carries its record as an artifact."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from repro.errors import StorageError
from repro.params import Project
from repro.records import Record, read_record
from repro.tracking.feed import RECORD
from repro.tracking.owner import PROJECT, owner_of
from repro.tracking.read import StoredRun, read_runs
from repro.tracking.send import IN_GIT
from repro.tracking.store import open_client


def stored_records(project: Project, uri: str | None = None) -> dict[str, Record]:
    """Experiment -> its newest record in the store at `uri` (default: the project's own).

    Runs without a record, of other programs or unfinished, are passed over. Raises StorageError where a
    record cannot be fetched, RecordError where it was edited.
    """
    owner = owner_of(project)
    ours = (run for run in read_runs(project, uri) if run.tags.get(PROJECT, owner.project) == owner.project)
    newest = list(_newest(sorted(ours, key=lambda run: run.tags.get(IN_GIT) == "no")))
    client = open_client(project, uri) if newest else None
    with tempfile.TemporaryDirectory() as folder:
        found = [_fetch(client, run, Path(folder) / str(i)) for i, run in enumerate(newest)]
    return {record.experiment: record for record in reversed(found)}


def _newest(runs: Iterable[StoredRun]) -> Iterable[StoredRun]:
    """The newest run of every name that carries a record, newest first."""
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
            f"the record of run '{run.name}' cannot be fetched: {type(error).__name__}",
            where=run.id,
            hint="are the store's artifacts reachable from here? `repro sync --rebuild` sends all again",
        ) from None
