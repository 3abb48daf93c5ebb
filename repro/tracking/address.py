"""Addresses of tracking stores: defaults and validation.

The address is always explicit, MLFLOW_TRACKING_URI or `mlflow.db` in the project, because a `mlruns/` in the
working folder makes MLflow 3.17 choose the file store and fail.
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from repro.errors import StorageError
from repro.io.redact import redact_text, redact_uri
from repro.params import Project

ADDRESSES = "sqlite:///FILE, postgresql://, mysql://, mssql:// or a server's http://, https://"
LOCAL = "mlflow.db in the project"


def tracking_uri(project: Project) -> str:
    """Address of the tracking store: MLFLOW_TRACKING_URI, or SQLite in the project folder."""
    return with_driver(_typed_uri(project))


def _typed_uri(project: Project) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI", "").strip() or sqlite_uri(project.root / "mlflow.db")


def sqlite_uri(path: Path) -> str:
    """Address of a SQLite file whose path may contain any characters.

    Escaped addresses name a driver, because MLflow creates the folders of plain ones without unescaping them.
    """
    escaped = re.sub(r"[^\w/.~ -]", lambda found: quote(found[0], errors="surrogateescape"), str(path))
    return f"sqlite:///{escaped}" if escaped == str(path) else f"sqlite+pysqlite:///{escaped}"


def shown_address(project: Project) -> str:
    """The store's address as it was given, without its secrets."""
    return redact_uri(_typed_uri(project))


def with_driver(uri: str) -> str:
    """Add the installed driver to a PostgreSQL address without one.

    SQLAlchemy's default depends on its version: psycopg since 2.1, psycopg2 before.
    """
    installed = [name for name in ("psycopg", "psycopg2") if find_spec(name)]
    if not installed or not uri.startswith("postgresql://"):
        return uri
    return uri.replace("postgresql://", f"postgresql+{installed[0]}://", 1)


def require_address(uri: str) -> None:
    """Raise StorageError unless `uri` is a valid address of a database or a server."""
    try:
        unquote(uri, errors="strict").encode()
        (_require_database if is_database(uri) else _require_server)(uri)
    except UnicodeError:
        what, hint = "MLflow does not support folders whose name is not UTF-8", "rename the folder"
        where = ascii(redact_uri(uri))
        raise StorageError(what, where=where, hint=f"{hint}, or set MLFLOW_TRACKING_URI") from None
    except ValueError as error:
        what = f"not the address of an MLflow store: {first_line(error)}"
        hint = f"correct it, or unset MLFLOW_TRACKING_URI to use {LOCAL}"
        raise StorageError(what, where=redact_uri(uri), allowed=ADDRESSES, hint=hint) from None


def _require_database(uri: str) -> None:
    """Raise ValueError for an address that SQLAlchemy cannot parse."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        found = make_url(uri)
    except SQLAlchemyError as error:
        raise ValueError(first_line(error)) from None
    if found.database is None and found.get_backend_name() == "sqlite":
        raise ValueError("it has no file name")


def _require_server(uri: str) -> None:
    """Raise ValueError for an invalid address of a server."""
    if not re.match(r"(?i)https?://[^\s]+$", uri):
        raise ValueError("expected http://, https:// or a database's scheme")
    parts = urlsplit(uri)
    if not parts.hostname:
        raise ValueError("it has no host name")
    if parts.port == 0:  # `port` raises ValueError for a port that is not a number, or above 65535
        raise ValueError("port 0")
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise ValueError(f"invalid host name '{parts.hostname[:60]}'") from None


def is_database(uri: str) -> bool:
    """Whether `uri` is a database (sqlite, postgresql, mysql, mssql), which the client opens directly."""
    return uri.split(":", 1)[0].split("+")[0] in {"sqlite", "postgresql", "mysql", "mssql"}


def sqlite_path(uri: str) -> Path | None:
    """File of a SQLite address as SQLAlchemy parses it; None for other addresses."""
    found = re.match(r"(?s)sqlite(?:\+\w+)?:///([^?]*)", uri)
    return Path(unquote(found[1], errors="surrogateescape")) if found and found[1] else None


def first_line(error: Exception) -> str:
    """First line of a library's error message, without secrets."""
    return redact_text(str(error)).partition("\n")[0][:200]
