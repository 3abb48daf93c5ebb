"""Dilated depthwise 3x3 convolutions on a CPU, as nine shifted products.

PyTorch's kernel (2.15.0, oneDNN, an AMD EPYC with avx512_bf16) is incorrect and slow. In bf16 + channels_last
the gradient of the weights is uninitialised memory, up to 1e27 instead of 1: with padding at every dilation
from 2 up to half of the map, without padding (page 000's MobileNetV2) on maps wider than 32. Milliseconds of
one core for 2 x 512 x 32 x 32, padded, forward + backward: dilation 12 in fp32 3.2 + 12.0, here 1.5 + 4.8; in
bf16 and channels_last 3.0 + 39.5, here 1.2 + 3.5; dilation 36 in bf16 10.4 + 28.6, here 0.4 + 2.6.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

BLOCK = 2**19  # elements per block: the block and its sum fit the cache
WIDEST = 32  # widest map on which PyTorch's unpadded convolution is correct, and is used
CENTRE = 4  # index of the centre among the nine taps
Window = tuple[slice, slice]  # rows and columns


class DilatedDepthwise(nn.Conv2d):
    """Depthwise 3x3 convolution: stride 1, dilated, no bias; `pad` keeps the size of the map.

    On a CPU with `pad`, it sums in float32 or wider and returns the type of its input. Without `pad`, it uses
    PyTorch's kernel unless that is incorrect. On other devices and in an exported graph it always does.
    """

    def __init__(self, channels: int, *, dilation: int, pad: bool) -> None:
        super().__init__(channels, channels, 3, 1, dilation * pad, dilation, channels, bias=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        pads, dilation = self.padding != (0, 0), self.dilation[0]
        if x_NCHW.device.type != "cpu" or torch.compiler.is_compiling() or not (pads or _is_wrong(x_NCHW)):
            return super().forward(x_NCHW)
        out_NCHW: Tensor = _Shifted.apply(x_NCHW, self.weight, dilation)
        return out_NCHW if pads else out_NCHW[:, :, dilation:-dilation, dilation:-dilation]


def _is_wrong(x_NCHW: Tensor) -> bool:
    """Whether PyTorch's gradient of an unpadded convolution of `x_NCHW` is incorrect."""
    last = x_NCHW.is_contiguous(memory_format=torch.channels_last)
    return torch.is_grad_enabled() and x_NCHW.dtype == torch.bfloat16 and last and x_NCHW.shape[-1] > WIDEST


class _Shifted(torch.autograd.Function):
    """(x_NCHW, weight_C1KK, dilation) -> out_NCHW."""

    @staticmethod
    def forward(ctx: Any, x_NCHW: Tensor, weight: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x_NCHW, weight)
        ctx.dilation = dilation
        return _convolved(x_NCHW, _taps(weight, x_NCHW), dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NCHW: Tensor) -> tuple[Tensor, Tensor, None]:
        x_NCHW, weight = ctx.saved_tensors
        taps_KC = _taps(weight, x_NCHW)
        grad_taps_KC = _correlated(grad_NCHW, x_NCHW, torch.zeros_like(taps_KC), ctx.dilation)
        # the transpose of a shift is the opposite shift: the same sum with the taps reversed
        grad_x_NCHW = _convolved(grad_NCHW, taps_KC.flip(0), ctx.dilation)
        return grad_x_NCHW, grad_taps_KC.t().reshape(weight.shape).to(weight.dtype), None


def _taps(weight: Tensor, x_NCHW: Tensor) -> Tensor:
    """taps_KC in the type of the sum, contiguous per tap."""
    wide = torch.promote_types(x_NCHW.dtype, torch.float32)
    return weight.detach().flatten(1).t().to(wide).contiguous()


def _convolved(x_NCHW: Tensor, taps_KC: Tensor, dilation: int) -> Tensor:
    """Sum over taps of tap times shifted `x_NCHW`, in the type and layout of `x_NCHW`."""
    out_NCHW = torch.empty_like(x_NCHW)
    for sample, channels in _blocks(x_NCHW):
        block_CHW = x_NCHW[sample, channels].to(taps_KC.dtype)
        sum_CHW = block_CHW * taps_KC[CENTRE, channels, None, None]
        for tap, target, source in _shifts(x_NCHW, dilation):
            if tap != CENTRE:
                factor = taps_KC[tap, channels, None, None]
                sum_CHW[:, *target].addcmul_(block_CHW[:, *source], factor)
        out_NCHW[sample, channels] = sum_CHW
    return out_NCHW


def _correlated(grad_NCHW: Tensor, x_NCHW: Tensor, into_KC: Tensor, dilation: int) -> Tensor:
    """Add to `into_KC` the gradient of each tap: the sum over pixels of gradient times shifted input."""
    for sample, channels in _blocks(x_NCHW):
        grad_CHW, x_CHW = (t[sample, channels].to(into_KC.dtype) for t in (grad_NCHW, x_NCHW))
        for tap, target, source in _shifts(x_NCHW, dilation):
            into_KC[tap, channels] += (grad_CHW[:, *target] * x_CHW[:, *source]).sum((1, 2))
    return into_KC


def _blocks(x_NCHW: Tensor) -> Iterator[tuple[int, slice]]:
    """(sample, channels) of blocks of about BLOCK elements."""
    samples, channels, height, width = x_NCHW.shape
    step = max(BLOCK // max(height * width, 1), 1)
    for sample in range(samples):
        yield from ((sample, slice(start, start + step)) for start in range(0, channels, step))


def _shifts(x_NCHW: Tensor, dilation: int) -> Iterator[tuple[int, Window, Window]]:
    """(tap, output window, input window) of the taps that overlap the map."""
    height, width = x_NCHW.shape[2:]
    for row, to_rows, from_rows in _overlaps(height, dilation):
        for column, to_columns, from_columns in _overlaps(width, dilation):
            yield row * 3 + column, (to_rows, to_columns), (from_rows, from_columns)


def _overlaps(size: int, dilation: int) -> Iterator[tuple[int, slice, slice]]:
    """(tap, output slice, input slice) along one axis."""
    for tap, shift in enumerate((-dilation, 0, dilation)):
        low, high = max(0, -shift), min(size, size - shift)
        if low < high:
            yield tap, slice(low, high), slice(low + shift, high + shift)
