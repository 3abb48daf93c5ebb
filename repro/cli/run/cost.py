"""`repro cost`: the cost of a network from its shapes alone, and of all networks of a project in a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli import completion
from repro.cli.arguments import Device
from repro.cli.console import Json, console, emit_json
from repro.cli.reporter import note
from repro.errors import counted

if TYPE_CHECKING:
    from repro.errors import ReproError
    from repro.params import Project
    from repro.records.cost_file import NetworkCost

Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Experiment; or --all.", autocompletion=completion.experiments),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        help="Input as HxW; default: a tile of the protocol, else an image of the data set, else the crop.",
    ),
]


def cost(
    name: Name = None,
    size: Size = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Count every network into reports/cost.json.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="With --all: count again, write nothing; exit 1 if it is stale.")
    ] = False,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="With --all: also measure latency and memory of those not measured."),
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="With --measure: start no network that would take longer.")
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Count parameters, multiply-accumulates and activation memory of NAME's network, or of all networks.

    Needs neither data nor weights. A network that several experiments share is counted once. --measure starts
    with the cheapest network and saves each, so that it can be stopped and repeated.

    Example: repro cost cityscapes_mobilenetv2_os16 --size 1024x2048
    """
    from repro.params import find_project

    _require_one(name, size, everything, check=check, measure=measure, minutes=minutes)
    project = find_project()
    if name is not None:
        _one(project, name, size, json=json)
    elif check:
        _check(project)
    else:
        _all(project, device if measure else None, minutes, json=json)


def _require_one(
    name: str | None, size: str | None, everything: bool, *, check: bool, measure: bool, minutes: float | None
) -> None:
    """Raise ParamsError for options that do not belong together."""
    from repro.errors import ParamsError

    for wrong, what in (
        ((name is None) != everything, "one of NAME and --all"),
        (not everything and (check or measure), "--check and --measure with --all"),
        (everything and size is not None, "--size with NAME: with --all each network has its own size"),
        (check and measure, "one of --check and --measure"),
        (minutes is not None and not measure, "--minutes with --measure"),
    ):
        if wrong:
            raise ParamsError("options that do not belong together", allowed=what, hint="repro cost --help")


def _one(project: Project, name: str, size: str | None, *, json: bool) -> None:
    from repro.io.sources import trust
    from repro.models.cost import cost_values
    from repro.params import load_trained
    from repro.params.experiment import num_classes
    from repro.params.input_size import input_size

    experiment = load_trained(project, name)
    trust(project.root)
    sides = parse_size(size) if size else input_size(experiment)
    values = cost_values(experiment.model, num_classes(experiment, experiment.protocol), sides)
    if json:
        emit_json({"experiment": experiment.name} | values)
    else:
        _show(experiment.name, values)


def _show(name: str, values: dict[str, Any]) -> None:
    out, (height, width) = console(), values["input_size"]
    out.print(f"{name}: {values['classes']} classes, input {height}x{width}")
    out.print(f"  parameters   {values['params_M']:10.3f} M")
    macs = f"{values['gmacs_conv']:10.3f} GMACs (as thop counts, with norms: {values['gmacs_thop']:.2f})"
    out.print(f"  convolutions {macs}")
    out.print(f"  FLOPs        {values['gflops']:10.3f} G, two per multiply-accumulate")
    out.print(f"  activations  {values['activation_MiB']:10.1f} MiB in fp32 for one image")


def _check(project: Project) -> None:
    """Count every network again, and compare."""
    from repro.errors import CheckFailed
    from repro.stages.network_costs import count_networks, stale_networks

    costs, broken = count_networks(project)
    stale = stale_networks(project, costs)
    for name in stale:
        console().print(f"stale {name}")
    _require_whole(broken, f"{counted(len(stale), 'network')} stale")
    if stale:
        where = project.costs.relative_to(project.root)
        what = f"{counted(len(stale), 'network')} not as {where} has it"
        raise CheckFailed(what, hint="run `repro cost --all` and commit")
    console(stderr=True).print(f"{counted(len(costs), 'network')} counted, as recorded")


def _all(project: Project, device: str | None, minutes: float | None, *, json: bool) -> None:
    """Write reports/cost.json; with a device also measure."""
    from repro.records.cost_file import write_costs
    from repro.stages.inputs_ready import write_files
    from repro.stages.network_costs import count_networks, stale_networks

    costs, broken = count_networks(project)
    changed = stale_networks(project, costs)
    if changed:
        write_costs(project.costs, costs)
        write_files(project)  # the tables depend on the file
    note(f"{counted(len(costs), 'network')} counted, {len(changed)} changed")
    if device is not None:
        _measure(project, device, minutes)
    if json:
        from repro.records.cost_file import read_costs

        emit_json({"networks": [one.to_plain() for one in read_costs(project.costs).values()]})
    _require_whole(broken, "all others are counted")


def _measure(project: Project, device: str, minutes: float | None) -> None:
    from repro.stages.model_setup import chosen_device
    from repro.stages.network_costs import measure_networks

    done, left = measure_networks(project, minutes=minutes, device=chosen_device(device), said=_measured)
    text = f"{counted(done, 'network')} measured, {left} left"
    note(
        text + ("; `repro cost --all --measure` continues" if left else "; `repro table --write` shows them")
    )


def _measured(name: str, found: NetworkCost | ReproError) -> None:
    from repro.errors import ReproError

    if isinstance(found, ReproError):
        return note(f"{name}: {found.what}")
    values = found.measured
    note(
        f"{name}: {values['latency_ms_p50']:.1f} ms, {values['peak_memory_MiB']:.0f} MiB, "
        f"{counted(values['runs'], 'run')}"
    )


def _require_whole(broken: dict[str, ReproError], done: str) -> None:
    """Raise the error of experiments that could not be counted."""
    from repro.params import broken_error

    if broken:
        raise broken_error(broken, done=done)


def parse_size(text: str) -> tuple[int, int]:
    """'1024x2048' -> (1024, 2048)."""
    from repro.errors import ParamsError

    match = re.fullmatch(r"(\d+)[xX](\d+)", text.strip())
    if not match or min(sides := (int(match[1]), int(match[2]))) < 1:
        raise ParamsError(f"not a size: '{text}'", allowed="height x width in pixels, e.g. 512x512")
    return sides
