"""Everything that the numbers of released weights depend on: key of the cached result, kept beside it.

`repro.records.verified` names the differences between two of them.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import time
from typing import Any

from repro.datasets.prepare.prepared_split import Split
from repro.io.json_reader import read_json
from repro.params import Experiment, ExternalExperiment, Project, TrainedExperiment, to_plain
from repro.params.protocol import Protocol, protocol_hash
from repro.records import device_identity, run_key
from repro.records.device import device_name
from repro.records.flatten import drop_neutral_defaults
from repro.records.network import network_origin
from repro.stages.evaluate_program import predict_deps

VERSIONS = ("torch", "torchvision", "numpy", "opencv-python-headless", "pillow")


def network_inputs(
    experiment: TrainedExperiment, split: Split, *, weights: str, device: str
) -> dict[str, Any]:
    """Return what the numbers of a network of this project depend on; `weights` is the hash of the file."""
    plain = to_plain(experiment)
    network = dict(drop_neutral_defaults(plain)["model"])
    package = network_origin(plain["model"]).get("package", "")
    return {
        "weights": weights,
        "network": {key: value for key, value in network.items() if key != "sources"},
        "files": network.get("sources") or {},
        **({"package": package} if package else {}),
        **_of_data(experiment, split),
        "device": device_name(device_identity(device)),
    }


def program_inputs(project: Project, experiment: ExternalExperiment, split: Split) -> dict[str, Any]:
    """Return what the numbers of a program's released weights depend on; the device is not known."""
    weights = experiment.external.weights
    return {
        "weights": weights.sha256 if weights else "",
        "command": experiment.external.predict.command,
        "files": predict_deps(project, experiment),
        **_of_data(experiment, split),
    }


def _of_data(experiment: Experiment, split: Split) -> dict[str, Any]:
    return {
        "protocol": {
            "hash": protocol_hash(experiment.protocol, classes=split.classes),
            **differing(experiment.protocol),
        },
        "data": split.fingerprint,
        "engine": experiment.engine.evaluation,
        "versions": versions(),
    }


def differing(protocol: Protocol) -> dict[str, Any]:
    """Return the fields of a protocol that differ from their default, as JSON types."""
    fields = {f.name: getattr(protocol, f.name) for f in dataclasses.fields(protocol)
              if getattr(protocol, f.name) != f.default}  # fmt: skip
    plain: dict[str, Any] = json.loads(json.dumps(fields, default=dataclasses.asdict))
    return plain


def versions() -> dict[str, str]:
    """Return the versions of the packages that can change a number; those that are not installed left out."""
    found = {}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def kept_metrics(
    project: Project, inputs: Mapping[str, Any], measure: Callable[[Path], object], *, max_age: float
) -> tuple[dict[str, Any], float]:
    """Return metrics.json of what is evaluated and when, from .repro/released or a new evaluation.

    Args:
        project: The project.
        inputs: What the numbers depend on.
        measure: Evaluates and writes metrics.json into a folder, as its last file.
        max_age: Seconds; an older result is evaluated again.

    Returns:
        (metrics, time of the evaluation in seconds since 1970)
    """
    folder = project.cache_folder("released", run_key(inputs))
    path = folder / "metrics.json"
    if not path.is_file() or time() - path.stat().st_mtime >= max_age:
        measure(folder)
    return read_json(path, hint="repeat the command with --fresh"), path.stat().st_mtime
