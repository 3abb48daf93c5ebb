"""Owners of runs: several projects, and several clones of a project, may share an MLflow server.

A clone changes and deletes only its own runs. The project's id is in git (params.yaml: tracking), the clone's
id in `.repro`, which git ignores, so a training resumed on another node of a cluster has the same owner.
"""

from __future__ import annotations

import json
import os
import platform
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from repro.errors import ParamsError
from repro.io.locks import user
from repro.params import Project, parse, read_yaml
from repro.records import locked, sha256_text, write_json
from repro.tracking.tags import CLONE, MACHINE, PROJECT, USER

PREFIX = "REPRO_MLFLOW_PREFIX"


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """`tracking:` of the root params.yaml."""

    project: str = ""  # id of this project on a shared server
    prefix: str = ""  # prefix of the names of its experiments and models


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A clone of a project."""

    project: str
    clone: str

    @property
    def tags(self) -> dict[str, str]:
        """Tags of a run of this clone, on this machine."""
        return {PROJECT: self.project, CLONE: self.clone, MACHINE: platform.node(), USER: user()}

    def owns(self, run: Any) -> bool:
        """Whether an MLflow run belongs to this clone."""
        return bool(run.data.tags.get(CLONE) == self.clone)


def tracking_params(project: Project) -> Tracking:
    """`tracking:` of params.yaml, with the prefix of the environment; ParamsError for invalid values."""
    changed = project.params.stat().st_mtime_ns if project.params.is_file() else 0
    return _tracking_params(project.params, changed, os.environ.get(PREFIX))


@lru_cache  # read for every run that is sent
def _tracking_params(path: Path, changed: int, prefix: str | None) -> Tracking:
    found = read_yaml(path).get("tracking") or {}
    where = "params.yaml: tracking"
    if not isinstance(found, Mapping):
        raise ParamsError("expected a mapping of keys to values", where=where, allowed="project, prefix")
    chosen = {} if prefix is None else {"prefix": prefix}
    params = parse(Tracking, {**found, **chosen}, where)
    for name, value in vars(params).items():
        if not re.fullmatch(r"[\w./ -]{0,80}", value):
            allowed = "up to 80 letters, digits, spaces, . / _ and -"
            raise ParamsError(f"invalid '{name}': '{value[:80]}'", where=where, allowed=allowed)
    return params


def owner_of(project: Project) -> Owner:
    """Owner of runs sent from this clone; a project without an id uses the clone's id."""
    clone = _clone_id(project.root)
    return Owner(project=tracking_params(project).project or clone, clone=clone)


def _clone_id(root: Path) -> str:
    """Id of the clone at `root`, created at its first use; a copy of an existing clone gets another id."""
    path = root / ".repro" / "clone.json"
    if own := _stored_id(path):
        return own
    try:
        with locked(path.with_name("clone.lock"), "this clone gets its id", timeout=60.0):
            own = _stored_id(path) or uuid.uuid4().hex[:16]
            write_json(path, {"id": own, "path": str(root.resolve())})
    except OSError:  # a read-only clone is identified by its path
        own = sha256_text(f"{platform.node()}:{root.resolve()}")[:16]
    return own


def _stored_id(path: Path) -> str:
    """The id stored for this folder, which may have been moved; "" without one, or for a copied folder."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        own, place = str(found["id"]), Path(str(found["path"]))
        if not re.fullmatch(r"[0-9a-f]{16}", own):  # it is used in search filters
            return ""
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    copied = place != path.parent.parent.resolve() and (place / ".repro" / path.name).is_file()
    return "" if copied else own
