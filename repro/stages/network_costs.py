"""The cost of every network of a project, in reports/cost.json: counted from shapes, measured on a device.

Experiments with the same network and input size are counted and measured once. Neither data nor weights are
needed. What a program runs is not known, so that experiments of programs have no entry.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from repro.errors import ParamsError, ReproError
from repro.evaluation.benchmark import benchmark
from repro.io.sources import trust
from repro.models import build
from repro.models.cost import cost_values
from repro.params import Broken, Project, TrainedExperiment, experiment_names, load_experiment, read_each
from repro.params.experiment import num_classes
from repro.params.input_size import input_size
from repro.params.protocol import Protocol
from repro.params.reference import NetworkParams
from repro.records.cost_file import NetworkCost, network_key, read_costs, write_costs

SECONDS, WARM_UP, AT_LEAST, FOR_P95 = 10.0, 2, 3, 20  # per network: seconds, runs, runs; runs that p95 needs
START = 8.0  # seconds, about: a process that imports torch and builds a network
PER_GMAC = 0.02  # seconds, a guess for the first network; then as measured
MEASURED = (
    *("latency_ms_p50", "latency_ms_p95", "latency_ms_mean", "images_per_s", "peak_memory_MiB"),
    *("runs", "batch", "precision", "device"),
)


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network to count or measure: its parameters, classes, and input (height, width)."""

    model: NetworkParams
    classes: int
    size: tuple[int, int]


def networks_of(project: Project) -> tuple[dict[str, Network], dict[str, tuple[str, ...]], Broken]:
    """Return the networks by key, the experiments of each, and experiments that cannot be read."""
    found, broken = read_each(experiment_names(project), lambda name: load_experiment(project, name))
    networks: dict[str, Network] = {}
    names: dict[str, tuple[str, ...]] = {}
    for name, one in found.items():
        if isinstance(one, TrainedExperiment):
            key = network_key(one)
            networks.setdefault(key, network_of(one))
            names[key] = (*names.get(key, ()), name)
    return networks, names, broken


def network_of(experiment: TrainedExperiment) -> Network:
    """Return the network of an experiment at its input size."""
    classes = num_classes(experiment, experiment.protocol)
    return Network(model=experiment.model, classes=classes, size=input_size(experiment))


def count_networks(project: Project) -> tuple[dict[str, NetworkCost], Broken]:
    """Return the content that reports/cost.json should have: every network counted, measured parts kept.

    The second value holds the experiments that cannot be read, and those whose network cannot be built; what
    the file has of them is kept.
    """
    trust(project.root)
    networks, names, broken = networks_of(project)
    known = read_costs(project.costs)
    counted, failed = read_each(list(networks), lambda key: _counted(networks[key]))
    costs = {
        key: NetworkCost(
            experiments=names[key], counted=values, measured=known[key].measured if key in known else {}
        )
        for key, values in counted.items()
    }
    broken |= {name: error for key, error in failed.items() for name in names[key]}
    kept = {key: one for key, one in known.items() if broken.keys() & set(one.experiments)}
    return kept | costs, broken


def _counted(network: Network) -> dict[str, Any]:
    return cost_values(network.model, network.classes, network.size)


def stale_networks(project: Project, costs: Mapping[str, NetworkCost]) -> list[str]:
    """Return the first experiment of each network whose entry in reports/cost.json is not that of `costs`."""
    stored = read_costs(project.costs)
    changed = [one for key, one in costs.items() if key not in stored or not _same(stored[key], one)]
    gone = [one for key, one in stored.items() if key not in costs]
    return [one.experiments[0] for one in (*changed, *gone) if one.experiments]


def _same(stored: NetworkCost, counted: NetworkCost) -> bool:
    return (stored.experiments, dict(stored.counted)) == (counted.experiments, dict(counted.counted))


def measure_networks(
    project: Project,
    *,
    minutes: float | None,
    device: str,
    said: Callable[[str, NetworkCost | ReproError], None],
) -> tuple[int, int]:
    """Measure networks that have no measurement yet, the cheapest first; each is saved at once.

    Args:
        project: The project; its reports/cost.json must be counted.
        minutes: No network is started that would take longer than what is left of them; None: all.
        device: Device to measure on.
        said: Called with an experiment of each network and its cost, or the error.

    Returns:
        How many networks were measured now, and how many have no measurement yet.
    """
    networks, _, _ = networks_of(project)
    end = None if minutes is None else time.monotonic() + 60 * minutes
    done, pace = 0, PER_GMAC
    for key in _unmeasured(project):
        stored = read_costs(project.costs)
        gmacs = float(stored[key].counted["gmacs_conv"])
        if end is not None and time.monotonic() + _expected(gmacs, pace) > end:
            break
        try:
            measured = in_own_process(project.root, networks[key], device)
        except ReproError as error:
            said(stored[key].experiments[0], error)
            continue
        pace = measured["latency_ms_mean"] / 1000 / gmacs
        stored[key] = replace(stored[key], measured=measured)
        write_costs(project.costs, stored)
        done += 1
        said(stored[key].experiments[0], stored[key])
    return done, len(list(_unmeasured(project)))


def _unmeasured(project: Project) -> Iterator[str]:
    """Keys of the networks without a measurement, the cheapest first."""
    stored = read_costs(project.costs)
    cheapest = sorted(stored, key=lambda key: (stored[key].counted["gmacs_conv"], key))
    yield from (key for key in cheapest if not stored[key].measured)


def _expected(gmacs: float, pace: float) -> float:
    """Seconds that the measurement of a network takes, about; `pace` is seconds per GMAC."""
    one = gmacs * pace
    return START + WARM_UP * one + max(AT_LEAST * one, SECONDS)


def in_own_process(root: Path, network: Network, device: str) -> dict[str, Any]:
    """Measure a network in a new process, whose peak memory is that of this network alone.

    Raises:
        ParamsError: the process was ended, as by a system that is out of memory; or the network failed.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measure, root, network, device).result()
        except BrokenProcessPool as error:
            hint = "it needs more memory than there is: measure it on another machine"
            raise ParamsError("the process that measured was ended", hint=hint) from error


def measure(root: Path, network: Network, device: str) -> dict[str, Any]:
    """Return latency, images per second and peak memory of a network in fp32, of single images.

    The 95th percentile is left out below FOR_P95 runs, which networks of seconds per image do not reach.
    """
    trust(root)
    found = benchmark(
        build(network.model, num_classes=network.classes),
        model_params=network.model,
        num_classes=network.classes,
        protocol=Protocol(mode="whole"),
        input_size=network.size,
        device=device,
        seconds=SECONDS,
        warm_up=WARM_UP,
        at_least=AT_LEAST,
    )
    kept = {key: found[key] for key in MEASURED}
    return kept if found["runs"] >= FOR_P95 else {k: v for k, v in kept.items() if k != "latency_ms_p95"}
