"""`repro benchmark`: how fast a network is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from repro.cli.arguments import Device, Out
from repro.cli.console import Json, Name, console, emit_json


def benchmark(
    name: Name,
    device: Device = "auto",
    seconds: Annotated[float, typer.Option(min=0, help="How long to measure after the warm-up.")] = 10.0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Measure latency, images/s, peak memory, parameters and MACs of NAME's network; write cost.json.

    No weights are needed. Speed and memory of the training are in the record: `repro record` reads them from
    the journal.

    Example: repro benchmark camvid_mobilenetv2_os16
    """
    from repro.params import find_project, load_trained

    project = find_project()
    experiment = load_trained(project, name)

    # after the params: importing torch takes seconds, and a mistake is reported at once
    from repro.stages.benchmark import benchmark_experiment

    folder = out or project.experiment_folder(experiment.name)
    cost = benchmark_experiment(project, experiment, folder, device=device, seconds=seconds)
    emit_json(cost) if json else console().print(cost_line(cost))


def cost_line(cost: dict[str, Any]) -> str:
    """The measurements in one line."""
    height, width = cost["input_size"]
    return (
        f"{cost['params_M']:.2f} M parameters, {cost['gmacs_conv']:.1f} GMACs at {height}x{width}; "
        f"{cost['latency_ms_p50']:.1f} ms (p95 {cost['latency_ms_p95']:.1f}), "
        f"{cost['images_per_s']:.2f} images/s, {cost['peak_memory_MiB']:.0f} MiB"
    )
