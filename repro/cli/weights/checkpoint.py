"""`repro weights inspect` and `convert`: checkpoints of other programs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli import completion
from repro.cli.arguments import Key
from repro.cli.console import Json, console, emit_json
from repro.cli.output_path import output_file

if TYPE_CHECKING:
    from torch import Tensor

    from repro.params import TrainedExperiment

File = Annotated[Path, typer.Argument(metavar="FILE", help="A .pth, .pt, .pth.tar or .safetensors file.")]


def inspect(file: File, key: Key = None, json: Json = False) -> None:
    """Show format, network, entries and sha256 of FILE, and the experiments it fits.

    No code in FILE is run.

    Example: repro weights inspect best_deeplabv3plus_mobilenet_cityscapes_os16.pth
    """
    import dataclasses

    from repro.checkpoints import inspect as look
    from repro.checkpoints.readers import OWN_NAMES
    from repro.errors import CheckpointError

    try:
        found = look(file, key=key)
        fits = _fitting(file, found.format, found.classes, key=key) if found.scope == "network" else []
    except CheckpointError:
        if not file.is_file() or not (fits := _fitting(file, OWN_NAMES, None, key=key)):
            raise
        found = look(file, key=key, any_format=True)  # weights of a network by reference
    values = dataclasses.asdict(found)
    remarks = values.pop("remarks")
    if json:
        emit_json({"file": str(file)} | values | {"remarks": remarks, "fits": fits})
        return
    for name, value in values.items():
        console().print(f"{name:<11} {value}")
    for remark in remarks:
        console().print(f"{'remark':<11} {remark}")
    if found.scope == "network":
        console().print(f"{'fits':<11} {', '.join(fits) or 'no experiment of this project'}")


def convert(
    file: File,
    experiment: Annotated[
        str,
        typer.Option(
            "--experiment",
            "-e",
            help="TrainedExperiment whose network the weights are for.",
            autocompletion=completion.experiments,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.", callback=output_file)],
    to: Annotated[
        str | None,
        typer.Option("--to", help="Convert weights of this project to this format, e.g. mmsegmentation."),
    ] = None,
    source: Annotated[str | None, typer.Option("--format", help="Format of FILE; default: detected.")] = None,
    drop_aux: Annotated[
        bool, typer.Option("--drop-aux", help="Leave out an auxiliary head of FILE.")
    ] = False,
    key: Key = None,
    json: Json = False,
) -> None:
    """Convert FILE to weights of an experiment's network; with --to, back to another format.

    Strict: every weight of the network must be in FILE, with the same shape.

    Example: repro weights convert released.pth --experiment loveda_r18_os8 -o model.safetensors
    """
    from repro.io.sources import trust
    from repro.params import find_project, load_trained

    project = find_project()
    found = load_trained(project, experiment)
    trust(project.root)
    if to is not None:
        _write_foreign(file, found, to, output)
    else:
        _write_ours(file, found, source, output, drop_aux=drop_aux, key=key)
    if json:
        emit_json({"wrote": str(output), "experiment": experiment, "format": to or "ours"})
    else:
        console(stderr=True).print(f"wrote {output}")


def _write_ours(
    file: Path,
    experiment: TrainedExperiment,
    source: str | None,
    output: Path,
    *,
    drop_aux: bool,
    key: str | None,
) -> None:
    from repro import checkpoints
    from repro.checkpoints import weights_cache
    from repro.checkpoints.readers import OWN_NAMES
    from repro.params import ReferenceModel
    from repro.records import sha256_file
    from repro.stages.model_setup import random_weights

    opened, sha256 = checkpoints.open_checkpoint(file, key=key), sha256_file(file)
    state = opened.state
    for remark in opened.remarks:
        console(stderr=True).print(f"{file.name}: {remark}")
    if isinstance(experiment.model, ReferenceModel):
        name, of_backbone = OWN_NAMES, False
    else:
        name = _format(source) if source else checkpoints.guess_format(state, file)
        of_backbone = checkpoints.FORMATS[name].scope == "backbone"
    ours = random_weights(experiment) if of_backbone else _shapes(experiment)
    converted = checkpoints.fit(
        state, ours, params=experiment.model, where=file, format_name=name, drop_aux=drop_aux
    )
    if of_backbone:
        made_for, given = weights_cache.made_for(sha256), experiment.model.input
        converted = checkpoints.adapt_first_conv(converted, made_for=made_for, given=given)
        converted = ours | converted  # the head keeps its random initial weights
    note = {
        "experiment": experiment.name,
        "source": file.name,
        "source_sha256": sha256,
        "format": name,
    }
    checkpoints.save_model(output, converted, note)


def _write_foreign(file: Path, experiment: TrainedExperiment, to: str, output: Path) -> None:
    import io

    import torch

    from repro import checkpoints
    from repro.records import write_bytes

    name = _format(to)
    state, _ = checkpoints.load_model(file)
    checkpoints.check_same_network(state, _shapes(experiment), where=file)
    foreign = checkpoints.convert_back(state, format_name=name, params=experiment.model, where=file)
    wrap = checkpoints.FORMATS[name].wrap
    content = io.BytesIO()  # torch.save itself says of a bad place only that a parent is missing
    torch.save({"meta": {"experiment": experiment.name}, wrap: foreign} if wrap else foreign, content)
    write_bytes(output, content.getvalue())


def _fitting(file: Path, format_name: str, classes: int | None, *, key: str | None) -> list[str]:
    """Names of the experiments whose network `file` fits; none outside a project."""
    from repro import checkpoints
    from repro.checkpoints.readers import OURS
    from repro.errors import ReproError
    from repro.io.sources import trust
    from repro.params import experiment_names, find_project, load_trained, read_each

    try:
        project = find_project()
    except ReproError:
        return []
    found, _ = read_each(experiment_names(project), lambda name: load_trained(project, name))
    state, fits = checkpoints.read_checkpoint(file, key=key), []
    trust(project.root)
    for e in found.values():
        if _outputs(e) not in (classes, None):
            continue
        with suppress(ReproError):  # also of a network by reference that cannot be built here
            if format_name == OURS:
                checkpoints.check_same_network(state, _shapes(e), where=file)
            else:
                checkpoints.fit(state, _shapes(e), format_name=format_name, params=e.model, where=file)
            fits.append(e.name)
    return fits


def _outputs(experiment: TrainedExperiment) -> int | None:
    """Number of outputs of the experiment's network; None: only building it shows its shapes."""
    from repro.params import ReferenceModel
    from repro.params.experiment import num_classes

    if isinstance(experiment.model, ReferenceModel):
        return None
    return num_classes(experiment, experiment.protocol) + experiment.model.head.extra_classes


def _format(name: str) -> str:
    from repro.checkpoints import FORMATS
    from repro.errors import UnknownNameError

    if name not in FORMATS:
        raise UnknownNameError("checkpoint format", name, FORMATS)
    return name


def _shapes(experiment: TrainedExperiment) -> dict[str, Tensor]:
    """The state dict of the experiment's network, without memory."""
    from repro.models import build_on_meta
    from repro.params.experiment import num_classes

    classes = num_classes(experiment, experiment.protocol)
    return dict(build_on_meta(experiment.model, num_classes=classes).state_dict())
