"""MobileNetV2 of width 1 without its last 1280-channel convolution (page 000; arXiv 1801.04381, table 2)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from repro.models.layers import Backbone, ConvNorm, apply, batch_norm, conv2d
from repro.params.backbones import NormParams
from repro.params.model import ModelParams

# expansion, channels, blocks, stride of the first block
SETTINGS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
LOW_LEVEL = 3  # the block whose output has stride 4


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1, with a residual sum if the shape is unchanged.

    `early` pads the input before the expansion instead of inside the depthwise convolution, so its border is
    ReLU6(BN(0)) and not 0 (page 000's code; the released weights depend on it).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        expansion: int,
        stride: int,
        dilation: int,
        early: bool,
        norm: NormParams,
    ) -> None:
        super().__init__()
        width = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.border = dilation if early else 0
        self.expand = _relu6(conv2d(inputs, width, 1), norm) if expansion > 1 else nn.Identity()
        depthwise = conv2d(width, width, 3, stride=stride, dilation=dilation, groups=width, pad=not early)
        self.depthwise = _relu6(depthwise, norm)
        self.project = nn.Sequential(conv2d(width, outputs, 1), batch_norm(outputs, norm))

    def forward(self, x_NCHW: Tensor) -> Tensor:
        padded_NCHW = F.pad(x_NCHW, (self.border,) * 4) if self.border else x_NCHW
        y_NCHW = apply(padded_NCHW, self.expand, self.depthwise, self.project)
        return x_NCHW + y_NCHW if self.residual else y_NCHW


class MobileNetV2(Backbone):
    """MobileNetV2 backbone; features: 24 channels at stride 4 and 320 at the output stride."""

    channels = (24, 320)

    def __init__(self, params: ModelParams) -> None:
        super().__init__()
        early = params.mobilenet.pad == "expansion"
        self.stem = _relu6(conv2d(3, 32, 3, stride=2, pad=not early), params.norm)
        self.blocks = nn.Sequential()
        inputs, now, dilation = 32, 2, 1
        for expansion, outputs, count, stride in SETTINGS:
            first = dilation  # where dilation replaces the stride, the first block keeps the previous one
            if now == params.output_stride:
                dilation, stride = dilation * stride, 1
            now *= stride
            for index in range(count):
                block = InvertedResidual(
                    inputs,
                    outputs,
                    expansion=expansion,
                    stride=stride if index == 0 else 1,
                    dilation=first if index == 0 else dilation,
                    early=early,
                    norm=params.norm,
                )
                self.blocks.append(block)
                inputs = outputs

    def forward(self, image_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        low_NCHW = x_NCHW = self.stem(image_NCHW)
        for index, block in enumerate(self.blocks, 1):
            x_NCHW = block(x_NCHW)
            low_NCHW = x_NCHW if index == LOW_LEVEL else low_NCHW
        return low_NCHW, x_NCHW


def _relu6(conv: nn.Conv2d, norm: NormParams) -> ConvNorm:
    return ConvNorm(conv, norm, activation=nn.ReLU6(inplace=True))
