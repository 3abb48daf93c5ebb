"""Open MLflow's store, safely from several processes at the same time."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from repro.errors import StorageError
from repro.io.redact import redact_uri
from repro.params import Project
from repro.records import locked
from repro.tracking.address import (
    first_line,
    is_database,
    require_address,
    sqlite_path,
    tracking_uri,
    with_driver,
)
from repro.tracking.tags import KEY

PAGE = 1000
CHECK_SECONDS = 3  # for `repro doctor`, which must not hang
CREATION_WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
CREATED_MEANWHILE = re.compile("already exists|duplicate|deadlock|found version None", re.IGNORECASE)
LOCK_SECONDS = 600.0  # creating a database or sending a thousand runs can take minutes on a loaded machine


def open_client(project: Project, uri: str | None = None) -> Any:
    """An MlflowClient for the project's store; a database is created under a file lock.

    Without the lock, of six processes that open a new SQLite store at the same time, five crash in MLflow's
    migrations.
    """
    uri = with_driver(uri) if uri else tracking_uri(project)
    set_mlflow_defaults()
    from mlflow import MlflowClient

    if not is_database(uri):
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    with store_lock(project, uri):
        return _with_tables(uri)


def _with_tables(uri: str) -> Any:
    """A client of a database whose tables exist; the first query creates them.

    No lock covers other clones of a database server: if two create the tables at the same time, one fails
    because they exist, and retries.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # "Creating initial tables"
    for seconds in (*CREATION_WAITS, None):
        try:
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            client.search_experiments(max_results=1)
            client.search_registered_models(max_results=1)
            return client
        except (MlflowException, SQLAlchemyError) as error:
            if seconds is None or not CREATED_MEANWHILE.search(str(error)):
                raise
            time.sleep(seconds)


@contextmanager
def store_lock(project: Project, uri: str) -> Iterator[None]:
    """Lock the store against other processes of this machine.

    The lock of a SQLite store is a file in its folder; that of a server is in the project's folder.
    """
    path = sqlite_path(uri)
    lock = path.with_name(f"{path.name}.lock") if path else project.root / ".repro" / "sync.lock"
    if path and not path.parent.is_dir():
        raise StorageError("no such folder for MLflow's store", where=path.parent, hint=advice(uri))
    if path and (closed := not_writable(path)) is not None:
        raise StorageError("MLflow's store is not writable", where=closed, hint=advice(uri))
    with locked(lock, "MLflow's store is in use", timeout=LOCK_SECONDS):
        yield


@contextmanager
def usable(uri: str) -> Iterator[None]:
    """Convert errors of MLflow and its libraries to StorageError with a hint."""
    require_address(uri)
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, ImportError) as error:  # a driver may be missing
        raise refusal(uri, error) from None


def refusal(uri: str, error: Exception) -> StorageError:
    """StorageError for an error of a store's library, with a hint for this store."""
    return StorageError(
        f"MLflow's store cannot be used: {first_line(error)}", where=redact_uri(uri), hint=advice(uri)
    )


def advice(uri: str) -> str:
    """What to do about a store that cannot be used; only a local file can be recreated."""
    path = sqlite_path(uri)
    if path is None:
        needed = "check its address, driver and server" if is_database(uri) else "start the server"
        return f"{needed}, or unset MLFLOW_TRACKING_URI; `repro sync` sends what is missing"
    if not path.parent.is_dir():
        return "create its folder, or unset MLFLOW_TRACKING_URI"
    if (closed := not_writable(path)) is not None:
        return f"make the {'file' if closed == path else 'folder'} {closed.name} writable"
    again = "" if damage(path) else "retry once no other program uses it and the disk has space; "
    return f"{again}`repro sync --rebuild` recreates it from the records in git and keeps this file"


def not_writable(path: Path) -> Path | None:
    """The folder or file of a local store that is not writable, or None."""
    places = (place for place in (path.parent, path) if place.exists())
    return next((place for place in places if not os.access(place, os.W_OK)), None)


def damage(path: Path) -> str:
    """Error of reading the tables of a SQLite file; "" if it is intact or missing."""
    if not path.exists():
        return ""
    try:
        with closing(read_only(path, timeout=CHECK_SECONDS)) as connection:
            connection.execute("select count(*) from sqlite_master")
    except sqlite3.Error as error:
        busy = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY  # in use, not corrupt
        return "" if busy else str(error)
    return ""


def read_only(path: Path, *, timeout: float) -> sqlite3.Connection:
    """A read-only connection to a SQLite file."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=timeout)


def pages(search: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    """All results of an MLflow search, which returns them in pages."""
    token: str | None = None
    while True:
        page = search(*arguments, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def keyed_runs(client: Any) -> Iterator[Any]:
    """All active runs with a run key, of any data set and owner."""
    experiments = [found.experiment_id for found in pages(client.search_experiments)]
    if experiments:
        yield from pages(client.search_runs, experiments, f"tags.`{KEY}` != ''")


def set_mlflow_defaults() -> None:
    """Set few retries, short timeouts and no telemetry, unless the environment sets them."""
    defaults = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_LOGGING_LEVEL": "ERROR",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def artifact_location(project: Project, uri: str, dataset: str) -> str | None:
    """Artifact folder of a local store; None lets a server choose."""
    return (project.root / "mlartifacts" / dataset).as_uri() if is_database(uri) else None
