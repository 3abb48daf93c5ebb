"""Convolutions with batch normalisation, and the paddings of PyTorch and TensorFlow.

Shapes: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from repro.models.depthwise import DilatedDepthwise
from repro.params.backbones import NormParams


def same_pad(x_NCHW: Tensor, *, kernel: int, stride: int, dilation: int = 1, value: float = 0.0) -> Tensor:
    """Pad as TensorFlow's SAME does: output ceil(size / stride), the odd pixel at the bottom and right."""
    height, width = x_NCHW.shape[-2:]
    span = (kernel - 1) * dilation + 1
    rows = max((math.ceil(height / stride) - 1) * stride + span - height, 0)
    columns = max((math.ceil(width / stride) - 1) * stride + span - width, 0)
    if not (rows or columns):
        return x_NCHW
    return F.pad(x_NCHW, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2), value=value)


class SameConv2d(nn.Conv2d):
    """A strided convolution under TensorFlow's SAME padding, which depends on the input size."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        kernel, stride, dilation = self.kernel_size[0], self.stride[0], self.dilation[0]
        return super().forward(same_pad(x_NCHW, kernel=kernel, stride=stride, dilation=dilation))


class SameMaxPool2d(nn.MaxPool2d):
    """Max pooling under TensorFlow's SAME padding: a padded pixel never wins."""

    def __init__(self, *, kernel: int, stride: int) -> None:
        super().__init__(kernel, stride)
        self.same = {"kernel": kernel, "stride": stride}

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.max_pool2d(same_pad(x_NCHW, **self.same, value=-math.inf), self.kernel_size, self.stride)


def same_avg_pool(x_NCHW: Tensor, *, stride: int) -> Tensor:
    """2x2 average pooling under TensorFlow's SAME padding: padded pixels are not counted.

    A window that hangs over the edge averages what is inside: with stride 2 `ceil_mode` does that, with
    stride 1 repeating the last row and column gives the same mean.
    """
    if stride == 1:
        x_NCHW = F.pad(x_NCHW, (0, 1, 0, 1), mode="replicate")
    return F.avg_pool2d(x_NCHW, 2, stride, ceil_mode=True)


def conv2d(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
    same: bool = False,
    pad: bool = True,
) -> nn.Conv2d:
    """A convolution that keeps ceil(size / stride); `same` pads a strided one as TensorFlow does."""
    # At stride 1 and an odd kernel both paddings are the same, and the static one is faster.
    if same and stride > 1 and kernel > 1:
        return SameConv2d(inputs, outputs, kernel, stride, 0, dilation, groups, bias)
    if kernel == 3 and stride == 1 and dilation > 1 and groups == inputs == outputs and not bias:
        return DilatedDepthwise(inputs, dilation=dilation, pad=pad)
    padding = dilation * (kernel // 2) if pad else 0
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias)


def batch_norm(channels: int, norm: NormParams) -> nn.BatchNorm2d:
    """Batch normalisation over `channels` with the eps and momentum of `norm`."""
    return nn.BatchNorm2d(channels, eps=norm.eps, momentum=norm.momentum)


class Backbone(nn.Module):
    """What makes features: `channels` of each of its outputs, shallow to deep."""

    channels: tuple[int, ...]


def through(x_NCHW: Tensor, *modules: nn.Module) -> Tensor:
    """`x_NCHW` through `modules`, one after the other; typed, where the call of a module is Any."""
    for module in modules:
        x_NCHW = module(x_NCHW)
    return x_NCHW


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, activation; the block of every head here."""

    def __init__(self, conv: nn.Conv2d, norm: NormParams, *, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.bn = batch_norm(conv.out_channels, norm)
        self.activation = nn.ReLU(inplace=True) if activation is None else activation

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return through(x_NCHW, self.conv, self.bn, self.activation)


class Separable(nn.Module):
    """A 3x3 depthwise and a 1x1 convolution, each with BN and ReLU (001, 004)."""

    def __init__(self, inputs: int, outputs: int, *, dilation: int, norm: NormParams) -> None:
        super().__init__()
        self.depthwise = ConvNorm(conv2d(inputs, inputs, 3, dilation=dilation, groups=inputs), norm)
        self.pointwise = ConvNorm(conv2d(inputs, outputs, 1), norm)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return through(x_NCHW, self.depthwise, self.pointwise)


def conv3x3_norm(
    inputs: int, outputs: int, *, dilation: int = 1, separable: bool, norm: NormParams
) -> nn.Module:
    """A 3x3 convolution with BN and ReLU, plain or separable."""
    if separable:
        return Separable(inputs, outputs, dilation=dilation, norm=norm)
    return ConvNorm(conv2d(inputs, outputs, 3, dilation=dilation), norm)
