"""Choose which experiments to run, cheapest first within a budget, and estimate their duration.

Work is counted in GFLOP: 2 per multiply-accumulate, with three forward passes per training sample (one
forward, two backward). The speed is measured from trainings in `.repro/work` with the same backbone (a
MobileNet's depthwise convolutions reach a quarter of a DenseNet's GFLOP/s), or else a cautious default.
Completed iterations of stopped trainings are subtracted.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any

from repro.errors import ParamsError
from repro.io.sources import trust
from repro.params import (
    DatasetFacts,
    Experiment,
    ExternalExperiment,
    Project,
    TrainedExperiment,
    load_experiment,
    parse,
    to_plain,
)
from repro.params.reference import NetworkParams, parse_network
from repro.records import read_journal
from repro.reports.results import load_results
from repro.tracking.run_info import UNREADABLE, read_state
from repro.training.schedule import length_of


def plan(
    project: Project,
    names: Sequence[str],
    *,
    speed: Callable[[Experiment], float],
    refused: Callable[[str, ParamsError], None] | None = None,
    budget: float | None = None,
    jobs: int = 1,
    again: bool = False,
) -> tuple[list[Estimate], list[Estimate]]:
    """Estimate and order experiments, and select those that fit the budget.

    Args:
        project: the project.
        names: experiments to choose from.
        speed: GFLOP/s in fp32 for an experiment.
        refused: called for experiments that cannot run, if there are several.
        budget: seconds of wall time.
        jobs: number of parallel jobs.
        again: include experiments with an up-to-date record.

    Returns:
        (experiments to run in this order, experiments that do not fit).
    """
    measured = frozenset() if again else up_to_date(project)
    left = [name for name in names if name not in measured]
    trust(project.root)  # counting a network by reference runs its code
    done, lasted, costs = progress(project), durations(project), list[Estimate]()
    for name in left:
        try:
            experiment = load_experiment(project, name)
            if isinstance(experiment, ExternalExperiment):
                costs.append(of_program(experiment, lasted.get(experiment.name), speed=speed(experiment)))
                continue
            costs.append(estimate(experiment, speed=speed(experiment), done_iterations=done(experiment)))
        except ParamsError as error:
            if refused is None or len(names) == 1:
                raise
            refused(name, error)
    costs.sort(key=lambda one: (not one.known, one.seconds, one.name))
    if budget is None:
        return costs, []
    free, fitting = [0.0] * jobs, []
    for one in costs:
        place = free.index(min(free))
        if one.known and free[place] + one.seconds <= budget:
            free[place] += one.seconds
            fitting.append(one)
    return fitting, [one for one in costs if one not in fitting]


def up_to_date(project: Project) -> frozenset[str]:
    """Experiments whose record matches their current params.yaml."""
    results = load_results(project)
    return frozenset(name for name in results.records if not results.judge.outdated(name))


# GFLOP/s of a training step in fp32. CPU: 95 per core, from a DenseNet of page 003 at 321x321 (10 GFLOP
# forward) that took 0.16 s per sample on two cores, and 0.078 s in bf16. GPU: a guess until one is measured.
CPU_CORE_SPEED, GPU_SPEED = 95.0, 3000.0
BF16_GAIN = 2.0
FASTEST = 1e6  # GFLOP/s; faster than any device, so the clock was changed
FORWARD_PASSES = 3  # cost of a training sample, in forward passes


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Cost of an experiment: training samples, total GFLOP, remaining seconds at `speed`.

    `known` is False for programs that were never run here: they come last, and fit no budget.
    """

    name: str
    samples: int
    gflop: float
    seconds: float
    speed: float  # GFLOP/s in fp32
    done: float = 0.0  # completed fraction of the training, 0 to 1
    known: bool = True  # whether `seconds` is an estimate at all


def estimate(experiment: Experiment, *, speed: float, done_iterations: int = 0) -> Estimate:
    """Estimate the cost of training `experiment`; `speed` is in GFLOP/s in fp32."""
    if experiment.cost_only or not isinstance(experiment, TrainedExperiment):
        return Estimate(name=experiment.name, samples=0, gflop=0.0, seconds=0.0, speed=speed)
    params = experiment.training
    iterations = length_of(experiment).iterations
    samples = iterations * params.batch
    macs = _gmacs(experiment.model, experiment.facts.num_classes, experiment.augmentation.crop)
    gflop = 2 * macs * FORWARD_PASSES * samples
    done = min(done_iterations / iterations, 1.0)
    seconds = (1 - done) * gflop / (speed * gain(params.precision))
    return Estimate(
        name=experiment.name, samples=samples, gflop=gflop, seconds=seconds, speed=speed, done=done
    )


def of_program(experiment: ExternalExperiment, lasted: float | None, *, speed: float) -> Estimate:
    """Estimate an experiment of programs by the seconds that its last training took; None without one."""
    known, seconds = lasted is not None, lasted or 0.0
    return Estimate(name=experiment.name, samples=0, gflop=0.0, seconds=seconds, speed=speed, known=known)


def durations(project: Project) -> dict[str, float]:
    """Experiment -> seconds of its last complete training in this clone, from the journals."""
    states = [read_state(path) for path in project.work.glob("*/journal.jsonl")]
    ended = [state for state in states if state and state.status == "FINISHED" and state.ended is not None]
    ended.sort(key=lambda state: state.ended or 0)
    return {state.run.name: ((state.ended or 0) - state.started) / 1000 for state in ended}


@cache
def _gmacs(model: NetworkParams, classes: int, size_HW: tuple[int, int]) -> float:
    """Multiply-accumulates of one forward pass in 1e9; cached, since many rows share a network."""
    from repro.models.cost import count

    return count(model, classes, size_HW).gmacs_conv


def gain(precision: str) -> float:
    """Speed-up relative to fp32."""
    return 1.0 if precision == "fp32" else BF16_GAIN


def speeds(project: Project, device: str) -> Callable[[Experiment], float]:
    """GFLOP/s in fp32 for an experiment, measured from local trainings on `device` ("cpu", "cuda")."""
    trust(project.root)
    seen: dict[str, list[float]] = defaultdict(list)
    for path in project.work.glob("*/journal.jsonl"):
        measured = _measured(read_journal(path), device)
        if measured:
            seen[measured[0]].append(measured[1])
    default = GPU_SPEED if device.startswith("cuda") else CPU_CORE_SPEED * (os.cpu_count() or 1)

    def speed(experiment: Experiment) -> float:
        kind = _kind(to_plain(experiment.model)) if isinstance(experiment, TrainedExperiment) else ""
        return median(seen.get(kind, [default]))

    return speed


def progress(project: Project) -> Callable[[Experiment], int]:
    """Completed iterations of a stopped training with an experiment's parameters, 0 without one."""
    states = [read_state(path) for path in project.work.glob("*/journal.jsonl")]
    held = {state.run.name: state for state in states if state and state.status in ("KILLED", "FAILED")}

    def done(experiment: Experiment) -> int:
        state = held.get(experiment.name)
        return state.steps if state and state.run.params == to_plain(experiment) else 0

    return done


def _measured(entries: list[dict[str, Any]], device: str) -> tuple[str, float] | None:
    """Like `_speed`; None also for a corrupt journal, and for parameters of another version."""
    try:
        return _speed(entries, device)
    except (ParamsError, *UNREADABLE):
        return None


def _speed(entries: list[dict[str, Any]], device: str) -> tuple[str, float] | None:
    """(`_kind`, GFLOP/s) of a journal between its first and last metrics; None if they are not reliable."""
    runs = [entry for entry in entries if entry["kind"] == "run"]
    metrics = [entry for entry in entries if entry["kind"] == "metrics" and "train/loss" in entry["values"]]
    if len(runs) != 1 or len(metrics) < 2 or _device(entries) != device.partition(":")[0]:
        return None
    params, times = runs[0]["run"]["params"], [float(entry["at"]) for entry in metrics]
    if sorted(times) != times or times[0] == times[-1]:  # a clock was set back
        return None
    speed = _work(params, metrics) / (times[-1] - times[0])
    return (_kind(params["model"]), speed) if 0 < speed < FASTEST else None


def _kind(model: Mapping[str, Any]) -> str:
    """What networks of about the same speed have in common: what they call, or the backbone."""
    return str(model.get("build") or model["backbone"])


def _device(entries: list[dict[str, Any]]) -> str | None:
    found = [entry["found"]["device"] for entry in entries if entry["kind"] == "provenance"]
    return found[-1].get("type") if found else None


def _work(plain: dict[str, Any], metrics: list[dict[str, Any]]) -> float:
    """GFLOP between the first and last entries, converted to the speed of fp32."""
    model, training = parse_network(plain["model"], "journal"), plain["training"]
    height, width = plain["augmentation"]["crop"]
    facts = parse(DatasetFacts, plain["facts"], "journal")
    macs = _gmacs(model, facts.num_classes, (height, width))
    samples = (metrics[-1]["step"] - metrics[0]["step"]) * training["batch"]
    return float(2 * macs * FORWARD_PASSES * samples / gain(training["precision"]))
