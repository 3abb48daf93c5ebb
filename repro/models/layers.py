"""Convolutions with batch normalisation, bilinear resizing, and the normalisation of input images.

Shapes: N batch, C channels, H height, W width.

Resize rules of the pages' code:

half_pixel     source = (target + 0.5) * in / out - 0.5   PyTorch align_corners=False, TensorFlow 2, OpenCV
align_corners  source = target * (in - 1) / (out - 1)     PyTorch align_corners=True
tf_legacy      source = target * in / out                 TensorFlow 1 resize_bilinear: shifted, top left
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from repro.models.depthwise import DilatedDepthwise
from repro.params.backbones import NormParams
from repro.params.model import InputParams
from repro.params.parse import ResizeRule
from repro.params.reference import NetworkParams


def same_pad(x_NCHW: Tensor, *, kernel: int, stride: int, dilation: int = 1, value: float = 0.0) -> Tensor:
    """Pad like TensorFlow's SAME: the output size is ceil(size / stride); an odd pixel goes bottom right."""
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
    """Max pooling under TensorFlow's SAME padding; padded pixels are ignored."""

    def __init__(self, *, kernel: int, stride: int) -> None:
        super().__init__(kernel, stride)
        self.same = {"kernel": kernel, "stride": stride}

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return F.max_pool2d(same_pad(x_NCHW, **self.same, value=-math.inf), self.kernel_size, self.stride)


def same_avg_pool(x_NCHW: Tensor, *, stride: int) -> Tensor:
    """2x2 average pooling under TensorFlow's SAME padding; padded pixels are not counted.

    With stride 2, `ceil_mode` averages only the pixels inside the image. With stride 1, repeating the last
    row and column gives the same mean.
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
    """A convolution whose output size is ceil(size / stride).

    Args:
        same: pad a strided convolution as TensorFlow does.
        pad: False pads nothing; the output shrinks.
    """
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
    """Base class of feature extractors; `channels` are those of its outputs, shallow to deep."""

    channels: tuple[int, ...]


def apply(x_NCHW: Tensor, *modules: nn.Module) -> Tensor:
    """Apply `modules` in order; typed as Tensor, while calling a module is typed as Any."""
    for module in modules:
        x_NCHW = module(x_NCHW)
    return x_NCHW


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, activation."""

    def __init__(self, conv: nn.Conv2d, norm: NormParams, *, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.bn = batch_norm(conv.out_channels, norm)
        self.activation = nn.ReLU(inplace=True) if activation is None else activation

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return apply(x_NCHW, self.conv, self.bn, self.activation)


class Separable(nn.Module):
    """A 3x3 depthwise and a 1x1 convolution, each with BN and ReLU (001, 004)."""

    def __init__(self, inputs: int, outputs: int, *, dilation: int, norm: NormParams) -> None:
        super().__init__()
        self.depthwise = ConvNorm(conv2d(inputs, inputs, 3, dilation=dilation, groups=inputs), norm)
        self.pointwise = ConvNorm(conv2d(inputs, outputs, 1), norm)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return apply(x_NCHW, self.depthwise, self.pointwise)


def conv3x3_norm(
    inputs: int, outputs: int, *, dilation: int = 1, separable: bool, norm: NormParams
) -> nn.Module:
    """A 3x3 convolution with BN and ReLU, plain or separable."""
    if separable:
        return Separable(inputs, outputs, dilation=dilation, norm=norm)
    return ConvNorm(conv2d(inputs, outputs, 3, dilation=dilation), norm)


def resize_logits(logits_NCHW: Tensor, size_HW: tuple[int, int], rule: ResizeRule) -> Tensor:
    """Resize logits of any float type to `size_HW` under `rule`; a no-op when the size already fits."""
    if tuple(logits_NCHW.shape[-2:]) == tuple(size_HW):
        return logits_NCHW
    if logits_NCHW.is_meta:
        return torch.empty(*logits_NCHW.shape[:2], *size_HW, device="meta")  # only the shape matters
    if rule == "tf_legacy":
        return _legacy(_legacy(logits_NCHW, size_HW[0], dim=2), size_HW[1], dim=3)
    return F.interpolate(
        logits_NCHW, size=tuple(size_HW), mode="bilinear", align_corners=rule == "align_corners"
    )


def _legacy(x_NCHW: Tensor, size: int, *, dim: int) -> Tensor:
    """Resize one axis under the legacy rule: interpolate the two nearest lines, repeating the last one."""
    lines = x_NCHW.shape[dim]
    # MPS has no float64; on other devices a copy from the CPU would synchronise.
    place = torch.device("cpu") if x_NCHW.device.type == "mps" else x_NCHW.device
    source = torch.arange(size, device=place, dtype=torch.float64) * (lines / size)
    low = source.floor().long().clamp_(max=lines - 1)
    high = (low + 1).clamp_(max=lines - 1)
    shape = [-1 if axis == dim else 1 for axis in range(4)]
    weight = (source - low).to(x_NCHW.dtype).view(shape).to(x_NCHW.device)
    low, high = low.to(x_NCHW.device), high.to(x_NCHW.device)
    return torch.lerp(x_NCHW.index_select(dim, low), x_NCHW.index_select(dim, high), weight)


def multiple_of(side: int, divisor: int) -> int:
    """The smallest multiple of `divisor` that is at least `side`."""
    return -(-side // divisor) * divisor


def pad_to_multiple(x_NCHW: Tensor, divisor: int) -> Tensor:
    """Pad with zeros at the bottom and right until height and width are multiples of `divisor`."""
    height, width = x_NCHW.shape[-2:]
    below, right = multiple_of(height, divisor) - height, multiple_of(width, divisor) - width
    return F.pad(x_NCHW, (0, right, 0, below)) if below or right else x_NCHW


def normalise(image_NCHW: Tensor, params: NetworkParams | InputParams) -> Tensor:
    """Convert RGB pixels in 0..255 (uint8 or float) to the network's float32 input, on the same device.

    Reorders the channels to `params.order`, then computes (pixel - mean) / std per channel.
    """
    if not isinstance(params, InputParams):
        params = params.input
    if params.order == "bgr":
        image_NCHW = image_NCHW.flip(1)
    mean, std = (_channels(tuple(values), image_NCHW.device) for values in (params.mean, params.std))
    return (image_NCHW.to(torch.float32) - mean) / std


@lru_cache(maxsize=64)
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """`values` as float32 of shape (1, 3, 1, 1); cached, since creating it on a GPU synchronises."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device).view(1, 3, 1, 1)
