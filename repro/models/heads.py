"""Heads: ASPP, DeepLabV3, DeepLabV3+, DeepLabV2 and the auxiliary FCN head.

A head takes the tuple of backbone features, shallow to deep, and returns logits_NCHW.
"""

from __future__ import annotations

import dataclasses
from functools import reduce
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.models.layers import ConvNorm, apply, conv2d, conv3x3_norm, resize_logits
from repro.params.backbones import NormParams
from repro.params.model import AuxParams, HeadParams, ModelParams

RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}  # the paper's rates follow the output stride


class ASPP(nn.Module):
    """1x1, 3x3 per rate and a pooled branch, each `channels` wide, fused to `channels`."""

    def __init__(self, inputs: int, params: ModelParams) -> None:
        super().__init__()
        head = params.head
        width, norm = head.channels, head.norm
        rates = head.rates or RATES[params.output_stride]
        self.head, self.resize = head, params.resize
        self.branches = nn.ModuleList([ConvNorm(conv2d(inputs, width, 1), norm)])
        for rate in rates:
            branch = conv3x3_norm(inputs, width, dilation=rate, separable=head.separable, norm=norm)
            self.branches.append(branch)
        self.pool = None if head.pool == "none" else _pool_conv(inputs, head)
        parts = (1 if head.fuse == "sum" else len(self.branches)) + (self.pool is not None)
        self.fuse = ConvNorm(conv2d(parts * width, width, head.fuse_kernel), norm)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        parts = [branch(x_NCHW) for branch in self.branches]
        if self.head.fuse == "sum":
            parts = [reduce(torch.add, parts)]
        if self.pool is not None:
            parts.insert(0 if self.head.pool_first else len(parts), self._pooled(x_NCHW))
        return apply(torch.cat(parts, 1), self.fuse)

    def _pooled(self, x_NCHW: Tensor) -> Tensor:
        """The pooled branch, resized to the features."""
        assert self.pool is not None
        height, width = x_NCHW.shape[-2:]
        if self.head.pool == "global":
            mean_NCHW = apply(x_NCHW.mean((2, 3), keepdim=True), self.pool)
            return mean_NCHW.expand(-1, -1, height, width)
        # 000 TF pools squares as high as the map: 1024x2048 gives a grid of 1x2, not one mean.
        grid_NCHW = F.avg_pool2d(x_NCHW, min(height, width))
        return resize_logits(self.pool(grid_NCHW), (height, width), self.resize)


def _pool_conv(inputs: int, head: HeadParams) -> ConvNorm:
    norm = head.norm if head.pool_eps is None else dataclasses.replace(head.norm, eps=head.pool_eps)
    return ConvNorm(conv2d(inputs, head.channels, 1), norm)


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
        x_NCHW = apply(features[-1], self.aspp, self.aspp_dropout, self.decoder)
        return apply(x_NCHW, self.dropout, self.classifier)


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
        deep_NCHW = apply(features[-1], self.aspp, self.aspp_dropout)
        size = (low_NCHW.shape[-2], low_NCHW.shape[-1])
        deep_NCHW = resize_logits(deep_NCHW, size, self.resize)
        parts = [low_NCHW, deep_NCHW] if self.low_first else [deep_NCHW, low_NCHW]
        return apply(torch.cat(parts, 1), self.decoder, self.dropout, self.classifier)


class SumHead(nn.Module):
    """DeepLabV2's ASPP: one classifier convolution per rate, summed (arXiv 1606.00915).

    Page 003 calls a single 3x3 of rate 6 without bias deeplabv2; a rate of 1 is a 1x1 (003-093).
    """

    def __init__(self, channels: tuple[int, ...], outputs: int, params: ModelParams) -> None:
        super().__init__()
        rates = params.head.rates or (6, 12, 18, 24)
        bias = params.head.bias
        self.branches = nn.ModuleList(
            conv2d(channels[-1], outputs, 1 if rate == 1 else 3, dilation=rate, bias=bias) for rate in rates
        )

    def forward(self, features: Features) -> Tensor:
        return reduce(torch.add, (apply(features[-1], branch) for branch in self.branches))


class AuxHead(nn.Module):
    """A 3x3 convolution and a classifier on stage 3, used only by the loss (001, 002, 004)."""

    def __init__(self, inputs: int, outputs: int, aux: AuxParams, norm: NormParams) -> None:
        super().__init__()
        self.conv = ConvNorm(conv2d(inputs, aux.channels, 3), norm)
        self.dropout = nn.Dropout2d(aux.dropout)
        self.classifier = conv2d(aux.channels, outputs, 1, bias=True)

    def forward(self, features: Features) -> Tensor:
        return apply(features[2], self.conv, self.dropout, self.classifier)


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
    """(dropout after ASPP, dropout before the classifier); one of them is the identity."""
    head = params.head
    kind = nn.Dropout2d if head.dropout_kind == "channel" else nn.Dropout
    drop, keep = kind(head.dropout), nn.Identity()
    return (drop, keep) if head.dropout_at == "aspp" else (keep, drop)
