"""Atrous spatial pyramid pooling: parallel dilated convolutions and a pooled branch, then fused."""

from __future__ import annotations

import dataclasses
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.models.layers import ConvNorm, conv2d, conv3x3_norm, through
from repro.models.resize import resize_logits
from repro.params.model import HeadParams, ModelParams

RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}  # the paper's rates follow the output stride


class ASPP(nn.Module):
    """1x1, 3x3 at each rate and a pooled branch, each `channels` wide, fused to `channels`."""

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
        return through(torch.cat(parts, 1), self.fuse)

    def _pooled(self, x_NCHW: Tensor) -> Tensor:
        """The pooled branch at the size of the features."""
        assert self.pool is not None
        height, width = x_NCHW.shape[-2:]
        if self.head.pool == "global":
            mean_NCHW = through(x_NCHW.mean((2, 3), keepdim=True), self.pool)
            return mean_NCHW.expand(-1, -1, height, width)
        # 000 TF pools squares as high as the map: 1024x2048 gives a grid of 1x2, not one mean.
        grid_NCHW = F.avg_pool2d(x_NCHW, min(height, width))
        return resize_logits(self.pool(grid_NCHW), (height, width), self.resize)


def _pool_conv(inputs: int, head: HeadParams) -> ConvNorm:
    norm = head.norm if head.pool_eps is None else dataclasses.replace(head.norm, eps=head.pool_eps)
    return ConvNorm(conv2d(inputs, head.channels, 1), norm)
