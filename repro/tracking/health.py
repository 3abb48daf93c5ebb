"""Health check of a tracking store for `repro doctor`: reachable, and compatible with this MLflow."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from repro.errors import StorageError
from repro.params import Project
from repro.tracking.address import (
    first_line,
    is_database,
    require_address,
    shown_address,
    sqlite_path,
    tracking_uri,
)
from repro.tracking.store import CHECK_SECONDS, advice, damage, not_writable, read_only


def store_state(project: Project) -> tuple[str, bool, str]:
    """(address without password, whether the store is usable, else what to do); takes a few seconds."""
    uri = tracking_uri(project)
    try:
        require_address(uri)
    except StorageError as error:
        return shown_address(project), False, f"{error.what}: {error.hint}"
    path = sqlite_path(uri)
    if path is not None:
        wrong = _file_error(path)
    else:
        wrong = _database_error(uri) if is_database(uri) else _server_error(uri)
    return shown_address(project), not wrong, f"{wrong}: {advice(uri)}" if wrong else ""


def _file_error(path: Path) -> str:
    """Why a local store cannot be used or created; "" if it can."""
    if not path.parent.is_dir():
        return "no such folder"
    return (damage(path) or _file_schema_error(path)) if not_writable(path) is None else "no permission"


def _file_schema_error(path: Path) -> str:
    """Why MLflow refuses the tables of a SQLite file; "" if it accepts or creates them."""
    if not path.exists():
        return ""
    try:
        with closing(read_only(path, timeout=CHECK_SECONDS)) as connection:
            found = connection.execute("select version_num from alembic_version").fetchall()
    except sqlite3.Error as error:
        return "" if "no such table" in str(error) or "locked" in str(error) else str(error)
    return schema_error(*(str(version) for (version,) in found))


def schema_error(*versions: str) -> str:
    """Why MLflow refuses these schema versions, since it accepts only its newest; "" if it accepts them."""
    known = _revisions()
    newest = known.keys() - set(known.values())
    if not versions or not newest or set(versions) == newest:
        return ""
    older = known.keys() >= set(versions)
    whose = "an older MLflow" if older else "another MLflow, or of another program"
    return f"its tables are of {whose} (version {', '.join(versions)}, here {', '.join(newest)})"


def _revisions() -> dict[str, str]:
    """Schema version -> previous version, from MLflow's migration files."""
    spec = find_spec("mlflow")
    places = spec.submodule_search_locations if spec else None
    folder = Path(places[0] if places else "") / "store" / "db_migrations" / "versions"
    line = re.compile(r"(?m)^(revision|down_revision)\b[^=\n]*=\s*[\"']?(\w+)")
    found = [dict(line.findall(path.read_text(encoding="utf-8"))) for path in folder.glob("*.py")]
    return {one["revision"]: one.get("down_revision", "") for one in found if "revision" in one}


def _database_error(uri: str) -> str:
    """Why a database cannot be used: missing driver, no connection, other schema; "" if it can."""
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.exc import SQLAlchemyError

    limit = "connect_timeout" if uri.startswith(("postgresql", "mysql")) else "timeout"
    try:
        engine = create_engine(uri, connect_args={limit: CHECK_SECONDS})
        with engine.connect() as connection:
            made = inspect(connection).has_table("alembic_version")
            versions = connection.execute(text("select version_num from alembic_version")) if made else ()
            wrong = schema_error(*(str(version) for (version,) in versions))
        engine.dispose()
    except (SQLAlchemyError, ImportError, ValueError) as error:  # ValueError: invalid port
        return first_line(error)
    return wrong


def _server_error(uri: str) -> str:
    import requests

    try:
        return "" if requests.get(f"{uri.rstrip('/')}/health", timeout=5).ok else "not healthy"
    except requests.RequestException as error:
        return type(error).__name__
