"""An experiment's network: the weights it starts from and those it has, its classes, its device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from repro.checkpoints import check_finite, check_same_network, load_model, pretrained_backbone, pretrained_id
from repro.errors import ParamsError
from repro.models import build
from repro.params import Experiment, Project
from repro.params.experiment import num_classes
from repro.records import sha256_file
from repro.training.distributed import pick_device, slurm_place


def trained_model(path: Path, experiment: Experiment, device: str) -> nn.Module:
    """The experiment's network with the weights at `path`; CheckpointError when they do not fit."""
    state, _ = load_model(path)
    model = build(experiment.model, num_classes=num_classes(experiment, experiment.protocol))
    hint = f"`repro train {experiment.name}` makes weights for the network of params.yaml"
    check_same_network(state, model.state_dict(), where=path, hint=hint)
    check_finite(state, where=path, hint=hint)
    model.load_state_dict(state)
    return model.to(device)


def initial_weights(project: Project, experiment: Experiment) -> tuple[dict[str, Tensor] | None, str]:
    """(weights that training starts from or None, the sha256 that stands for them in the run key)."""
    if experiment.start_from is not None:
        path = project.weights(experiment.start_from)
        weights, _ = load_model(path)
        return weights, sha256_file(path)
    if experiment.model.pretrained is not None:
        return pretrained_backbone(experiment.model, first_weights(experiment))
    return None, ""


def initial_sha256(project: Project, experiment: Experiment) -> str:
    """The second half of `initial_weights`, without reading any weights; "" for a start from scratch."""
    if experiment.start_from is not None:
        return sha256_file(project.weights(experiment.start_from))
    if experiment.model.pretrained is not None:
        return pretrained_id(experiment.model)
    return ""


def first_weights(experiment: Experiment) -> dict[str, Tensor]:
    """The new network's values, drawn from the seed: what a file of a near relative lacks keeps them."""
    torch.manual_seed(experiment.seed)
    classes = num_classes(experiment, experiment.protocol)
    return dict(build(experiment.model, num_classes=classes).state_dict())


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
