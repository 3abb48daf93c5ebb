"""A training step of DeepLabV3+ beside the same network of other libraries, same shapes, same run.

Bounds: not slower at equal settings (fp32, contiguous); with bf16 + channels_last at most 0.72 (MobileNetV2)
and 0.56 (R-18) of the peer's eager fp32 step, on a CPU with bf16 instructions. Medians of steps in turn.
The MobileNetV2 network is built like the peer's: separable, padded in the depthwise convolutions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.models import build, number_formats, resize_logits
from tests.bench.row import Row, medians
from tests.models.kit import MM18, PLUS, model_params, net
from tests.parity import peers

SHAPE, CLASSES, REPEATS = (2, 3, 256, 256), 19, 9


def rows() -> Iterator[Row]:
    """Forward and backward of DeepLabV3+ MobileNetV2 OS16 (smp) and R-18 OS8 (mmsegmentation)."""
    like_smp = {"separable": True, "rates": [12, 24, 36], "dropout": 0.5, "low_level_first": False}
    mobile = model_params(
        net(PLUS, "mobilenetv2", 16) | {"mobilenet": {"pad": "depthwise"}, "head": like_smp}
    )
    smp = peers.smp("DeepLabV3Plus", "mobilenet_v2", classes=CLASSES, stride=16)
    yield from _pair("DeepLabV3+ MobileNetV2 OS16", mobile, "segmentation_models_pytorch", smp, 0.72)
    small = model_params(net(MM18, "resnet18", 8))
    mmseg = peers.MMSegmentation(depth=18, classes=CLASSES)
    yield from _pair("DeepLabV3+ R-18-D8", small, "mmsegmentation", mmseg, 0.56)


def _pair(name: str, params: Any, peer_name: str, peer: nn.Module, bound: float) -> Iterator[Row]:
    torch.manual_seed(0)
    network = build(params, num_classes=CLASSES)
    half = copy.deepcopy(network).to(memory_format=torch.channels_last)
    ours, fast, other = medians(step(network), step(half, half=True), step(peer), repeats=REPEATS)
    yield Row(name=f"{name}, fp32 step", peer_name=peer_name, ours=ours, peer=other, bound=1.0)
    label = f"{name}, bf16 + channels_last step"
    yield Row(name=label, peer_name=f"{peer_name}, fp32", ours=fast, peer=other, bound=bound)


def step(network: nn.Module, *, half: bool = False) -> Callable[[], None]:
    """Forward, loss over all heads at full size, backward; one call is made to warm up."""
    image = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    label = torch.randint(0, CLASSES, (SHAPE[0], *SHAPE[2:]), generator=torch.Generator().manual_seed(1))
    if half:
        image = image.to(memory_format=torch.channels_last)
    network.train()

    def run() -> None:
        network.zero_grad(set_to_none=True)
        with number_formats.autocast("cpu") if half else nullcontext():
            outputs = network(image)
        heads = (outputs,) if isinstance(outputs, Tensor) else outputs
        losses = [
            F.cross_entropy(resize_logits(logits.float(), SHAPE[2:], "half_pixel"), label)  # type: ignore[arg-type]
            for logits in heads
        ]
        torch.stack(losses).sum().backward()

    run()
    return run
