"""Build an experiment's network: initial or trained weights, device, process group."""

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
from repro.evaluation.evaluate import Predict, predictor
from repro.models import build
from repro.params import Project, Protocol, TrainedExperiment
from repro.params.experiment import num_classes
from repro.records import sha256_file
from repro.training.distributed import pick_device, read_slurm_environment


def trained_model(path: Path, experiment: TrainedExperiment, device: str) -> nn.Module:
    """Build the experiment's network with the weights at `path`; CheckpointError if they do not fit."""
    state, _ = load_model(path)
    model = build(experiment.model, num_classes=num_classes(experiment, experiment.protocol))
    hint = f"`repro train {experiment.name}` trains the network of params.yaml"
    check_same_network(state, model.state_dict(), where=path, hint=hint)
    check_finite(state, where=path, hint=hint)
    model.load_state_dict(state)
    return model.to(device)


def trained_predictor(
    project: Project, experiment: TrainedExperiment, *, protocol: Protocol, device: str
) -> Predict:
    """A function from images to label maps, by the experiment's weights; raises like `trained_model`."""
    model = trained_model(project.weights(experiment.name), experiment, device).eval()
    return predictor(model, protocol=protocol, model_params=experiment.model, device=device)


def initial_weights(project: Project, experiment: TrainedExperiment) -> tuple[dict[str, Tensor] | None, str]:
    """(initial weights or None, their identity in the run key)."""
    if experiment.start_from is not None:
        path = project.weights(experiment.start_from)
        weights, _ = load_model(path)
        return weights, sha256_file(path)
    if experiment.model.pretrained is not None:
        return pretrained_backbone(experiment.model, random_weights(experiment))
    return None, ""


def initial_sha256(project: Project, experiment: TrainedExperiment) -> str:
    """Identity of the initial weights in the run key, without loading them; "" for random weights."""
    if experiment.start_from is not None:
        return sha256_file(project.weights(experiment.start_from))
    if experiment.model.pretrained is not None:
        return pretrained_id(experiment.model)
    return ""


def random_weights(experiment: TrainedExperiment) -> dict[str, Tensor]:
    """State dict of the network, randomly initialised from the experiment's seed."""
    torch.manual_seed(experiment.seed)
    classes = num_classes(experiment, experiment.protocol)
    return dict(build(experiment.model, num_classes=classes).state_dict())


def chosen_device(device: str) -> str:
    """Resolve `auto` to an NVIDIA GPU if there is one, else the CPU; ParamsError for a missing device.

    Unlike in training, `auto` never selects MPS, whose results have not been compared with a CPU's.
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
def process_group(device: str) -> Iterator[str]:
    """Yield the device of this process; joins the process group under torchrun or srun."""
    place = chosen_device(device)
    read_slurm_environment()
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield place
        return
    if place == "cuda":
        # Modulo, as in Accelerate: a scheduler may make only one GPU visible to each process, with index 0.
        place = f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
        torch.cuda.set_device(place)
    dist.init_process_group("gloo")  # only a few MB of counts are exchanged
    try:
        yield place
    finally:
        dist.destroy_process_group()
