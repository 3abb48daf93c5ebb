"""What a training starts from: another experiment's weights, ImageNet weights, or nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from repro.checkpoints import load_model, pretrained_backbone, store
from repro.models import build
from repro.params import Experiment, Project
from repro.records import sha256_file
from repro.stages.network import num_classes


def initial_weights(project: Project, experiment: Experiment) -> tuple[dict[str, Tensor] | None, str]:
    """(weights that training starts from or None, the sha256 that stands for them in the run key)."""
    if experiment.start_from is not None:
        path = project.experiments / experiment.start_from / "model.safetensors"
        weights, _ = load_model(path)
        return weights, sha256_file(path)
    if experiment.model.pretrained is not None:
        return pretrained_backbone(experiment.model, first_weights(experiment))
    return None, ""


def initial_sha256(project: Project, experiment: Experiment) -> str:
    """The second half of `initial_weights`, without reading any weights; "" for a start from scratch."""
    if experiment.start_from is not None:
        return sha256_file(project.experiments / experiment.start_from / "model.safetensors")
    if experiment.model.pretrained is not None:
        return sha256_file(store.find(experiment.model.pretrained))
    return ""


def first_weights(experiment: Experiment) -> dict[str, Tensor]:
    """The new network's values, drawn from the seed: what a file of a near relative lacks keeps them."""
    torch.manual_seed(experiment.seed)
    classes = num_classes(experiment, experiment.protocol)
    return dict(build(experiment.model, num_classes=classes).state_dict())
