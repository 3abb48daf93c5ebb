"""reports/cost.json: the cost of every network of a project, counted from shapes and measured on a device.

    {"networks": {KEY: {"experiments": [NAME, ...], "counted": {...}, "measured": {...}}}}

KEY is the hash of network, classes and input size: experiments that share a network share its entry, and an
entry of a network that params.yaml has changed since is not used. `counted` and `measured` have the keys of
cost.json; `measured` is absent until `repro cost --all --measure` has reached the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repro.errors import RecordError
from repro.io.atomic import run_key, write_json
from repro.io.json_reader import read_json
from repro.params.experiment import TrainedExperiment, num_classes
from repro.params.input_size import input_size
from repro.params.parse import to_plain
from repro.records.flatten import drop_neutral_defaults
from repro.records.schema import Cost, require

WITHOUT_EFFECT = ("pretrained", "pretrained_args", "init")  # on the cost of a network
HINT = "`repro cost --all` writes it again"


@dataclass(frozen=True, kw_only=True)
class NetworkCost:
    """A network at an input size: the experiments that have it, and its cost."""

    experiments: tuple[str, ...]
    counted: Mapping[str, Any]
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """Counted and measured values with the keys of cost.json."""
        return {**self.counted, **self.measured}

    def to_plain(self) -> dict[str, Any]:
        plain = {"experiments": list(self.experiments), "counted": dict(self.counted)}
        return plain | ({"measured": dict(self.measured)} if self.measured else {})


def network_key(experiment: TrainedExperiment) -> str:
    """Return the hash of everything that the cost of an experiment's network depends on."""
    model = drop_neutral_defaults({"model": to_plain(experiment.model)})["model"]
    network = {name: value for name, value in model.items() if name not in WITHOUT_EFFECT}
    classes, size = num_classes(experiment, experiment.protocol), list(input_size(experiment))
    return run_key({"network": network, "classes": classes, "size": size})


def read_costs(path: Path) -> dict[str, NetworkCost]:
    """Return the networks of reports/cost.json by key, none without the file. Raises RecordError."""
    if not path.is_file():
        return {}
    raw = read_json(path, error=RecordError, hint=HINT)
    try:
        found = {key: _network(one) for key, one in raw["networks"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"not a file of costs: {type(error).__name__}: {error}"
        raise RecordError(what[:300], where=path, hint=HINT) from None
    for one in found.values():
        require(Cost, one.values, path, hint=HINT)
    return found


def _network(raw: Mapping[str, Any]) -> NetworkCost:
    measured = raw.get("measured", {})
    return NetworkCost(
        experiments=tuple(map(str, raw["experiments"])), counted={**raw["counted"]}, measured={**measured}
    )


def write_costs(path: Path, networks: Mapping[str, NetworkCost]) -> None:
    """Write reports/cost.json, the entries in the order of their first experiments."""
    listed = sorted(networks.items(), key=lambda one: one[1].experiments)
    write_json(path, {"networks": {key: one.to_plain() for key, one in listed}})
