"""ResNet-v2 of TensorFlow slim, used by page 003's slim rows (003-093 to -101, -103; recipes 3.3).

Blocks are pre-activation; the stride is in the last block of a stage. Convolutions that no norm follows have
a bias. Stage 4 and the stages after it may be ordinary bottlenecks (activation after the sum).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from repro.models.layers import Backbone, SameMaxPool2d, apply, batch_norm, conv2d
from repro.models.resnet import BLOCKS, DILATIONS, WIDTHS, Bottleneck
from repro.params.model import ModelParams

STRIDES = {8: (2, 1, 1, 1), 16: (2, 2, 1, 1), 32: (2, 2, 2, 1)}  # of each stage, after the stem's 4


class PreBottleneck(nn.Module):
    """BN and ReLU, then 1x1, 3x3, 1x1; a projection shortcut takes the activated input."""

    def __init__(self, inputs: int, width: int, *, stride: int, dilation: int, params: ModelParams) -> None:
        super().__init__()
        self.stride = stride
        self.preact = batch_norm(inputs, params.norm)
        self.conv1 = conv2d(inputs, width, 1)
        self.bn1 = batch_norm(width, params.norm)
        # Symmetric padding at every stride: slim pads explicitly, unlike TensorFlow's SAME.
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
            side_NCHW = apply(active_NCHW, self.shortcut)
        y_NCHW = F.relu(apply(active_NCHW, self.conv1, self.bn1))
        y_NCHW = F.relu(apply(y_NCHW, self.conv2, self.bn2))
        return side_NCHW + apply(y_NCHW, self.conv3)


class ResNetV2(Backbone):
    """Four stages and one per rate of `extra_rates`; features: every output, the last one activated."""

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
    """`depth` blocks; the last one has the stride."""
    block = Bottleneck if post else PreBottleneck
    widths = [inputs] + [width * 4] * (depth - 1)
    strides = [1] * (depth - 1) + [stride]
    return nn.Sequential(
        *(
            block(before, width, stride=step, dilation=dilation, params=params)
            for before, step in zip(widths, strides, strict=True)
        )
    )
