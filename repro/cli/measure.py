"""What the commands that run a network share: its weights, its split, its device, a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.common import console

if TYPE_CHECKING:
    from torch import nn

    from repro.datasets.archive import Split
    from repro.params import Experiment, Project
    from repro.params.protocol import Protocol

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")]
ProtocolName = Annotated[
    str | None, typer.Option("--protocol", help="Another block of `protocols:` in params.yaml.")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write to; not the experiment's.")]


def open_split(project: Project, experiment: Experiment) -> Split:
    from repro.datasets.archive import Split

    return Split.open(project.prepared / experiment.dataset / f"{experiment.evaluation.split}.zip")


def trained_model(path: Path, experiment: Experiment, device: str) -> nn.Module:
    """The experiment's network with the weights at `path`; CheckpointError when they do not fit."""
    from repro.checkpoints import load_model
    from repro.errors import CheckpointError
    from repro.models import build

    state, _ = load_model(path)
    model = build(experiment.model, num_classes=num_classes(experiment, experiment.protocol))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        hint = f"`repro train {experiment.name}` makes weights for the network of params.yaml"
        raise CheckpointError(f"weights of another network: {error}", where=path, hint=hint) from None
    return model.to(device)


def num_classes(experiment: Experiment, protocol: Protocol) -> int:
    return experiment.facts.classes - int(protocol.reduce_zero_label)


def protocol_named(project: Project, name: str) -> Protocol:
    """A block of `protocols:` of the root params.yaml."""
    from repro.errors import UnknownNameError
    from repro.params import Protocol, parse, read_yaml

    blocks = read_yaml(project.params).get("protocols", {})
    if name not in blocks:
        raise UnknownNameError("protocol", name, blocks)
    return parse(Protocol, blocks[name], f"{project.params}: protocols.{name}")


def chosen_device(device: str) -> str:
    """`auto` is an NVIDIA GPU where there is one; ParamsError for a device that is not there.

    Unlike in training MPS must be asked for: nobody has compared its numbers with a CPU's yet.
    """
    import torch

    from repro.errors import ParamsError
    from repro.training.ranks import pick_device

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        pick_device(device)
    except ParamsError as error:
        raise ParamsError(error.what, allowed=error.allowed, hint="use --device cpu") from None
    except RuntimeError:  # cpu:x
        raise ParamsError(f"no device '{device}'", hint="use --device cpu") from None
    return device


@contextmanager
def ranks(device: str) -> Iterator[str]:
    """The device of this process; under torchrun or srun it also joins the others."""
    import os

    import torch
    import torch.distributed as dist

    from repro.training.ranks import slurm_place

    place = chosen_device(device)
    slurm_place()
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield place
        return
    if place == "cuda":
        # Modulo, as Accelerate does: a scheduler may show each process one GPU, which is 0 for all of them.
        place = f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
        torch.cuda.set_device(place)
    dist.init_process_group("gloo")  # only counts travel, a few MB: no need of NCCL
    try:
        yield place
    finally:
        dist.destroy_process_group()


@contextmanager
def bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, as a function of (done, all)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(text),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeRemainingColumn(),
    )
    out = console(stderr=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as shown:
        task = shown.add_task(text, total=None)
        yield lambda done, number: shown.update(task, completed=done, total=number)
