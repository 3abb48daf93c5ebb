"""`repro cost`: the cost of a network, from its shapes alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.console import Json, Name, console, emit_json

if TYPE_CHECKING:
    from repro.params import TrainedExperiment

Size = Annotated[
    str | None,
    typer.Option("--size", help="Input as HxW; default: a tile of the protocol, else the training crop."),
]


def cost(name: Name, size: Size = None, json: Json = False) -> None:
    """Count parameters, multiply-accumulates and activation memory of NAME's network.

    Needs neither data nor weights.

    Example: repro cost cityscapes_mobilenetv2_os16 --size 1024x2048
    """
    from repro.io.sources import trust
    from repro.models.cost import count
    from repro.params import find_project, load_trained
    from repro.params.experiment import num_classes

    project = find_project()
    experiment = load_trained(project, name)
    trust(project.root)
    height, width = parse_size(size) if size else default_size(experiment)
    classes = num_classes(experiment, experiment.protocol)
    found = count(experiment.model, classes, (height, width))
    values = {
        "params_M": round(found.params_M, 6),
        "gmacs_conv": round(found.gmacs_conv, 6),
        "gmacs_thop": round(found.gmacs_thop, 6),
        "activation_MiB": round(found.activation_MiB, 3),
        "input_size": [height, width],
        "classes": classes,
    }
    if json:
        emit_json({"experiment": experiment.name} | values)
        return
    out = console()
    out.print(f"{experiment.name}: {classes} classes, input {height}x{width}")
    out.print(f"  parameters   {found.params_M:10.3f} M")
    out.print(
        f"  convolutions {found.gmacs_conv:10.3f} GMACs (as thop counts, with norms: {found.gmacs_thop:.2f})"
    )
    out.print(f"  activations  {found.activation_MiB:10.1f} MiB in fp32 for one image")


def parse_size(text: str) -> tuple[int, int]:
    """'1024x2048' -> (1024, 2048)."""
    from repro.errors import ParamsError

    match = re.fullmatch(r"(\d+)[xX](\d+)", text.strip())
    if not match or min(sides := (int(match[1]), int(match[2]))) < 1:
        raise ParamsError(f"not a size: '{text}'", allowed="height x width in pixels, e.g. 512x512")
    return sides


def default_size(experiment: TrainedExperiment) -> tuple[int, int]:
    """A tile of a sliding protocol, otherwise the training crop."""
    return experiment.protocol.crop or experiment.augmentation.crop
