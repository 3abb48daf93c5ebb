"""What would stop an experiment before its result: asked before anything is started; `repro plan` shows it.

Only looks: at files, names and sizes. No torch unless a graphics card is asked about.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repro.errors import ParamsError, ReproError
from repro.params import Experiment, Project, load_experiment
from repro.stages.inputs_ready import can_be_here

if TYPE_CHECKING:
    from repro.training.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What there is to run on: equal devices, GiB of the smallest graphics card or None."""

    devices: int = 1
    card_GiB: float | None = None


def this_machine(*, devices: int = 1, with_card: bool = False) -> Machine:
    """So many of this machine's devices; `with_card` also its smallest graphics card, where there is one."""
    return Machine(devices=devices, card_GiB=smallest_card() if with_card else None)


def smallest_card() -> float | None:
    """GiB of the smallest CUDA device, None without one."""
    from repro.records.device import gpu_driver

    if gpu_driver() is None:
        return None
    import torch

    cards = range(torch.cuda.device_count())
    return min((torch.cuda.get_device_properties(n).total_memory / 2**30 for n in cards), default=None)


def stops(project: Project, experiment: Experiment, machine: Machine, made: Plan | None = None) -> list[str]:
    """Why a run of `experiment` would fail, each with what to do; [] where nothing is known against it.

    `made` is its plan, for what needs its sizes: the card and the disk.
    """
    if experiment.measure == "cost":
        return []  # it needs neither data nor weights
    is_trained = project.weights(experiment.name).is_file()
    training = () if is_trained else _of_training(project, experiment, machine, made)
    return [*_of_data(project, experiment), *training]


def missing(project: Project, experiment: Experiment, machine: Machine, made: Plan) -> list[str]:
    """As `stops`, and what a run makes by itself first."""
    found = stops(project, experiment, machine, made)
    split = project.prepared_split(experiment.dataset, experiment.training.split)
    if not split.is_file() and can_be_here(project, experiment.dataset):
        found.append(f"prepared data: repro prepare {experiment.dataset}")
    start = experiment.start_from
    if start and not project.weights(start).is_file():
        found.append(f"weights of {start}: repro run {start}")
    return list(dict.fromkeys(found))


def _of_data(project: Project, experiment: Experiment) -> Iterator[str]:
    splits = {experiment.training.split, experiment.evaluation.split}
    ready = all(project.prepared_split(experiment.dataset, split).is_file() for split in splits)
    if not ready and not can_be_here(project, experiment.dataset):
        from repro.stages.prepare import command_to_get  # OpenCV

        yield f"data: {command_to_get(experiment.dataset)}"


def _of_training(
    project: Project, experiment: Experiment, machine: Machine, made: Plan | None
) -> Iterator[str]:
    from repro.training.schedule import require_statistics

    try:
        require_statistics(experiment.model, experiment.training, world=machine.devices)
    except ParamsError as error:
        yield error.what
    if experiment.start_from:
        yield from _of_start(project, experiment.start_from, machine)
    elif (name := experiment.model.pretrained) and not _is_stored(name):
        yield f"weights {name}: repro weights get {name}"
    if made is not None:
        yield from _of_sizes(project, made, machine)


def _is_stored(weights: str) -> bool:
    from repro.checkpoints import weights_cache  # torch

    return weights_cache.path_of(weights).is_file()


def _of_start(project: Project, name: str, machine: Machine) -> Iterator[str]:
    """What stops the experiment whose weights are the start, where it has none yet."""
    if project.weights(name).is_file():
        return
    try:
        yield from (f"{name}: {why}" for why in stops(project, load_experiment(project, name), machine))
    except ReproError as error:
        yield f"{name}: {error.what}"


def _of_sizes(project: Project, made: Plan, machine: Machine) -> Iterator[str]:
    if machine.card_GiB is not None and made.memory_GiB > machine.card_GiB:
        yield f"graphics card: about {made.memory_GiB:.1f} GiB needed, {machine.card_GiB:.1f} GiB there"
    free, needed = shutil.disk_usage(project.root).free / 1e9, made.weights_GB + made.checkpoints_GB
    if free < needed:
        yield f"disk: {needed:.1f} GB needed, {free:.1f} GB free"


def stopped(project: Project, experiments: Iterable[Experiment], machine: Machine) -> dict[str, list[str]]:
    """Experiment -> what stops it, of those that something stops."""
    found = {one.name: stops(project, one, machine, _sizes(one, machine)) for one in experiments}
    return {name: why for name, why in found.items() if why}


def _sizes(experiment: Experiment, machine: Machine) -> Plan | None:
    """Its plan where there is a card that may be too small; counting takes a tenth of a second each."""
    if machine.card_GiB is None:
        return None
    from repro.training.plan import plan

    try:
        return plan(experiment, devices=machine.devices)
    except ParamsError:  # of a part of a data set: said by the stage
        return None


def cannot_start(found: Mapping[str, list[str]], number: int) -> ParamsError:
    """One error for all experiments that would fail, by reason."""
    reasons: dict[str, list[str]] = {}
    for name, why in found.items():
        for text in why:
            reasons.setdefault(text, []).append(name)
    lines = [f"{text} ({_listed(names)})" for text, names in reasons.items()]
    what = "; ".join(lines[:5]) + (f"; and {len(lines) - 5} reasons more" if len(lines) > 5 else "")
    which = "the experiment" if number == 1 else f"{len(found)} of {number} experiments"
    hint = "bring what is missing" + (", or --keep-going runs the others" if len(found) < number else "")
    return ParamsError(f"{which} cannot run here: {what}", hint=f"{hint}; `repro plan NAME` shows it all")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
