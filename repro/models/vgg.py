"""Dilated VGG-16 and its heads: DeepLabV1 LargeFOV (arXiv 1412.7062) and DeepLabV2 (arXiv 1606.00915).

No published row uses them. Pools 4 and 5 have stride 1 and conv5 is dilated by 2, so the output stride is 8.
Pools are 3x3 with padding 1 as in the authors' code, not VGG's 2x2.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn

from repro.models.layers import Backbone, apply, conv2d
from repro.params.model import ModelParams

# per group: channels of its convolutions, stride of the pool after them, dilation
GROUPS = (
    ((64, 64), 2, 1),
    ((128, 128), 2, 1),
    ((256, 256, 256), 2, 1),
    ((512, 512, 512), 1, 1),
    ((512, 512, 512), 1, 2),
)
WIDTH = 1024  # of fc6 and fc7 after the authors' pruning from 4096
DROPOUT = 0.5


class VGG16(Backbone):
    """Thirteen convolutions in five groups; features: the output of each group."""

    channels = (64, 128, 256, 512, 512)

    def __init__(self, params: ModelParams) -> None:
        super().__init__()
        self.groups = nn.ModuleList()
        inputs = 3
        for widths, stride, dilation in GROUPS:
            layers: list[nn.Module] = []
            for width in widths:
                layers += [conv2d(inputs, width, 3, dilation=dilation, bias=True), nn.ReLU(inplace=True)]
                inputs = width
            self.groups.append(nn.Sequential(*layers, nn.MaxPool2d(3, stride, 1)))

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        x_NCHW, outputs = image_NCHW, []
        for group in self.groups:
            x_NCHW = group(x_NCHW)
            outputs.append(x_NCHW)
        return tuple(outputs)


class FullyConvolutionalHead(nn.Module):
    """fc6 (3x3, dilated), fc7 and fc8 per rate, summed: one rate (12) is LargeFOV, four are ASPP."""

    def __init__(self, channels: tuple[int, ...], outputs: int, params: ModelParams) -> None:
        super().__init__()
        rates = params.head.rates or ((12,) if params.family == "deeplabv1" else (6, 12, 18, 24))
        self.branches = nn.ModuleList(_stack(channels[-1], outputs, rate) for rate in rates)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        return reduce(torch.add, (apply(features[-1], branch) for branch in self.branches))


def _stack(inputs: int, outputs: int, rate: int) -> nn.Sequential:
    layers: list[nn.Module] = [conv2d(inputs, WIDTH, 3, dilation=rate, bias=True)]
    layers += [nn.ReLU(inplace=True), nn.Dropout(DROPOUT), conv2d(WIDTH, WIDTH, 1, bias=True)]
    layers += [nn.ReLU(inplace=True), nn.Dropout(DROPOUT), conv2d(WIDTH, outputs, 1, bias=True)]
    return nn.Sequential(*layers)
