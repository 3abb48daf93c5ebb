"""Checks before a run: reasons why an experiment would fail. `repro plan` shows them.

The checks read files, names and sizes, and run a network by reference once; they import torch only for that
and to query the GPU.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repro.errors import ParamsError, ReproError, some_of
from repro.params import (
    Experiment,
    ExternalExperiment,
    Project,
    ReferenceModel,
    TrainedExperiment,
    load_experiment,
)
from repro.stages.inputs_ready import is_available

if TYPE_CHECKING:
    from repro.training.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Number of equal devices, and memory of the smallest GPU in GiB (None without one)."""

    devices: int = 1
    gpu_GiB: float | None = None


def this_machine(*, devices: int = 1, with_gpu: bool = False) -> Machine:
    """This machine with `devices` devices; `with_gpu` queries the memory of its smallest GPU."""
    return Machine(devices=devices, gpu_GiB=smallest_gpu() if with_gpu else None)


def smallest_gpu() -> float | None:
    """Memory of the smallest CUDA device in GiB, or None."""
    from repro.records.device import gpu_driver

    if gpu_driver() is None:
        return None
    import torch

    gpus = range(torch.cuda.device_count())
    return min((torch.cuda.get_device_properties(n).total_memory / 2**30 for n in gpus), default=None)


def blockers(
    project: Project, experiment: Experiment, machine: Machine, made: Plan | None = None
) -> list[str]:
    """Reasons why a run of `experiment` would fail, each with what to do; empty if none is known.

    `made` is the plan of its training, needed to check GPU memory and disk space.
    """
    if experiment.cost_only:
        return []  # needs neither data nor weights
    found = list(_of_data(project, experiment))
    if isinstance(experiment, TrainedExperiment) and not project.weights(experiment.name).is_file():
        found += _of_training(project, experiment, machine, made)
    if isinstance(experiment, ExternalExperiment):
        found += _of_programs(project, experiment)
    return found


def missing(project: Project, experiment: TrainedExperiment, machine: Machine, made: Plan) -> list[str]:
    """`blockers`, and inputs that a run creates first."""
    found = blockers(project, experiment, machine, made)
    split = project.prepared_split(experiment.dataset, experiment.training.split)
    if not split.is_file() and is_available(project, experiment.dataset):
        found.append(f"prepared data: repro prepare {experiment.dataset}")
    start = experiment.start_from
    if start and not project.weights(start).is_file():
        found.append(f"weights of {start}: repro run {start}")
    return list(dict.fromkeys(found))


def _of_programs(project: Project, experiment: ExternalExperiment) -> Iterator[str]:
    """Programs and files in `deps` that are not there."""
    for key, program in experiment.external.programs.items():
        name = shlex.split(program.command)[0]
        if shutil.which(str(project.root / name) if "/" in name else name) is None:
            yield f"program: no '{name}' ({key})"
        missing = [dep for dep in program.deps if not (project.root / dep).exists()]
        yield from (f"file: no '{dep}' ({key}.deps)" for dep in missing)


def _of_data(project: Project, experiment: Experiment) -> Iterator[str]:
    splits = {experiment.training_split, experiment.evaluation.split} - {None}
    ready = all(project.prepared_split(experiment.dataset, str(one)).is_file() for one in splits)
    if not ready and not is_available(project, experiment.dataset):
        from repro.stages.prepare import data_command  # imports OpenCV

        yield f"data: {data_command(project, experiment.dataset)}"


def _of_training(
    project: Project, experiment: TrainedExperiment, machine: Machine, made: Plan | None
) -> Iterator[str]:
    from repro.training.schedule import require_statistics

    try:
        require_statistics(experiment.model, experiment.training, world=machine.devices)
        if isinstance(experiment.model, ReferenceModel):
            from repro.stages.trial import check_network

            check_network(project, experiment)
    except ParamsError as error:
        yield error.what
    if experiment.start_from:
        yield from _of_start(project, experiment.start_from, machine)
    elif (name := experiment.model.pretrained) and not _is_stored(name):
        yield f"weights {name}: repro weights get {name}"
    if made is not None:
        yield from _of_sizes(project, made, machine)


def _is_stored(weights: str) -> bool:
    from repro.checkpoints import weights_cache  # imports torch

    return weights_cache.path_of(weights).is_file()


def _of_start(project: Project, name: str, machine: Machine) -> Iterator[str]:
    """Blockers of the experiment that provides the initial weights, if it has none yet."""
    if project.weights(name).is_file():
        return
    try:
        yield from (f"{name}: {why}" for why in blockers(project, load_experiment(project, name), machine))
    except ReproError as error:
        yield f"{name}: {error.what}"


def _of_sizes(project: Project, made: Plan, machine: Machine) -> Iterator[str]:
    if machine.gpu_GiB is not None and made.memory_GiB > machine.gpu_GiB:
        yield f"GPU memory: about {made.memory_GiB:.1f} GiB needed, {machine.gpu_GiB:.1f} GiB available"
    free, needed = shutil.disk_usage(project.root).free / 1e9, made.weights_GB + made.checkpoints_GB
    if free < needed:
        yield f"disk: {needed:.1f} GB needed, {free:.1f} GB free"


def blocked(project: Project, experiments: Iterable[Experiment], machine: Machine) -> dict[str, list[str]]:
    """Experiment -> blockers, of the experiments that have any."""
    found = {one.name: blockers(project, one, machine, _sizes(one, machine)) for one in experiments}
    return {name: why for name, why in found.items() if why}


def _sizes(experiment: Experiment, machine: Machine) -> Plan | None:
    """The plan of its training if there is a GPU to check; it takes about 0.1 s."""
    if machine.gpu_GiB is None or not isinstance(experiment, TrainedExperiment):
        return None
    from repro.training.plan import plan

    try:
        return plan(experiment, devices=machine.devices)
    except ParamsError:  # for a part of a data set: reported by the stage
        return None


def cannot_start(found: Mapping[str, list[str]], number: int) -> ParamsError:
    """One error for all blocked experiments, grouped by reason."""
    reasons: dict[str, list[str]] = {}
    for name, why in found.items():
        for text in why:
            reasons.setdefault(text, []).append(name)
    lines = [f"{text} ({some_of(names)})" for text, names in reasons.items()]
    what = "; ".join(lines[:5]) + (f"; and {len(lines) - 5} more reasons" if len(lines) > 5 else "")
    which = "the experiment" if number == 1 else f"{len(found)} of {number} experiments"
    hint = "provide what is missing" + (
        ", or use --keep-going to run the others" if len(found) < number else ""
    )
    return ParamsError(f"{which} cannot run: {what}", hint=f"{hint}; `repro plan NAME` lists all reasons")
