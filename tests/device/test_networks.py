"""Every kind of network on a device: no constant of a forward or backward pass stays on the CPU."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repro.models import build, resize_logits
from repro.params.parse import ResizeRule
from tests.device.pretend import DEVICE
from tests.models.kit import NETWORKS, filled, model_params, noise, relative_error

CLASSES, CROP = 5, 49


def network(raw: dict[str, Any]) -> nn.Module:
    model = build(model_params(raw), num_classes=CLASSES)
    model.load_state_dict(filled(model.state_dict()))
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    return model.double().train()


def gradients(model: nn.Module, image_NCHW: Tensor, rule: ResizeRule) -> tuple[list[Tensor], Tensor]:
    """(logits of every head as large as the image, gradient of the first convolution), on the CPU."""
    heads = [resize_logits(head, (CROP, CROP), rule) for head in model(image_NCHW)]
    torch.autograd.backward([head.square().mean() for head in heads])
    first = next(parameter for parameter in model.parameters() if parameter.dim() == 4)
    assert first.grad is not None
    return [head.detach().cpu() for head in heads], first.grad.cpu()


@pytest.mark.parametrize("name", NETWORKS)
def test_forward_and_backward_are_those_of_the_cpu(name: str) -> None:
    image_NCHW = noise(2, 3, CROP, CROP)
    model, rule = network(NETWORKS[name]), model_params(NETWORKS[name]).resize
    twin = deepcopy(model).to(DEVICE)
    wanted, wanted_gradient = gradients(model, image_NCHW, rule)
    found, gradient = gradients(twin, image_NCHW.to(DEVICE), rule)
    for ours, theirs in zip(found, wanted, strict=True):
        assert relative_error(ours, theirs) < 1e-9
    assert relative_error(gradient, wanted_gradient) < 1e-9
