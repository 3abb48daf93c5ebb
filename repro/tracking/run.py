"""What a run is called and what it was made from: the first line of every journal.

No MLflow here: a bare GPU node writes this line, and MLflow is fed from it later.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from repro.plain_names import is_plain_name
from repro.records.nested import flatten


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run as MLflow will show it. `params` may be nested; `tags` are short strings."""

    name: str  # the experiment
    dataset: str
    run_key: str
    split: str = ""  # what it trains on
    dataset_fingerprint: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


def start_fields(run: Run) -> dict[str, Any]:
    """Fields of the journal's `run` event; process and machine tell later whether it is still alive."""
    return {"run": asdict(run), "pid": os.getpid(), "host": platform.node()}


def read_run(entry: Mapping[str, Any]) -> Run:
    """The run of a `run` event; ValueError where its names are none."""
    run = Run(**entry["run"])
    if not all(map(is_plain_name, (run.name, run.dataset, run.run_key))):
        raise ValueError("a name in it is none")
    return run


# Names, remarks and further protocols may change without another run, and MLflow's params never can.
_NOT_PARAMS = ("name", "rows", "note", "expect", "facts", "also")


# What may change while the training stays the same: its record says with what it was measured in the end.
_NOT_TRAINING = ("recipe", "start_from", "evaluation", "protocol", "engine")


def shown_params(params: Mapping[str, Any]) -> dict[str, str]:
    """What MLflow shows of a resolved experiment."""
    shown = flatten({key: value for key, value in params.items() if key not in _NOT_PARAMS})
    return {name: str(value) for name, value in shown.items()}


def training_params(params: Mapping[str, Any]) -> dict[str, str]:
    """What MLflow shows of it before there is a record."""
    return shown_params({key: value for key, value in params.items() if key not in _NOT_TRAINING})
