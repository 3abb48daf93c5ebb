"""Runs of a tracking store as a table: ours or other people's, with whatever they logged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

from repro.errors import UnknownNameError
from repro.reports.columns import NUMBER, TEXT, typed, whole
from repro.reports.grid import Grid

if TYPE_CHECKING:
    from pandas import DataFrame

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
    """One row per run, columns named as in MLflow's data frame: metrics.mIoU, params.lr, tags.x.

    `columns` is a comma-separated list of patterns, each of which must mean one; run, experiment and status
    always stay. `dataset` keeps the runs whose experiment, param or tag `dataset` is that name. MLflow's own
    tags are left out.
    """
    shown, kinds = _columns(_of(runs, dataset), columns)
    rows = tuple(tuple(_cell(value) for value in _values(run, kinds)) for run in shown)
    return Grid(title="", columns=tuple(kinds), rows=rows)


def runs_frame(runs: Sequence[AnyRun], *, dataset: str | None = None, columns: str = "*") -> DataFrame:
    """The same as a frame: metrics are numbers, what a run did not log is missing."""
    shown, kinds = _columns(_of(runs, dataset), columns)
    return typed((dict(zip(kinds, _values(run, kinds), strict=True)) for run in shown), kinds)


def runs_json(runs: Sequence[AnyRun], *, dataset: str | None = None, columns: str = "*") -> str:
    """The same as one JSON table, in the form that `repro table` has for others."""
    shown, kinds = _columns(_of(runs, dataset), columns)
    rows = [whole(dict(zip(kinds, _values(run, kinds), strict=True)), kinds) for run in shown]
    return json.dumps([{"title": "", "rows": rows, "notes": []}], indent=2, ensure_ascii=False) + "\n"


def _of(runs: Sequence[AnyRun], dataset: str | None) -> Sequence[AnyRun]:
    if dataset is None:
        return runs
    return [run for run in runs if dataset in (run.experiment, _said(run, "dataset"))]


def _columns(runs: Sequence[AnyRun], columns: str) -> tuple[Sequence[AnyRun], dict[str, str]]:
    """The runs, and the type of each column that `columns` means."""
    patterns = [stripped for pattern in columns.split(",") if (stripped := pattern.strip())]
    keys = _keys(runs)
    if runs:
        _require(patterns, keys)
    wide = sorted(key for key in keys if any(fnmatchcase(key, pattern) for pattern in patterns))
    return runs, {key: NUMBER if key.startswith("metrics.") else TEXT for key in (*_ALWAYS, *wide)}


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


def _values(run: AnyRun, columns: Iterable[str]) -> list[Any]:
    """What a run has in each column; None where it has nothing."""
    known: dict[str, Any] = dict(zip(_ALWAYS, (run.id, run.name, run.experiment, run.status), strict=True))
    for prefix, logged in (("metrics.", run.metrics), ("params.", run.params), ("tags.", run.tags)):
        for key, value in logged.items():
            known[prefix + key] = value
    return [known.get(column) for column in columns]


def _cell(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.10g}"
