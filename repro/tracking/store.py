"""Where MLflow keeps its runs, and a client for it that is safe to open from many processes at once.

The address is always explicit: MLFLOW_TRACKING_URI, or `mlflow.db` in the project. A stray `mlruns/` in the
working folder would otherwise make MLflow 3.17 choose the file store, and fail.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock

from repro.errors import StorageError
from repro.params import Project
from repro.records.secrets import shown_uri, without_secrets

PAGE = 1000
KEY = "repro.run_key"  # the tag that says which training a run shows
CHECK_SECONDS = 3  # for `repro doctor`, which must not hang
CREATE_SECONDS = 900  # seconds to migrate a fresh database, minutes on a loaded machine, and others wait too


def tracking_uri(project: Project) -> str:
    """The address of the tracking store: MLFLOW_TRACKING_URI, or sqlite in the project folder."""
    return with_driver(_typed_uri(project))


def _typed_uri(project: Project) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project.root / 'mlflow.db'}"


def shown_address(project: Project) -> str:
    """The store's address as it was given, without its secrets."""
    return shown_uri(_typed_uri(project))


def with_driver(uri: str) -> str:
    """A PostgreSQL address that names no driver, with the one that is installed.

    SQLAlchemy takes one of two for it, psycopg since 2.1 and psycopg2 before, whichever is there.
    """
    installed = [name for name in ("psycopg", "psycopg2") if find_spec(name)]
    if not installed or not uri.startswith("postgresql://"):
        return uri
    return uri.replace("postgresql://", f"postgresql+{installed[0]}://", 1)


def open_client(project: Project, uri: str | None = None) -> Any:
    """An MlflowClient for the project's store; a local database is created under a file lock.

    Of six processes that open a fresh sqlite store at once five would crash in its migrations. The lock
    serialises the first use and costs nothing afterwards.
    """
    uri = with_driver(uri) if uri else tracking_uri(project)
    quiet()
    from mlflow import MlflowClient

    if not is_database(uri):
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    lock = project.root / ".repro" / "mlflow.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=CREATE_SECONDS):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)  # the first query is what creates the tables
        client.search_registered_models(max_results=1)
    return client


@contextmanager
def usable(uri: str) -> Iterator[None]:
    """What MLflow and its libraries raise over a store, as a StorageError with a way out."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    require_address(uri)
    try:
        yield
    except (MlflowException, SQLAlchemyError, ImportError) as error:  # a driver may be missing as well
        raise refusal(uri, error) from None


def require_address(uri: str) -> None:
    """StorageError where the address of a database cannot be read: its port is no number."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        if is_database(uri):
            make_url(uri)
    except (SQLAlchemyError, ValueError) as error:
        raise refusal(uri, error) from None


def refusal(uri: str, error: Exception) -> StorageError:
    """What a store's library raised, with what to do about this store."""
    return StorageError(
        f"MLflow's store cannot be used: {_first_line(error)}", where=shown_uri(uri), hint=advice(uri)
    )


def _first_line(error: Exception) -> str:
    return without_secrets(str(error)).partition("\n")[0][:200]


def advice(uri: str) -> str:
    """What to do about a store that cannot be used: only a local file can be made anew."""
    path = sqlite_path(uri)
    if path is None:
        needed = "check its address, driver and server" if is_database(uri) else "start the server"
        return f"{needed}, or unset MLFLOW_TRACKING_URI; `repro sync` brings over what it missed"
    if not path.parent.is_dir():
        return "make its folder, or unset MLFLOW_TRACKING_URI"
    if (closed := _not_writable(path)) is not None:
        return f"make the {'file' if closed == path else 'folder'} {closed.name} writable"
    again = "" if damage(path) else "repeat it once no other program uses it and the disk has room; "
    return f"{again}`repro sync --rebuild` makes it anew from the records in git and keeps this file"


def _not_writable(path: Path) -> Path | None:
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


def own_runs(client: Any) -> Iterator[Any]:
    """Every active run that carries a run key, of all data sets."""
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


def is_database(uri: str) -> bool:
    """True for sqlite, postgresql, mysql, mssql addresses, which a client opens itself."""
    return uri.split(":", 1)[0].split("+")[0] in {"sqlite", "postgresql", "mysql", "mssql"}


def sqlite_path(uri: str) -> Path | None:
    """The file behind a sqlite address, None for every other address."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def artifact_location(project: Project, uri: str, dataset: str) -> str | None:
    """Folder for artifacts of a local store; None lets a server choose."""
    return (project.root / "mlartifacts" / dataset).as_uri() if is_database(uri) else None


def store_state(project: Project) -> tuple[str, bool, str]:
    """(address without password, whether it answers, what to do when it does not); takes a few seconds."""
    uri = tracking_uri(project)
    path = sqlite_path(uri)
    if path is not None:
        wrong = _file_trouble(path)
    else:
        wrong = _no_connection(uri) if is_database(uri) else _no_server(uri)
    return shown_address(project), not wrong, f"{wrong}: {advice(uri)}" if wrong else ""


def _file_trouble(path: Path) -> str:
    """Why a local store could not be used, or made where there is none yet."""
    if not path.parent.is_dir():
        return "no such folder"
    return damage(path) if _not_writable(path) is None else "no permission"


def _no_connection(uri: str) -> str:
    """Why a database cannot be reached: its driver is missing, or nothing answers."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    limit = "connect_timeout" if uri.startswith(("postgresql", "mysql")) else "timeout"
    try:
        engine = create_engine(uri, connect_args={limit: CHECK_SECONDS})
        engine.connect().close()
        engine.dispose()
    except (SQLAlchemyError, ImportError, ValueError) as error:  # ValueError: a port that is no number
        return _first_line(error)
    return ""


def _no_server(uri: str) -> str:
    import requests

    try:
        return "" if requests.get(f"{uri.rstrip('/')}/health", timeout=5).ok else "not healthy"
    except requests.RequestException as error:
        return type(error).__name__
