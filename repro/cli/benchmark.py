"""`repro benchmark`: how fast a network is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.common import Json, Name, console, emit_json
from repro.cli.measure import Device, Out, chosen_device, num_classes, open_split

if TYPE_CHECKING:
    from repro.params import Experiment, Project


def benchmark(
    name: Name,
    device: Device = "auto",
    seconds: Annotated[float, typer.Option(min=0, help="How long to measure after the warm-up.")] = 10.0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Measure latency, images/s, peak memory, parameters and MACs of NAME's network; writes cost.json.

    Speed does not depend on the weights, so none are needed. Speed and memory of the training stand in the
    record: `repro record` takes them from the training's journal.

    Example: repro benchmark camvid_mobilenetv2_os16
    """
    from repro.evaluation.benchmark import benchmark as run
    from repro.models import build
    from repro.params import find_project, load_experiment
    from repro.records import write_json

    project = find_project()
    experiment = load_experiment(project, name)
    classes = num_classes(experiment, experiment.protocol)
    cost = run(
        build(experiment.model, num_classes=classes),
        model_params=experiment.model,
        num_classes=classes,
        protocol=experiment.protocol,
        input_size=input_size(project, experiment),
        device=chosen_device(device),
        seconds=seconds,
    )
    write_json((out or project.root / experiment.folder) / "cost.json", cost)
    emit_json(cost) if json else console().print(cost_line(cost))


def cost_line(cost: dict[str, Any]) -> str:
    height, width = cost["input_size"]
    return (
        f"{cost['params_M']:.2f} M parameters, {cost['gmacs_conv']:.1f} GMACs at {height}x{width}; "
        f"{cost['latency_ms_p50']:.1f} ms (p95 {cost['latency_ms_p95']:.1f}), "
        f"{cost['images_per_s']:.2f} images/s, {cost['peak_memory_MiB']:.0f} MiB"
    )


def input_size(project: Project, experiment: Experiment) -> tuple[int, int]:
    """What the network is fed at scale 1: a tile, or the split's first image after the base resize."""
    from repro.evaluation.views import scaled_size

    if experiment.protocol.crop is not None:
        return experiment.protocol.crop
    sample = open_split(project, experiment).samples[0]
    return scaled_size((sample.height, sample.width), 1.0, experiment.protocol)
