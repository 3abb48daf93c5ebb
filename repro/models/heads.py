"""What stands between features and logits: DeepLabV3, DeepLabV3+, DeepLabV2 and the auxiliary FCN head.

Every head takes the tuple of a backbone's features, shallow to deep, and returns logits_NCHW.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor, nn

from repro.models.aspp import ASPP
from repro.models.layers import ConvNorm, conv2d, conv3x3_norm, through
from repro.models.resize import resize_logits
from repro.params.backbones import NormParams
from repro.params.model import AuxParams, ModelParams

Features = tuple[Tensor, ...]


class DeepLabV3Head(nn.Module):
    """ASPP, optional 3x3 convolutions, classifier (arXiv 1706.05587; page 002; 003-094 to -103)."""

    def __init__(self, channels: tuple[int, ...], outputs: int, params: ModelParams) -> None:
        super().__init__()
        head = params.head
        self.aspp = ASPP(channels[-1], params) if head.aspp else nn.Identity()
        width = head.channels if head.aspp else channels[-1]
        self.aspp_dropout, self.dropout = dropouts(params)
        self.decoder = decoder(width, params)
        self.classifier = conv2d(head.channels if head.decoder_convs else width, outputs, 1, bias=head.bias)

    def forward(self, features: Features) -> Tensor:
        x_NCHW = through(features[-1], self.aspp, self.aspp_dropout, self.decoder)
        return through(x_NCHW, self.dropout, self.classifier)


class DeepLabV3PlusHead(nn.Module):
    """ASPP, upsampled onto narrowed stride 4 features, 3x3 convolutions, classifier (arXiv 1802.02611)."""

    def __init__(self, channels: tuple[int, ...], outputs: int, params: ModelParams) -> None:
        super().__init__()
        head = params.head
        self.low_first, self.resize = head.low_level_first, params.resize
        self.aspp = ASPP(channels[-1], params)
        self.low = ConvNorm(conv2d(channels[0], head.low_level, 1), head.norm)
        self.aspp_dropout, self.dropout = dropouts(params)
        self.decoder = decoder(head.channels + head.low_level, params)
        self.classifier = conv2d(head.channels, outputs, 1, bias=head.bias)

    def forward(self, features: Features) -> Tensor:
        low_NCHW = self.low(features[0])
        deep_NCHW = through(features[-1], self.aspp, self.aspp_dropout)
        size = (low_NCHW.shape[-2], low_NCHW.shape[-1])
        deep_NCHW = resize_logits(deep_NCHW, size, self.resize)
        parts = [low_NCHW, deep_NCHW] if self.low_first else [deep_NCHW, low_NCHW]
        return through(torch.cat(parts, 1), self.decoder, self.dropout, self.classifier)


class SumHead(nn.Module):
    """One convolution straight to the classes per rate, summed: DeepLabV2's ASPP (arXiv 1606.00915).

    With one rate it is what page 003 calls deeplabv2 (3x3, rate 6, no bias); a rate of 1 is a 1x1 (003-093).
    """

    def __init__(self, channels: tuple[int, ...], outputs: int, params: ModelParams) -> None:
        super().__init__()
        rates = params.head.rates or (6, 12, 18, 24)
        bias = params.head.bias
        self.branches = nn.ModuleList(
            conv2d(channels[-1], outputs, 1 if rate == 1 else 3, dilation=rate, bias=bias) for rate in rates
        )

    def forward(self, features: Features) -> Tensor:
        return reduce(torch.add, (through(features[-1], branch) for branch in self.branches))


class AuxHead(nn.Module):
    """A 3x3 convolution and a classifier on stage 3, seen only by the loss (001, 002, 004)."""

    def __init__(self, inputs: int, outputs: int, aux: AuxParams, norm: NormParams) -> None:
        super().__init__()
        self.conv = ConvNorm(conv2d(inputs, aux.channels, 3), norm)
        self.dropout = nn.Dropout2d(aux.dropout)
        self.classifier = conv2d(aux.channels, outputs, 1, bias=True)

    def forward(self, features: Features) -> Tensor:
        return through(features[2], self.conv, self.dropout, self.classifier)


def decoder(inputs: int, params: ModelParams) -> nn.Sequential:
    """`decoder_convs` 3x3 convolutions to `channels`, plain or separable."""
    head = params.head
    widths = [inputs] + [head.channels] * head.decoder_convs
    return nn.Sequential(
        *(
            conv3x3_norm(before, after, separable=head.separable, norm=head.norm)
            for before, after in pairwise(widths)
        )
    )


def dropouts(params: ModelParams) -> tuple[nn.Module, nn.Module]:
    """(after ASPP, before the classifier); one of them does nothing."""
    head = params.head
    kind = nn.Dropout2d if head.dropout_kind == "channel" else nn.Dropout
    drop, keep = kind(head.dropout), nn.Identity()
    return (drop, keep) if head.dropout_at == "aspp" else (keep, drop)
