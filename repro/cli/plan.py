"""`repro plan`: what training will take, before money is spent."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.common import Json, Names, console, emit_json
from repro.cli.voice import note

if TYPE_CHECKING:
    from repro.params import Experiment, Project
    from repro.training.plan import Plan


def plan(
    names: Names = None,
    devices: Annotated[int, typer.Option(min=1, help="Equal devices that share each batch.")] = 1,
    probe: Annotated[bool, typer.Option("--probe", help="Time 20 updates on this machine.")] = False,
    device: Annotated[str, typer.Option(help="Where to probe: auto, cpu, cuda.")] = "auto",
    as_json: Json = False,
) -> None:
    """Show iterations, images, GMACs, memory, disk, hours and what is missing, for NAME... or all.

    Hours on named GPUs are estimates (0.3 of the data sheet's peak); --probe measures this machine.

    Example: repro plan ade20k_r50_os16 --devices 4
    """
    from repro.errors import ParamsError
    from repro.params import experiment_names, find_project, load_experiment, matching
    from repro.training.plan import plan as make
    from repro.training.ranks import pick_device

    project = find_project()
    where = str(pick_device(device)) if probe else None
    plans, chosen = [], matching(names or (), experiment_names(project))
    for name in chosen:
        try:
            experiment = load_experiment(project, name)
            made = make(experiment, devices=devices, probe=where)
        except ParamsError as error:  # of a part of a data set: the others can be planned
            if len(chosen) == 1:
                raise
            note(f"left out {name}: {error.what}")
            continue
        plans.append((made, missing(project, experiment, made, devices)))
    if as_json:
        return emit_json([as_dict(made) | {"missing": lacks} for made, lacks in plans])
    for made, lacks in plans:
        console().print(text(made, lacks, devices), markup=False)


def missing(project: Project, experiment: Experiment, made: Plan, devices: int) -> list[str]:
    """What is not here yet: data, weights, disk space."""
    from repro.checkpoints import store
    from repro.errors import ParamsError
    from repro.stages.ready import here
    from repro.training.parameters import require_statistics

    lacks = []
    try:
        require_statistics(experiment.model, experiment.training, world=devices)
    except ParamsError as error:
        lacks.append(error.what)
    if not project.prepared_split(experiment.dataset, experiment.training.split).is_file():
        lacks.append(
            f"prepared data: repro prepare {experiment.dataset}"
            if here(project.data / experiment.dataset)
            else f"data: repro data link {experiment.dataset} PATH"
        )
    start = experiment.start_from
    if start and not (project.experiments / start / "model.safetensors").is_file():
        lacks.append(f"weights of {start}: repro run {start}")
    pretrained = experiment.model.pretrained
    if pretrained and pretrained not in {stored.name for stored in store.stored()}:
        lacks.append(f"weights {pretrained}: repro weights get {pretrained}")
    free = shutil.disk_usage(project.root).free / 1e9
    needed = made.weights_GB + made.checkpoints_GB
    if free < needed:
        lacks.append(f"disk: {needed:.1f} GB needed, {free:.1f} GB free")
    return lacks


def _hours(hours: float) -> str:
    """Two digits at least: 0.028, 1.4, 27.4; what takes less than 36 seconds is not told apart."""
    return "<0.01" if hours < 0.01 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2g}"


def as_dict(made: Plan) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(made).items()
    }


def text(made: Plan, lacks: list[str], devices: int) -> str:
    """A few lines for people."""
    here = "not measured (--probe)" if made.hours_here is None else f"{_hours(made.hours_here)} h (measured)"
    fitting = {name: hours for name, hours in made.hours.items() if name not in made.too_small}
    gpus = ", ".join(f"{name} {_hours(hours)}" for name, hours in fitting.items()) or "none"
    small = f"; too small: {', '.join(made.too_small)}" if made.too_small else ""
    looks = f", {made.validations} validations" if made.validations else ""
    return (
        f"{made.experiment}\n"
        f"  {made.iterations} iterations of {made.images // made.iterations} images "
        f"({made.images:,} images{looks}), {made.gmacs_total:,.0f} GMACs\n"
        f"  memory {made.memory_GiB:.1f} GiB on each of {devices}, "
        f"disk {made.weights_GB:.2f} GB weights + {made.checkpoints_GB:.2f} GB while training\n"
        f"  here {here}; estimated hours on {devices} of: {gpus}{small}\n"
        f"  missing: {'; '.join(lacks) or 'nothing'}"
    )
