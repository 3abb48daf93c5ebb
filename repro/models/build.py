"""Build a network from its parameters. A change here can change measured metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

import torch
from torch import Tensor, nn

from repro.models.dense_heads import dense_head
from repro.models.densenet import DenseNet
from repro.models.heads import AuxHead, DeepLabV3Head, DeepLabV3PlusHead, SumHead
from repro.models.init import initialise
from repro.models.layers import Backbone
from repro.models.mobilenet import MobileNetV2
from repro.models.reference import build_reference, without_memory
from repro.models.resnet import ResNet
from repro.models.resnet_v2 import ResNetV2
from repro.models.vgg import VGG16, FullyConvolutionalHead
from repro.models.xception import Xception65
from repro.params.model import ModelParams
from repro.params.reference import NetworkParams, ReferenceModel

BACKBONES: dict[str, Callable[[ModelParams], Backbone]] = {
    "mobilenetv2": MobileNetV2,
    "resnet18": ResNet,
    "resnet50": ResNet,
    "resnet101": ResNet,
    "resnet50-v2": ResNetV2,
    "resnet101-v2": ResNetV2,
    "xception65": Xception65,
    "vgg16": VGG16,
    "densenet": DenseNet,
}
HEADS: dict[str, Callable[[tuple[int, ...], int, ModelParams], nn.Module]] = {
    "deeplabv1": FullyConvolutionalHead,
    "deeplabv2": SumHead,
    "deeplabv3": DeepLabV3Head,
    "deeplabv3plus": DeepLabV3PlusHead,
    "densenet": dense_head,
}


class SegmentationNet(nn.Module):
    """A backbone, a head for the prediction, and auxiliary heads (maybe none) used only by the loss."""

    def __init__(self, backbone: nn.Module, head: nn.Module, aux: nn.ModuleList) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.aux = aux

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        """Logits before the final resize: of every head in training mode, else of the prediction only."""
        if self.training:
            return self.all_heads(image_NCHW)
        return _tuple(self.head(self.backbone(image_NCHW)))[:1]

    def all_heads(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        """Logits of every head in either mode; the prediction first."""
        features = self.backbone(image_NCHW)
        return (*_tuple(self.head(features)), *(aux(features) for aux in self.aux))


@overload
def build(params: ModelParams, *, num_classes: int, pretrained: bool = False) -> SegmentationNet: ...
@overload
def build(params: NetworkParams, *, num_classes: int, pretrained: bool = False) -> nn.Module: ...
def build(params: NetworkParams, *, num_classes: int, pretrained: bool = False) -> nn.Module:
    """Build the network that `params` describe, randomly initialised and in training mode.

    Args:
        params: architecture, normalisation and initialisation; or what to call, of a network by reference.
        num_classes: number of classes of the data set, without `params.head.extra_classes`.
        pretrained: initialise a network by reference with its `pretrained_args`.

    Returns:
        A network on the current device. It takes normalised float images of shape (N, 3, H, W) and returns a
        tuple of logits, the prediction first. Ours have `num_classes + params.head.extra_classes` channels at
        about H / 4 (DeepLabV3+, FPN) or H / output_stride; see `SegmentationNet.forward`.
    """
    if isinstance(params, ReferenceModel):
        return build_reference(params, num_classes=num_classes, pretrained=pretrained)
    outputs = num_classes + params.head.extra_classes
    version = "-v2" if params.resnet.version == "v2" else ""
    backbone = BACKBONES[params.backbone + version](params)
    make_head = FullyConvolutionalHead if params.backbone == "vgg16" else HEADS[params.family]
    head = make_head(backbone.channels, outputs, params)
    aux = nn.ModuleList()
    if params.aux is not None:
        aux.append(AuxHead(backbone.channels[2], outputs, params.aux, params.head.norm))
    net = SegmentationNet(backbone, head, aux)
    if not next(net.parameters()).is_meta:
        initialise(net, params)
    return net


def build_on_meta(params: NetworkParams, *, num_classes: int) -> nn.Module:
    """Build the network on the meta device, without memory: for shapes, counts and key lists."""
    if isinstance(params, ReferenceModel):
        return without_memory(params, num_classes=num_classes, run=lambda net: net)
    with torch.device("meta"):
        return build(params, num_classes=num_classes)


def _tuple(logits: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return logits if isinstance(logits, tuple) else (logits,)
