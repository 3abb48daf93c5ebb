"""ResNet-v2 of TensorFlow slim, as page 003's slim rows use it (003-093 to -101, -103; recipes 3.3).

Pre-activation blocks whose stride sits in the last block of a stage; convolutions without a norm behind them
have a bias. Stage 4 and what is cascaded after it may be ordinary bottlenecks (activation after the sum).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from repro.models.layers import Backbone, SameMaxPool2d, batch_norm, conv2d, through
from repro.models.resnet import BLOCKS, DILATIONS, WIDTHS, Bottleneck
from repro.params.model import ModelParams

STRIDES = {8: (2, 1, 1, 1), 16: (2, 2, 1, 1), 32: (2, 2, 2, 1)}  # after each stage; the stem has made 4


class PreBottleneck(nn.Module):
    """BN and ReLU first, then 1x1, 3x3, 1x1; the shortcut sees the activated input where it is projected."""

    def __init__(self, inputs: int, width: int, *, stride: int, dilation: int, params: ModelParams) -> None:
        super().__init__()
        self.stride = stride
        self.preact = batch_norm(inputs, params.norm)
        self.conv1 = conv2d(inputs, width, 1)
        self.bn1 = batch_norm(width, params.norm)
        # Symmetric padding also where it strides: slim pads explicitly there, unlike TensorFlow's SAME.
        self.conv2 = conv2d(width, width, 3, stride=stride, dilation=dilation)
        self.bn2 = batch_norm(width, params.norm)
        self.conv3 = conv2d(width, width * 4, 1, bias=True)
        project = inputs != width * 4
        self.shortcut = conv2d(inputs, width * 4, 1, stride=stride, bias=True) if project else None

    def forward(self, x_NCHW: Tensor) -> Tensor:
        active_NCHW = F.relu(self.preact(x_NCHW))
        if self.shortcut is None:
            side_NCHW = x_NCHW[:, :, :: self.stride, :: self.stride]
        else:
            side_NCHW = through(active_NCHW, self.shortcut)
        y_NCHW = F.relu(through(active_NCHW, self.conv1, self.bn1))
        y_NCHW = F.relu(through(y_NCHW, self.conv2, self.bn2))
        return side_NCHW + through(y_NCHW, self.conv3)


class ResNetV2(Backbone):
    """Four stages and `extra_rates` more; features: the outputs of all, the last one activated."""

    def __init__(self, params: ModelParams) -> None:
        super().__init__()
        choice = params.resnet
        post = choice.last_stage == "post"
        rates = choice.dilations or DILATIONS[params.output_stride]
        self.conv1 = conv2d(3, 64, 7, stride=2, bias=True)
        self.pool = SameMaxPool2d(kernel=3, stride=2)
        self.stages = nn.ModuleList()
        inputs, strides = 64, STRIDES[params.output_stride]
        for index, width in enumerate(WIDTHS):
            last = post and index == 3
            rate = rates[index] * (choice.inner_grid[1] if last else 1)
            depth = BLOCKS[params.backbone][index]
            stage = _stage(inputs, width, depth, strides[index], rate, post=last, params=params)
            self.stages.append(stage)
            inputs = width * 4
        for rate in choice.extra_rates:
            dilation = rate * choice.inner_grid[1]
            self.stages.append(_stage(inputs, 512, 3, 1, dilation, post=post, params=params))
        self.postnorm = None if post else batch_norm(inputs, params.norm)
        self.channels = tuple(width * 4 for width in (*WIDTHS, *(512 for _ in choice.extra_rates)))

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, ...]:
        x_NCHW, outputs = self.pool(self.conv1(image_NCHW)), []
        for stage in self.stages:
            x_NCHW = stage(x_NCHW)
            outputs.append(x_NCHW)
        if self.postnorm is not None:
            outputs[-1] = F.relu(self.postnorm(x_NCHW))
        return tuple(outputs)


def _stage(
    inputs: int, width: int, depth: int, stride: int, dilation: int, *, post: bool, params: ModelParams
) -> nn.Sequential:
    """`depth` blocks, the stride in the last one."""
    block = Bottleneck if post else PreBottleneck
    widths = [inputs] + [width * 4] * (depth - 1)
    strides = [1] * (depth - 1) + [stride]
    return nn.Sequential(
        *(
            block(before, width, stride=step, dilation=dilation, params=params)
            for before, step in zip(widths, strides, strict=True)
        )
    )
