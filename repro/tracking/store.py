"""A client for MLflow's store that is safe to open from many processes at once."""

from __future__ import annotations

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

PAGE = 1000
KEY = "repro.run_key"  # the tag that says which training a run shows
CHECK_SECONDS = 3  # for `repro doctor`, which must not hang
CREATION_WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)
CREATED_MEANWHILE = re.compile("already exists|duplicate|deadlock|found version None", re.IGNORECASE)
LOCK_SECONDS = 600.0  # minutes to make a fresh database on a loaded machine, and more to send a thousand runs


def open_client(project: Project, uri: str | None = None) -> Any:
    """An MlflowClient for the project's store; a database is created under a file lock.

    Of six processes that open a fresh sqlite store at once five would crash in its migrations. The lock
    serialises the first use and costs nothing afterwards.
    """
    uri = with_driver(uri) if uri else tracking_uri(project)
    quiet()
    from mlflow import MlflowClient

    if not is_database(uri):
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    with one_at_a_time(project, uri):
        return _with_tables(uri)


def _with_tables(uri: str) -> Any:
    """A client of a database whose tables are there: the first query creates them.

    On a server no lock keeps other clones away: of two that create the tables at once one is told that they
    exist, and finds them whole a little later.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

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
def one_at_a_time(project: Project, uri: str) -> Iterator[None]:
    """No second process of this machine makes or fills the store: the lock of a file lies beside it.

    That of a server lies in the project: two projects may send at once, two commands of one would meet.
    """
    path = sqlite_path(uri)
    lock = path.with_name(f"{path.name}.lock") if path else project.root / ".repro" / "sync.lock"
    if path and not path.parent.is_dir():
        raise StorageError("no such folder for MLflow's store", where=path.parent, hint=advice(uri))
    if path and (closed := not_writable(path)) is not None:
        raise StorageError("MLflow's store may not be written", where=closed, hint=advice(uri))
    with locked(lock, "MLflow's store is in use", timeout=LOCK_SECONDS):
        yield


@contextmanager
def usable(uri: str) -> Iterator[None]:
    """What MLflow and its libraries raise over a store, as a StorageError with a way out."""
    require_address(uri)
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, ImportError) as error:  # a driver may be missing as well
        raise refusal(uri, error) from None


def refusal(uri: str, error: Exception) -> StorageError:
    """What a store's library raised, with what to do about this store."""
    return StorageError(
        f"MLflow's store cannot be used: {first_line(error)}", where=redact_uri(uri), hint=advice(uri)
    )


def advice(uri: str) -> str:
    """What to do about a store that cannot be used: only a local file can be made anew."""
    path = sqlite_path(uri)
    if path is None:
        needed = "check its address, driver and server" if is_database(uri) else "start the server"
        return f"{needed}, or unset MLFLOW_TRACKING_URI; `repro sync` brings over what it missed"
    if not path.parent.is_dir():
        return "make its folder, or unset MLFLOW_TRACKING_URI"
    if (closed := not_writable(path)) is not None:
        return f"make the {'file' if closed == path else 'folder'} {closed.name} writable"
    again = "" if damage(path) else "repeat it once no other program uses it and the disk has room; "
    return f"{again}`repro sync --rebuild` makes it anew from the records in git and keeps this file"


def not_writable(path: Path) -> Path | None:
    """The folder of a local store, or its file, that may not be written."""
    places = (place for place in (path.parent, path) if place.exists())
    return next((place for place in places if not os.access(place, os.W_OK)), None)


def damage(path: Path) -> str:
    """What is wrong with a sqlite file by its list of tables, "" where nothing is or there is no file."""
    if not path.exists():
        return ""
    try:
        with closing(read_only(path, timeout=CHECK_SECONDS)) as connection:
            connection.execute("select count(*) from sqlite_master")
    except sqlite3.Error as error:
        busy = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY  # in use is not damaged
        return "" if busy else str(error)
    return ""


def read_only(path: Path, *, timeout: float) -> sqlite3.Connection:
    """A connection to a sqlite file that makes and changes nothing."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=timeout)


def pages(search: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
    """All that a search of MLflow finds: it answers with one page at a time, and says nothing of the rest."""
    token: str | None = None
    while True:
        page = search(*arguments, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def keyed_runs(client: Any) -> Iterator[Any]:
    """Every active run that carries a run key, of all data sets and whoever owns it."""
    experiments = [found.experiment_id for found in pages(client.search_experiments)]
    if experiments:
        yield from pages(client.search_runs, experiments, f"tags.`{KEY}` != ''")


def quiet() -> None:
    """Few retries, short timeouts, no telemetry: a tracker that is away must be noticed soon."""
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
    """Folder for artifacts of a local store; None lets a server choose."""
    return (project.root / "mlartifacts" / dataset).as_uri() if is_database(uri) else None
