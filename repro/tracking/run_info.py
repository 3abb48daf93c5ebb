"""The run in a journal: name, parameters, metrics, status. This module does not need MLflow."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from repro.io.names import is_plain_name
from repro.params.experiment import kind_of
from repro.records import read_journal
from repro.records.flatten import defaults, flatten


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run as shown in MLflow; `params` may be nested, `tags` are short strings."""

    name: str  # the experiment
    dataset: str
    run_key: str
    split: str = ""  # training split
    dataset_fingerprint: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def start_fields(run: Run) -> dict[str, Any]:
    """Fields of the journal's `run` event; PID and host allow `is_alive` to find its process."""
    return {"run": asdict(run), "pid": os.getpid(), "host": platform.node()}


def read_run(entry: Mapping[str, Any]) -> Run:
    """The run of a `run` event; ValueError for invalid names."""
    run = Run(**entry["run"])
    if not all(map(is_plain_name, (run.name, run.dataset, run.run_key))):
        raise ValueError("invalid name")
    return run


_FORBIDDEN = re.compile(r"[^\w\-. /]")  # in names of MLflow params; arguments of a network may have any name
# Not MLflow params, which are immutable: these may change without a new run.
_NOT_PARAMS = ("name", "rows", "note", "expect", "facts", "also")
# The same of programs: what their run key does not cover. The family and what predicts are tags.
_NOT_IN_KEY = (
    *("external.family", "external.predict.", "external.also.", "external.smoke"),
    *("external.train.timeout", "external.train.log"),
)
# Not params of a training: these may change before its record is written.
_NOT_TRAINING = ("recipe", "start_from", "evaluation", "protocol", "engine")


# Params of every run, though some have a default.
_ALWAYS = ("seed", "recipe", "model.family", "model.backbone", "model.output_stride", "training.precision")


def shown_params(params: Mapping[str, Any]) -> dict[str, str]:
    """MLflow params of a resolved experiment: those that are not the defaults of their dataclass.

    The artifact params.json of a record has all of them.
    """
    shown = flatten({key: value for key, value in params.items() if key not in _NOT_PARAMS})
    kind: Any = kind_of(params)
    usual = defaults(kind)
    kept = {
        name: value
        for name, value in shown.items()
        if not name.startswith(_NOT_IN_KEY) and (name in _ALWAYS or name not in usual or usual[name] != value)
    }
    return {_FORBIDDEN.sub("_", name): str(value) for name, value in kept.items()}


def training_params(params: Mapping[str, Any]) -> dict[str, str]:
    """MLflow params of its training, before there is a record."""
    return shown_params({key: value for key, value in params.items() if key not in _NOT_TRAINING})


Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
Point = tuple[str, int]  # metric, step
# Errors caused by missing, unknown or mistyped fields.
UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, kw_only=True)
class RunState:
    """Content of a journal. Times are in milliseconds since 1970, as in MLflow."""

    run: Run
    status: Status
    started: int
    ended: int | None
    error: str
    pid: int
    provenance: Mapping[str, Any]  # of the training's process, {} in old journals
    points: dict[Point, tuple[float, int]]  # (metric, step) -> (value, time); the last entry wins
    steps: int


def read_state(path: Path) -> RunState | None:
    """State of the run with the journal `path`; None if it has no `run` entry."""
    return state_of(read_journal(path))


def state_of(entries: Sequence[dict[str, Any]]) -> RunState | None:
    """State of the run from journal entries; None without a `run` entry, or for another version's entries."""
    try:
        return _state_of([entry for entry in entries if "kind" in entry])
    except UNREADABLE:
        return None


def _state_of(entries: Sequence[dict[str, Any]]) -> RunState | None:
    starts = [entry for entry in entries if entry["kind"] == "run"]
    if not starts:
        return None
    last = max(index for index, entry in enumerate(entries) if entry["kind"] == "run")
    ends = [entry for entry in entries[last:] if entry["kind"] == "end"]
    points = points_of(entries)
    return RunState(
        run=read_run(starts[-1]),
        status=ends[-1]["status"] if ends else "RUNNING" if is_alive(starts[-1]) else "KILLED",
        started=milliseconds(starts[0]),
        ended=milliseconds(ends[-1]) if ends else milliseconds(entries[-1]),
        error=str(ends[-1].get("error", "")) if ends else "",
        pid=int(starts[-1]["pid"]),
        provenance=next((one.get("found", {}) for one in entries[::-1] if one["kind"] == "provenance"), {}),
        points=points,
        steps=max((step for _, step in points), default=0),
    )


def points_of(entries: Sequence[dict[str, Any]]) -> dict[Point, tuple[float, int]]:
    """Each metric and step once; a resumed run may have written a step twice, and the later entry wins."""
    return {
        (name, int(entry["step"])): (float(value), milliseconds(entry))
        for entry in entries
        if entry["kind"] == "metrics"
        for name, value in entry["values"].items()
    }


def milliseconds(entry: dict[str, Any]) -> int:
    return round(float(entry.get("at", 0.0)) * 1000)


def is_alive(start: dict[str, Any]) -> bool:
    """Whether the process of a `run` event is running; assumed for other machines."""
    import psutil

    if start.get("host") != platform.node():
        return True
    try:
        process = psutil.Process(int(start["pid"]))
        # A process that started after the entry was written only reuses the PID.
        return process.create_time() <= float(start["at"]) + 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
