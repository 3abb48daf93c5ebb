"""Runs of a tracking store as a table: ours or other people's, with whatever they logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Protocol

from repro.errors import UnknownNameError
from repro.reports.grid import Grid

_ALWAYS = ("run_id", "name", "experiment", "status")


class AnyRun(Protocol):
    """What is needed of a run."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def experiment(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...
    @property
    def params(self) -> Mapping[str, str]: ...
    @property
    def tags(self) -> Mapping[str, str]: ...


def runs_table(runs: Sequence[AnyRun], *, dataset: str | None = None, columns: str = "*") -> Grid:
    """One row a run, columns named as in MLflow's data frame: metrics.mIoU, params.lr, tags.x.

    `columns` is a comma-separated list of patterns, each of which must mean one; run, experiment and status
    always stay. `dataset` keeps the runs whose experiment, param or tag `dataset` is that name. MLflow's own
    tags are left out.
    """
    if dataset is not None:
        runs = [run for run in runs if dataset in (run.experiment, _said(run, "dataset"))]
    patterns = [stripped for pattern in columns.split(",") if (stripped := pattern.strip())]
    keys = _keys(runs)
    if runs:
        _require(patterns, keys)
    wide = sorted(key for key in keys if any(fnmatchcase(key, pattern) for pattern in patterns))
    places = {key: place for place, key in enumerate(wide, len(_ALWAYS))}
    rows = tuple(_row(run, places) for run in runs)
    return Grid(title="", columns=(*_ALWAYS, *wide), rows=rows)


def _require(patterns: Sequence[str], keys: set[str]) -> None:
    """UnknownNameError for a pattern that means no column at all; `*` may mean none."""
    known = {*_ALWAYS, *keys}
    for pattern in patterns:
        if pattern != "*" and not any(fnmatchcase(key, pattern) for key in known):
            raise UnknownNameError("column", pattern, known)


def _said(run: AnyRun, key: str) -> str | None:
    return run.params.get(key) or run.tags.get(key)


def _keys(runs: Sequence[AnyRun]) -> set[str]:
    metrics, params, tags = set[str](), set[str](), set[str]()
    for run in runs:
        metrics.update(run.metrics)
        params.update(run.params)
        tags.update(run.tags)
    own_tags = (f"tags.{key}" for key in tags if not key.startswith("mlflow."))
    return {*(f"metrics.{key}" for key in metrics), *(f"params.{key}" for key in params), *own_tags}


def _row(run: AnyRun, places: Mapping[str, int]) -> tuple[str, ...]:
    cells = [run.id, run.name, run.experiment, run.status, *[""] * len(places)]
    for prefix, values in (("metrics.", run.metrics), ("params.", run.params), ("tags.", run.tags)):
        for key, value in values.items():
            place = places.get(prefix + key)
            if place is not None:
                cells[place] = value if isinstance(value, str) else f"{value:.10g}"
    return tuple(cells)
