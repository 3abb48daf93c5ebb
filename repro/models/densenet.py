"""The DenseNet family of page 003: dense blocks with growing dilation.

Differences from torchvision: no norm in the stem, biases in every convolution, TensorFlow's padding, no
stride in transitions past the output stride, squeeze-and-excitation. Features: outputs of the four blocks.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.models.layers import Backbone, SameMaxPool2d, apply, batch_norm, conv2d, same_avg_pool
from repro.params.backbones import DenseNetParams, NormParams
from repro.params.model import ModelParams

DILATIONS = (1, 1, 2, 4)  # of the blocks, at every output stride (recipes 3.2)
TRANSITIONS = {8: (2, 1, 1), 16: (2, 2, 1), 32: (2, 2, 2)}  # strides after the stem's 4


class Unit(nn.Module):
    """BN, ReLU, convolution with bias: the order used throughout this family."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, norm: NormParams, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        self.bn = batch_norm(inputs, norm)
        self.conv = conv2d(inputs, outputs, kernel, stride=stride, dilation=dilation, bias=True, same=True)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return apply(F.relu(self.bn(x_NCHW)), self.conv)


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation; the hidden layer has `channels // ratio` units."""

    def __init__(self, channels: int, *, ratio: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // ratio)
        self.excite = nn.Linear(channels // ratio, channels)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        hidden_NC = F.relu(self.squeeze(x_NCHW.mean((2, 3))))
        return x_NCHW * torch.sigmoid(self.excite(hidden_NC))[:, :, None, None]


class DenseLayer(nn.Module):
    """1x1 to 4k channels, 3x3 to k channels, concatenated to the input."""

    def __init__(self, inputs: int, *, dilation: int, dense: DenseNetParams, norm: NormParams) -> None:
        super().__init__()
        growth = dense.growth
        self.narrow = Unit(inputs, 4 * growth, 1, norm=norm)
        self.grow = Unit(4 * growth, growth, 3, norm=norm, dilation=dilation)
        self.se = SqueezeExcite(growth, ratio=dense.se) if dense.se else nn.Identity()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return torch.cat([x_NCHW, self.se(self.grow(self.narrow(x_NCHW)))], 1)


class Transition(nn.Module):
    """1x1 to `outputs` channels, then a 2x2 average pool with the stride of the transition.

    `keep_pool` keeps the pool at stride 1. `se` is the squeeze-and-excitation ratio of the result, or 0.
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, keep_pool: bool, se: int, norm: NormParams
    ) -> None:
        super().__init__()
        self.unit = Unit(inputs, outputs, 1, norm=norm)
        self.stride = stride
        self.pools = stride > 1 or keep_pool
        self.se = SqueezeExcite(outputs, ratio=se) if se else nn.Identity()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x_NCHW = self.unit(x_NCHW)
        if self.pools:
            x_NCHW = same_avg_pool(x_NCHW, stride=self.stride)
        return apply(x_NCHW, self.se)


class ResidualTransition(nn.Module):
    """003-049 (transitionsenet2): 1x1 to c/4, strided 3x3, 1x1 to c, SE of ratio 2, plus a skip."""

    def __init__(self, channels: int, *, stride: int, norm: NormParams) -> None:
        super().__init__()
        width = channels // 4
        self.narrow = Unit(channels, width, 1, norm=norm)
        self.middle = Unit(width, width, 3, norm=norm, stride=stride)
        self.widen = Unit(width, channels, 1, norm=norm)
        self.se = SqueezeExcite(channels, ratio=2)
        self.skip = Unit(channels, channels, 1, norm=norm, stride=stride) if stride > 1 else nn.Identity()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW = apply(x_NCHW, self.narrow, self.middle, self.widen, self.se)
        return y_NCHW + apply(x_NCHW, self.skip)


class DenseNet(Backbone):
    """Stem, four dense blocks, three transitions; `channels` are those of the blocks' outputs."""

    def __init__(self, params: ModelParams) -> None:
        super().__init__()
        dense, norm = params.densenet, params.norm
        assert dense is not None  # ModelParams ensures it
        self.stem, width = STEMS[dense.stem](2 * dense.growth)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        channels = []
        for index, (layers, dilation) in enumerate(zip(dense.blocks, DILATIONS, strict=True)):
            block = nn.Sequential()
            for _ in range(layers):
                block.append(DenseLayer(width, dilation=dilation, dense=dense, norm=norm))
                width += dense.growth
            self.blocks.append(block)
            channels.append(width)
            if index < 3:
                stride = TRANSITIONS[params.output_stride][index]
                transition, width = _transition(width, stride=stride, dense=dense, norm=norm)
                self.transitions.append(transition)
        self.channels = tuple(channels)

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        """Outputs of the blocks, before their transitions."""
        x_NCHW, outputs = self.stem(image_NCHW), []
        for block, transition in zip(self.blocks, [*self.transitions, nn.Identity()], strict=True):
            outputs.append(block(x_NCHW))
            x_NCHW = transition(outputs[-1])
        return tuple(outputs)


def _transition(
    channels: int, *, stride: int, dense: DenseNetParams, norm: NormParams
) -> tuple[nn.Module, int]:
    """(transition after `channels`, number of channels after it)."""
    if dense.transition == "residual":
        return ResidualTransition(channels, stride=stride, norm=norm), channels
    outputs, se = int(channels * dense.compression), 4 if dense.transition == "se4" else 0
    keep = dense.late_pooling
    return Transition(channels, outputs, stride=stride, keep_pool=keep, se=se, norm=norm), outputs


def _stem_7x7(width: int) -> tuple[nn.Sequential, int]:
    conv = conv2d(3, width, 7, stride=2, bias=True, same=True)
    return nn.Sequential(conv, SameMaxPool2d(kernel=3, stride=2)), width


def _stem_3x3(width: int) -> tuple[nn.Sequential, int]:
    """Three consecutive convolutions; `width` is ignored."""
    first = conv2d(3, 64, 3, stride=2, bias=True, same=True)
    rest = [conv2d(64, 64, 3, bias=True), conv2d(64, 128, 3, bias=True)]
    return nn.Sequential(first, *rest, SameMaxPool2d(kernel=2, stride=2)), 128


STEMS = {"7x7": _stem_7x7, "3x3": _stem_3x3}
