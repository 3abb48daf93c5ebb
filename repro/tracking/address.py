"""Addresses of tracking stores: where one is, and which ones can be none.

An address is always explicit: MLFLOW_TRACKING_URI, or `mlflow.db` in the project. A stray `mlruns/` in the
working folder would otherwise make MLflow 3.17 choose the file store, and fail.
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
    """The address of the tracking store: MLFLOW_TRACKING_URI, or sqlite in the project folder."""
    return with_driver(_typed_uri(project))


def _typed_uri(project: Project) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI", "").strip() or sqlite_uri(project.root / "mlflow.db")


def sqlite_uri(path: Path) -> str:
    """The address of a sqlite file, whatever characters its folders have.

    A driver is named where one is escaped: of a plain address MLflow makes the folders, with %20 as a name.
    """
    escaped = re.sub(r"[^\w/.~ -]", lambda found: quote(found[0], errors="surrogateescape"), str(path))
    return f"sqlite:///{escaped}" if escaped == str(path) else f"sqlite+pysqlite:///{escaped}"


def shown_address(project: Project) -> str:
    """The store's address as it was given, without its secrets."""
    return redact_uri(_typed_uri(project))


def with_driver(uri: str) -> str:
    """A PostgreSQL address that names no driver, with the one that is installed.

    SQLAlchemy takes one of two for it, psycopg since 2.1 and psycopg2 before, whichever is there.
    """
    installed = [name for name in ("psycopg", "psycopg2") if find_spec(name)]
    if not installed or not uri.startswith("postgresql://"):
        return uri
    return uri.replace("postgresql://", f"postgresql+{installed[0]}://", 1)


def require_address(uri: str) -> None:
    """StorageError unless `uri` can be the address of a database or a server."""
    try:
        unquote(uri, errors="strict").encode()
        (_require_database if is_database(uri) else _require_server)(uri)
    except UnicodeError:
        what, hint = "MLflow takes no store whose folder has a name that is no UTF-8", "rename the folder"
        where = ascii(redact_uri(uri))
        raise StorageError(what, where=where, hint=f"{hint}, or set MLFLOW_TRACKING_URI") from None
    except ValueError as error:
        what = f"not the address of an MLflow store: {first_line(error)}"
        hint = f"correct it, or unset MLFLOW_TRACKING_URI: then it is {LOCAL}"
        raise StorageError(what, where=redact_uri(uri), allowed=ADDRESSES, hint=hint) from None


def _require_database(uri: str) -> None:
    """ValueError for an address that SQLAlchemy cannot read."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import SQLAlchemyError

    try:
        found = make_url(uri)
    except SQLAlchemyError as error:
        raise ValueError(first_line(error)) from None
    if found.database is None and found.get_backend_name() == "sqlite":
        raise ValueError("it names no file")


def _require_server(uri: str) -> None:
    """ValueError for an address that no server can have."""
    if not re.match(r"(?i)https?://[^\s]+$", uri):
        raise ValueError("it begins neither with http:// nor with a database's name")
    parts = urlsplit(uri)
    if not parts.hostname:
        raise ValueError("it names no host")
    if parts.port == 0:  # `port` itself raises for one that is no number, or above 65535
        raise ValueError("port 0")
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise ValueError(f"no host can have the name '{parts.hostname[:60]}'") from None


def is_database(uri: str) -> bool:
    """True for sqlite, postgresql, mysql, mssql addresses, which a client opens itself."""
    return uri.split(":", 1)[0].split("+")[0] in {"sqlite", "postgresql", "mysql", "mssql"}


def sqlite_path(uri: str) -> Path | None:
    """The file behind a sqlite address, None for every other address; as SQLAlchemy reads it."""
    found = re.match(r"(?s)sqlite(?:\+\w+)?:///([^?]*)", uri)
    return Path(unquote(found[1], errors="surrogateescape")) if found and found[1] else None


def first_line(error: Exception) -> str:
    """What a library says of a store, without its secrets, on one line."""
    return redact_text(str(error)).partition("\n")[0][:200]
