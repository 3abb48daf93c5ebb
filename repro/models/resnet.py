"""ResNet-18, -50 and -101 (activation after the sum), with every dilation scheme that the pages use.

Stages are named layer1 to layer4, as in published checkpoints. Features: their four outputs.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from repro.models.layers import Backbone, SameMaxPool2d, apply, batch_norm, conv2d
from repro.params.backbones import NormParams
from repro.params.model import ModelParams

WIDTHS = (64, 128, 256, 512)
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
STRIDES = {8: (1, 2, 1, 1), 16: (1, 2, 2, 1), 32: (1, 2, 2, 2)}
DILATIONS = {8: (1, 1, 2, 4), 16: (1, 1, 1, 2), 32: (1, 1, 1, 1)}


class BasicBlock(nn.Module):
    """3x3, 3x3 and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, *, stride: int, dilation: int, params: ModelParams) -> None:
        super().__init__()
        second = dilation if params.resnet.basic_dilation == "both" else 1
        same = params.padding == "same"
        self.conv1 = conv2d(inputs, width, 3, stride=stride, dilation=dilation, same=same)
        self.bn1 = batch_norm(width, params.norm)
        self.conv2 = conv2d(width, width, 3, dilation=second)
        self.bn2 = batch_norm(width, params.norm)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inputs, width, stride=stride, dilation=dilation, params=params)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW = apply(x_NCHW, self.conv1, self.bn1, self.relu, self.conv2, self.bn2)
        y_NCHW += x_NCHW if self.downsample is None else self.downsample(x_NCHW)
        return apply(y_NCHW, self.relu)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 to four times the width, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, width: int, *, stride: int, dilation: int, params: ModelParams) -> None:
        super().__init__()
        first, second = (stride, 1) if params.resnet.stride_in == "1x1" else (1, stride)
        same = params.padding == "same"
        self.conv1 = conv2d(inputs, width, 1, stride=first)
        self.bn1 = batch_norm(width, params.norm)
        self.conv2 = conv2d(width, width, 3, stride=second, dilation=dilation, same=same)
        self.bn2 = batch_norm(width, params.norm)
        self.conv3 = conv2d(width, width * 4, 1)
        self.bn3 = batch_norm(width * 4, params.norm)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inputs, width * 4, stride=stride, dilation=dilation, params=params)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y_NCHW = apply(x_NCHW, self.conv1, self.bn1, self.relu, self.conv2, self.bn2, self.relu)
        y_NCHW = apply(y_NCHW, self.conv3, self.bn3)
        y_NCHW += x_NCHW if self.downsample is None else self.downsample(x_NCHW)
        return apply(y_NCHW, self.relu)


Block = type[BasicBlock] | type[Bottleneck]


def shortcut(
    inputs: int, outputs: int, *, stride: int, dilation: int, params: ModelParams
) -> nn.Sequential | None:
    """The shortcut of a block; None is the identity."""
    conv = conv2d(inputs, outputs, 1, stride=stride)
    if params.resnet.shortcut == "conv":
        return nn.Sequential(conv) if stride != 1 or dilation != 1 else None
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(conv, batch_norm(outputs, params.norm))


class ResNet(Backbone):
    """ResNet backbone with four outputs."""

    def __init__(self, params: ModelParams) -> None:
        super().__init__()
        block: Block = BasicBlock if params.backbone == "resnet18" else Bottleneck
        same = params.padding == "same"
        self.stem = STEMS[params.resnet.stem](norm=params.norm, same=same)
        self.pool = SameMaxPool2d(kernel=3, stride=2) if same else nn.MaxPool2d(3, 2, 1)
        self.channels = tuple(width * block.expansion for width in WIDTHS)
        dilations = params.resnet.dilations or DILATIONS[params.output_stride]
        make = partial(_stage, block, params=params)
        inputs = (64, *self.channels)
        depths, strides = BLOCKS[params.backbone], STRIDES[params.output_stride]
        for index, width in enumerate(WIDTHS):
            stage = make(inputs[index], width, depths[index], strides[index], dilations[index])
            self.add_module(f"layer{index + 1}", stage)

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        """Outputs of the four stages, at strides 4, 8, and up to the output stride."""
        x_NCHW = self.pool(self.stem(image_NCHW))
        outputs = []
        for index in range(1, 5):
            x_NCHW = self.get_submodule(f"layer{index}")(x_NCHW)
            outputs.append(x_NCHW)
        return tuple(outputs)


def _stage(
    block: Block, inputs: int, width: int, depth: int, stride: int, dilation: int, *, params: ModelParams
) -> nn.Sequential:
    """`depth` blocks; the first one has the stride, and half the dilation under "contract"."""
    first = dilation // 2 if params.resnet.first_dilation == "contract" and dilation > 1 else dilation
    blocks = [block(inputs, width, stride=stride, dilation=first, params=params)]
    outputs = width * block.expansion
    blocks += [block(outputs, width, stride=1, dilation=dilation, params=params) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)


def _stem_7x7(*, norm: NormParams, same: bool) -> nn.Sequential:
    conv = conv2d(3, 64, 7, stride=2, same=same)
    return nn.Sequential(conv, batch_norm(64, norm), nn.ReLU(inplace=True))


def _stem_deep(*, norm: NormParams, same: bool) -> nn.Sequential:
    """Three 3x3 convolutions instead of the 7x7 (ResNet-V1c)."""
    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((3, 32, 2), (32, 32, 1), (32, 64, 1)):
        conv = conv2d(inputs, outputs, 3, stride=stride, same=same)
        layers += [conv, batch_norm(outputs, norm), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


STEMS = {"7x7": _stem_7x7, "deep": _stem_deep}
