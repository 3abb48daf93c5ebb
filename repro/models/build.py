"""One function from parameters to a network: `build`. A change here can change a number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from repro.models.heads import AuxHead, DeepLabV3Head, DeepLabV3PlusHead, SumHead
from repro.models.init import initialise
from repro.models.mobilenet import MobileNetV2
from repro.models.resnet import ResNet
from repro.params.model import ModelParams

BACKBONES: dict[str, Callable[[ModelParams], nn.Module]] = {
    "mobilenetv2": MobileNetV2,
    "resnet18": ResNet,
    "resnet50": ResNet,
    "resnet101": ResNet,
}
HEADS: dict[str, Callable[[tuple[int, ...], int, ModelParams], nn.Module]] = {
    "deeplabv2": SumHead,
    "deeplabv3": DeepLabV3Head,
    "deeplabv3plus": DeepLabV3PlusHead,
}


class SegmentationNet(nn.Module):
    """`backbone` makes features, `head` logits, `aux` (maybe empty) more logits for the loss alone."""

    def __init__(self, backbone: nn.Module, head: nn.Module, aux: nn.ModuleList) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.aux = aux

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        """Logits before the final resize: the prediction, and while training also the other heads'."""
        if self.training:
            return self.all_heads(image_NCHW)
        return _tuple(self.head(self.backbone(image_NCHW)))[:1]

    def all_heads(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        """Logits of every head in either mode; the prediction first."""
        features = self.backbone(image_NCHW)
        return (*_tuple(self.head(features)), *(aux(features) for aux in self.aux))


def build(params: ModelParams, *, num_classes: int) -> SegmentationNet:
    """The network that `params` describe, freshly initialised, in training mode, on the current device.

    Input: N x 3 x H x W, normalised, float32 (or another float type after a cast of the network).
    Outputs: see `SegmentationNet.forward`; each has `num_classes + params.head.extra_classes` channels, at
    about H / 4 (DeepLabV3+, FPN) or H / output_stride.
    """
    outputs = num_classes + params.head.extra_classes
    backbone = BACKBONES[params.backbone](params)
    head = HEADS[params.family](backbone.channels, outputs, params)  # type: ignore[arg-type]
    aux = nn.ModuleList()
    if params.aux is not None:
        aux.append(AuxHead(backbone.channels[2], outputs, params.aux, params.head.norm))  # type: ignore
    net = SegmentationNet(backbone, head, aux)
    if not next(net.parameters()).is_meta:
        initialise(net, params)
    return net


def build_on_meta(params: ModelParams, *, num_classes: int) -> SegmentationNet:
    """The same network without memory or values: for shapes, counts and key lists, in milliseconds."""
    with torch.device("meta"):
        return build(params, num_classes=num_classes)


def _tuple(logits: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return logits if isinstance(logits, tuple) else (logits,)
