"""What the stages that run a network share: its weights, its classes, its device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from repro.checkpoints import load_model
from repro.errors import CheckpointError, ParamsError
from repro.models import build
from repro.params import Experiment
from repro.params.protocol import Protocol
from repro.training.ranks import pick_device, slurm_place


def trained_model(path: Path, experiment: Experiment, device: str) -> nn.Module:
    """The experiment's network with the weights at `path`; CheckpointError when they do not fit."""
    state, _ = load_model(path)
    model = build(experiment.model, num_classes=num_classes(experiment, experiment.protocol))
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        hint = f"`repro train {experiment.name}` makes weights for the network of params.yaml"
        raise CheckpointError(f"weights of another network: {error}", where=path, hint=hint) from None
    return model.to(device)


def num_classes(experiment: Experiment, protocol: Protocol) -> int:
    """What the network tells apart: without the data set's class 0 where the protocol leaves it out."""
    return experiment.facts.classes - int(protocol.reduce_zero_label)


def chosen_device(device: str) -> str:
    """`auto` is an NVIDIA GPU where there is one; ParamsError for a device that is not there.

    Unlike in training MPS must be asked for: nobody has compared its numbers with a CPU's yet.
    """
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
