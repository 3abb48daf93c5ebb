"""Our networks give the logits of mmsegmentation, segmentation_models_pytorch and timm (float64, eval)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repro.checkpoints import convert, convert_back, guess_format
from repro.checkpoints.weights_cache import KNOWN
from repro.models import SegmentationNet, build_on_meta
from tests.models.kit import (
    MM,
    MM18,
    PLUS,
    SLIM,
    SLIM_V2,
    SLIM_V3,
    filled,
    model_params,
    net,
    noise,
    relative_error,
)
from tests.parity import peers

BOUND = 1e-10
MM3 = MM | {"family": "deeplabv3"}
MM3 |= {
    "head": {key: value for key, value in MM["head"].items() if key not in ("separable", "decoder_convs")}
}
MM3 |= {"head": MM3["head"] | {"decoder_convs": 0}}


def prepared(module: nn.Module) -> nn.Module:
    """Random weights and random batch statistics, float64, eval."""
    module = module.double().eval()
    module.load_state_dict(filled(module.state_dict()))
    return module


def ours(raw: Mapping[str, Any], state: Mapping[str, Tensor], *, classes: int) -> SegmentationNet:
    """Our network with another library's state dict converted into it."""
    params = model_params(raw)
    network = build_on_meta(params, num_classes=classes).double().to_empty(device="cpu").eval()
    name = guess_format(state, "peer")
    fresh = filled(network.state_dict())
    network.load_state_dict(fresh | convert(state, fresh, format_name=name, params=params, where="peer"))
    return network


@pytest.mark.parametrize(
    ("depth", "raw", "plus"),
    [
        (18, net(MM18, "resnet18", 8), True),
        (50, net(MM, "resnet50", 8), True),
        (50, net(MM3, "resnet50", 8), False),
    ],
)
def test_mmsegmentation(depth: int, raw: dict[str, Any], plus: bool) -> None:
    """Page 004's DeepLabV3+ R-18 and R-50, and DeepLabV3: both heads, every entry, and bit-equal back."""
    theirs = prepared(peers.MMSegmentation(depth=depth, classes=7, plus=plus))
    state = theirs.state_dict()
    network = ours(raw, state, classes=7)
    image = noise(1, 3, 65, 89)
    with torch.no_grad():
        for found, wanted in zip(network.all_heads(image), theirs(image), strict=True):
            assert relative_error(found, wanted) < BOUND
    back = convert_back(
        network.state_dict(), format_name="mmsegmentation", params=model_params(raw), where="peer"
    )
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)
    assert sum(w.numel() for w in network.parameters()) == sum(w.numel() for w in theirs.parameters())


@pytest.mark.parametrize("encoder", ["resnet50", "resnet18"])
def test_segmentation_models_pytorch_encoder(encoder: str) -> None:
    """Its dilated ResNets, which dilate a stage's first block and both 3x3 of a BasicBlock fully."""
    theirs = prepared(peers.smp("DeepLabV3Plus", encoder, classes=3, stride=16))
    choices = {"resnet": {"first_dilation": "full", "basic_dilation": "both"}}
    state = {
        key.removeprefix("encoder."): v
        for key, v in theirs.state_dict().items()
        if key.startswith("encoder.")
    }
    network = ours(net(PLUS | choices, encoder, 16), state, classes=3)
    image = noise(1, 3, 64, 96)
    with torch.no_grad():
        features = theirs.encoder(image)
        for found, wanted in zip(network.backbone(image), features[2:], strict=True):
            assert relative_error(found, wanted) < BOUND


def test_segmentation_models_pytorch_deeplabv3() -> None:
    """Its DeepLabV3 is torchvision's with a fully dilated encoder: the head compared on its own features."""
    theirs = prepared(peers.smp("DeepLabV3", "resnet50", classes=3, stride=8))
    raw = {"family": "deeplabv3", "resnet": {"first_dilation": "full"}}
    names = {
        "encoder.": "backbone.",
        "decoder.aspp.": "classifier.0.",
        "decoder.conv.": "classifier.1.",
        "decoder.bn.": "classifier.2.",
        "segmentation_head.0.": "classifier.4.",
    }
    state = {
        new + key.removeprefix(old): value
        for key, value in theirs.state_dict().items()
        for old, new in names.items()
        if key.startswith(old)
    }
    network = ours(net(raw, "resnet50", 8), state, classes=3)
    image = noise(1, 3, 64, 96)
    with torch.no_grad():
        wanted = theirs.segmentation_head[0](theirs.decoder(theirs.encoder(image)))
        assert relative_error(network(image)[0], wanted) < BOUND


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("resnet50", net(PLUS, "resnet50", 32)),
        ("resnet50c", net(PLUS | {"resnet": {"stem": "deep"}}, "resnet50", 32)),
        ("mobilenetv2_100", net(PLUS | {"mobilenet": {"pad": "depthwise"}}, "mobilenetv2", 32)),
    ],
)
def test_timm_features(name: str, raw: dict[str, Any]) -> None:
    """The features behind each stage, from timm's own names."""
    theirs = prepared(peers.timm(name))
    network = ours(raw, theirs.state_dict(), classes=2)
    image = noise(1, 3, 65, 97)
    with torch.no_grad():
        found = network.backbone(image)
        wanted = theirs.forward_intermediates(image, intermediates_only=True)
        if name == "mobilenetv2_100":
            assert relative_error(found[0], wanted[1]) < BOUND
            assert relative_error(found[1], theirs.blocks(theirs.bn1(theirs.conv_stem(image)))) < BOUND
        else:
            for one, other in zip(found, wanted[1:], strict=True):
                assert relative_error(one, other) < BOUND


@pytest.mark.parametrize("choices", [SLIM_V2 | {"dilations": [1, 1, 2, 4]}, SLIM_V3], ids=["v2", "v3"])
def test_timm_resnetv2_fills_the_slim_rows(choices: dict[str, Any]) -> None:
    """Every entry of the file is used or known to be unused; what it lacks keeps its first value."""
    theirs = filled(peers.timm("resnetv2_101").state_dict())
    raw = net(SLIM | {"resnet": choices, "family": "deeplabv3"}, "resnet101", 16)
    params = model_params(raw | {"head": {"fuse": "sum", "decoder_convs": 0}})
    fresh = build_on_meta(params, num_classes=21).state_dict()
    state = convert(theirs, fresh, format_name=guess_format(theirs, "timm"), params=params, where="timm")
    assert torch.equal(
        state["backbone.stages.2.22.bn1.weight"], theirs["stages.2.blocks.22.norm2.weight"].float()
    )
    kept = {key for key in fresh if key.startswith("backbone.") and key not in state}
    assert all(key.endswith(".bias") or "stages.3." in key for key in kept)


def test_timm_still_publishes_the_weights_that_the_store_names() -> None:
    """The name in our table is one that timm knows; its digits are those of the release."""
    assert KNOWN["timm_resnetv2_101"].url.endswith("-5d01f016.pth")
    assert peers.timm("resnetv2_101").default_cfg["architecture"] == "resnetv2_101"
