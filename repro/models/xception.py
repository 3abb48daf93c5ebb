"""Xception-65, the backbone of the DeepLabV3+ paper (arXiv 1802.02611, figure 4). No published row uses it.

Features: 256 channels at stride 4 (second convolution of the second module), 2048 at the output stride.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from repro.models.layers import Backbone, ConvNorm, batch_norm, conv2d
from repro.params.backbones import NormParams
from repro.params.model import ModelParams


class SeparableConv(nn.Module):
    """Depthwise 3x3 BN, pointwise 1x1 BN; ReLU before both, or with `after` behind each (last module)."""

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, dilation: int, after: bool, norm: NormParams
    ) -> None:
        super().__init__()
        self.after = after
        self.depthwise = conv2d(inputs, inputs, 3, stride=stride, dilation=dilation, groups=inputs)
        self.bn1 = batch_norm(inputs, norm)
        self.pointwise = conv2d(inputs, outputs, 1)
        self.bn2 = batch_norm(outputs, norm)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x_NCHW = self.bn1(self.depthwise(x_NCHW if self.after else F.relu(x_NCHW)))
        x_NCHW = self.bn2(self.pointwise(F.relu(x_NCHW) if self.after else x_NCHW))
        return F.relu(x_NCHW) if self.after else x_NCHW


class Module(nn.Module):
    """Three separable convolutions, the last with the stride, and a shortcut: conv, sum or none."""

    def __init__(
        self,
        inputs: int,
        widths: tuple[int, int, int],
        *,
        stride: int = 1,
        dilation: int = 1,
        shortcut: str,
        norm: NormParams,
    ) -> None:
        super().__init__()
        self.shortcut = shortcut
        before, strides = (inputs, *widths[:2]), (1, 1, stride)
        self.convs = nn.ModuleList(
            SeparableConv(i, o, stride=s, dilation=dilation, after=shortcut == "none", norm=norm)
            for i, o, s in zip(before, widths, strides, strict=True)
        )
        self.project = None
        if shortcut == "conv":
            self.project = nn.Sequential(
                conv2d(inputs, widths[2], 1, stride=stride), batch_norm(widths[2], norm)
            )

    def forward(self, x_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """(output, output of the second convolution)."""
        second_NCHW = self.convs[1](self.convs[0](x_NCHW))
        y_NCHW = self.convs[2](second_NCHW)
        if self.project is not None:
            y_NCHW = y_NCHW + self.project(x_NCHW)
        elif self.shortcut == "sum":
            y_NCHW = y_NCHW + x_NCHW
        return y_NCHW, second_NCHW


class Xception65(Backbone):
    """Entry (3 modules), middle (16), exit (2); dilated once the output stride is reached."""

    channels = (256, 2048)

    def __init__(self, params: ModelParams) -> None:
        super().__init__()
        norm, stride = params.norm, params.output_stride
        self.stem = nn.Sequential(
            ConvNorm(conv2d(3, 32, 3, stride=2), norm), ConvNorm(conv2d(32, 64, 3), norm)
        )
        third, middle = (1, 2) if stride == 8 else (2, 1)  # stride of module 3, dilation from there on
        fourth = 2 if stride == 32 else 1
        last = middle * (2 if fourth == 1 else 1)
        self.low = Module(64, (128, 128, 128), stride=2, shortcut="conv", norm=norm)
        self.entry = Module(128, (256, 256, 256), stride=2, shortcut="conv", norm=norm)
        deep = [Module(256, (728, 728, 728), stride=third, shortcut="conv", norm=norm)]
        for _ in range(16):
            deep.append(Module(728, (728, 728, 728), dilation=middle, shortcut="sum", norm=norm))
        deep.append(
            Module(728, (728, 1024, 1024), stride=fourth, dilation=middle, shortcut="conv", norm=norm)
        )
        deep.append(Module(1024, (1536, 1536, 2048), dilation=last, shortcut="none", norm=norm))
        self.deep = nn.ModuleList(deep)

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        x_NCHW, _ = self.low(self.stem(image_NCHW))
        x_NCHW, low_NCHW = self.entry(x_NCHW)
        for module in self.deep:
            x_NCHW, _ = module(x_NCHW)
        return low_NCHW, x_NCHW
