"""`repro plan`: the cost of a training, before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.console import Json, Names, console, emit_json
from repro.cli.reporter import name_broken, note, require_asked
from repro.errors import ReproError

if TYPE_CHECKING:
    from repro.params import Project
    from repro.stages.preflight import Machine
    from repro.training.plan import Plan


def plan(
    names: Names = None,
    devices: Annotated[int, typer.Option(min=1, help="Equal devices that share each batch.")] = 1,
    probe: Annotated[bool, typer.Option("--probe", help="Time 20 updates on this machine.")] = False,
    device: Annotated[str, typer.Option(help="Where to probe: auto, cpu, cuda.")] = "auto",
    as_json: Json = False,
) -> None:
    """Estimate iterations, GMACs, memory, disk and hours of NAME..., and list what is missing.

    Hours on named GPUs are estimates (0.3 of the data sheet's peak); --probe measures on this machine.

    Example: repro plan ade20k_r50_os16 --devices 4
    """
    from repro.params import broken_error, experiment_names, find_project, matching
    from repro.stages.preflight import this_machine
    from repro.training.distributed import pick_device

    project = find_project()
    where = str(pick_device(device)) if probe else None
    chosen, machine = matching(names or (), experiment_names(project)), this_machine(devices=devices)
    plans: list[dict[str, Any]] = []
    broken: dict[str, ReproError] = {}
    for name in chosen:
        try:
            found = plan_one(project, name, machine, where)
        except ReproError as error:  # a broken folder or an incomplete data set: the others can be planned
            if len(chosen) == 1:
                raise
            name_broken({name: error})
            broken[name] = error
            continue
        if as_json:
            plans.append(as_dict(found[0]) | {"missing": found[1]})
            progress(len(plans), len(chosen))
        else:
            console().print(text(*found, devices))  # at once: 150 experiments take half a minute
    if as_json:
        emit_json(plans)
    if len(broken) == len(chosen):
        raise broken_error(broken, done="none of them has a plan")
    require_asked(names or (), broken)


def plan_one(project: Project, name: str, machine: Machine, probe: str | None) -> tuple[Plan, list[str]]:
    """The plan of an experiment and its missing inputs."""
    from repro.io.sources import trust
    from repro.params import load_trained
    from repro.stages.preflight import missing
    from repro.training.plan import plan as make

    experiment = load_trained(project, name)
    trust(project.root)
    made = make(experiment, devices=machine.devices, probe=probe)
    return made, missing(project, experiment, machine, made)


def progress(done: int, number: int) -> None:
    """Progress on standard error while the JSON document is collected."""
    if done % 25 == 0:
        note(f"{done} of {number} experiments planned")


def _hours(hours: float) -> str:
    """At least two digits: 0.028, 1.4, 27.4; below 36 seconds `<0.01`."""
    return "<0.01" if hours < 0.01 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2g}"


def as_dict(made: Plan) -> dict[str, Any]:
    from dataclasses import asdict

    found = {"experiment": made.experiment, **asdict(made)}
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}


def text(made: Plan, lacks: list[str], devices: int) -> str:
    """The plan as a few lines of text."""
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
