"""The same networks as torchvision's, value by value: an implementation that shares nothing with ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repro.checkpoints import convert, guess_format
from repro.models import build_on_meta
from tests.models.kit import PLUS, filled, model_params, net, noise, relative_error

V3 = {"family": "deeplabv3", "head": {"dropout": 0.5}, "aux": {"channels": 256}}
BOUND = 1e-10  # float64; the issue asks for 1e-5
pytestmark = pytest.mark.slow


def load(module: nn.Module) -> nn.Module:
    """Random weights and random batch statistics, float64, eval."""
    module = module.double().eval()
    module.load_state_dict(filled(module.state_dict()))
    return module


def ours(raw: Mapping[str, Any], state: Mapping[str, Tensor], *, classes: int) -> Any:
    """Our network with a torchvision state dict converted into it."""
    params = model_params(raw)
    network = build_on_meta(params, num_classes=classes).double().to_empty(device="cpu").eval()
    network.load_state_dict(filled(network.state_dict()))
    name = guess_format(state, "torchvision")
    converted = convert(state, network.state_dict(), format_name=name, params=params, where="torchvision")
    network.load_state_dict(converted, strict=name == "torchvision")
    return network


@pytest.mark.parametrize("depth", [50, 101])
def test_deeplabv3_equals_torchvision(depth: int) -> None:
    """Both heads, at its output stride 8 and its ASPP rates."""
    from torchvision.models import segmentation

    theirs = load(
        getattr(segmentation, f"deeplabv3_resnet{depth}")(
            weights=None, weights_backbone=None, num_classes=5, aux_loss=True
        )
    )
    network = ours(net(V3, f"resnet{depth}", 8), theirs.state_dict(), classes=5)
    image = noise(1, 3, 33, 41)
    with torch.no_grad():
        wanted = theirs.backbone(image)
        logits, aux = network.all_heads(image)
        assert relative_error(logits, theirs.classifier(wanted["out"])) < BOUND
        assert relative_error(aux, theirs.aux_classifier(wanted["aux"])) < BOUND


@pytest.mark.parametrize(
    ("backbone", "stride"), [("resnet18", 32), ("resnet50", 32), ("resnet50", 16), ("resnet50", 8)]
)
def test_resnet_features_equal_torchvision(backbone: str, stride: int) -> None:
    from torchvision import models

    dilated = {32: (False, False, False), 16: (False, False, True), 8: (False, True, True)}[stride]
    choice = {} if stride == 32 else {"replace_stride_with_dilation": list(dilated)}
    theirs = load(getattr(models, backbone)(weights=None, **choice))
    network = ours(net(PLUS, backbone, stride), theirs.state_dict(), classes=2)
    x = image = noise(1, 3, 33, 41)
    with torch.no_grad():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(x))))
        for index, found in enumerate(network.backbone(image), 1):
            x = getattr(theirs, f"layer{index}")(x)
            assert relative_error(found, x) < BOUND


def test_mobilenetv2_features_equal_torchvision() -> None:
    """With padding inside the depthwise convolutions, as torchvision has it, at stride 32."""
    from torchvision import models

    theirs = load(models.mobilenet_v2(weights=None))
    raw = net(PLUS, "mobilenetv2", 32) | {"mobilenet": {"pad": "depthwise"}}
    network = ours(raw, theirs.state_dict(), classes=2)
    image = noise(1, 3, 65, 81)
    with torch.no_grad():
        low, deep = network.backbone(image)
        assert relative_error(low, theirs.features[:4](image)) < BOUND
        assert relative_error(deep, theirs.features[:18](image)) < BOUND
