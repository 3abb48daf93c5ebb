"""`repro predict`: label maps of images outside any data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from repro.cli.arguments import Device, ProtocolName
from repro.cli.console import Json, Name, console, emit_json
from repro.cli.output_path import output_folder


def predict(
    name: Name,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the label maps.", callback=output_folder)
    ],
    device: Device = "auto",
    protocol: ProtocolName = None,
    ms_flip: Annotated[bool, typer.Option("--ms-flip", help="Several scales and mirror images.")] = False,
    blend: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="OPACITY", help="Draw the classes over the image."),
    ] = None,
    json: Json = False,
) -> None:
    """Segment images with NAME's weights: <image>.png holds train ids, <image>_overlay.png shows them.

    Images are read like those of a data set: an EXIF orientation is ignored, so rotate such an image first.

    Example: repro predict camvid_mobilenetv2_os16 street.jpg -o maps/
    """
    from repro.datasets import dataset_module
    from repro.errors import ParamsError
    from repro.evaluation.image_counts import evaluated_classes
    from repro.evaluation.visualize import predict_images
    from repro.io.sources import trust
    from repro.params import find_project, load_trained
    from repro.stages.lookup import protocol_named
    from repro.stages.model_setup import chosen_device, trained_predictor

    project = find_project()
    experiment = load_trained(project, name)
    chosen = experiment.protocol if protocol is None else protocol_named(project, protocol)
    if ms_flip and chosen.ms_flip is None:
        raise ParamsError("the protocol has no second variant", hint="leave --ms-flip out")
    place = chosen_device(device)
    trust(project.root)
    one = chosen.single_variant(ms_flip=ms_flip)
    run = trained_predictor(project, experiment, protocol=one, device=place)
    module = dataset_module(project, experiment.dataset)
    classes = evaluated_classes(module.CLASSES, chosen)
    palette = module.PALETTE[-len(classes) :]
    written = []
    for path, label, note in predict_images(run, images, out, palette=palette, blend=blend):
        if note:
            console(stderr=True).print(f"note: {note}")
        present = [classes[i] for i in sorted(set(label.ravel().tolist())) if i < len(classes)]
        written.append({"file": str(path), "classes": present})
        if not json:
            console().print(f"{path}: {', '.join(present)}")
    if json:
        emit_json(written)
