"""Names of experiments: validation, listing and pattern matching."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from repro.errors import ParamsError, UnknownNameError
from repro.io.names import ALLOWED, is_plain_name
from repro.params.project import Project

SEED_COPY = re.compile(r"_seed\d+$")  # NAME_seed1, ... of `repro run NAME --seeds`, with the rows of NAME
T = TypeVar("T")
MAX_NAME = 64  # MLflow run names and SLURM job names stay readable


def experiment_names(project: Project) -> list[str]:
    """Return the names of all experiment folders, sorted."""
    folder = str(project.experiments)  # texts: ten thousand paths take 0.2 s longer
    names = os.listdir(folder) if os.path.isdir(folder) else ()
    return sorted(name for name in names if os.path.exists(f"{folder}/{name}/params.yaml"))


def experiment_name(text: str) -> str:
    """Return the name of an experiment given as 'x', 'experiments/x/' or '.' inside its folder."""
    name = _bare(text)
    if len(name) > MAX_NAME or not is_plain_name(name):
        allowed = f"1 to {MAX_NAME} characters, {ALLOWED}"
        raise ParamsError(f"not an experiment name: '{text}'", allowed=allowed)
    return name


def _bare(text: str) -> str:
    return Path(text).resolve().name if text in (".", "./") else text.rstrip("/").removeprefix("experiments/")


def is_pattern(name: str) -> bool:
    """Whether `matching` may find several experiments by it."""
    return any(mark in name for mark in "*?[")


def matching(patterns: Sequence[str], known: Collection[str]) -> list[str]:
    """Return the names in `known` that match any of `patterns` ('camvid_*'), sorted; all without patterns.

    Raises UnknownNameError if a pattern matches none.
    """
    chosen: set[str] = set() if patterns else set(known)
    for pattern in map(_bare, patterns):
        found = [name for name in known if fnmatchcase(name, pattern)]
        if not found:
            raise UnknownNameError("experiment", pattern, known, hint="`repro list` shows all")
        chosen.update(found)
    return sorted(chosen)


def explicitly_named(names: Sequence[str], among: Mapping[str, T]) -> dict[str, T]:
    """Return the entries of `among` whose full name is in `names`, not only matched by a pattern."""
    full = set(map(_bare, names))
    return {name: value for name, value in among.items() if name in full}
