"""Parameters, multiply-accumulates and activation memory of a network, counted from shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from repro.models.build import build_on_meta
from repro.models.shapes import SHAPE_FUNCTIONS, empty
from repro.params.model import ModelParams

GIGA, MEBI = 1e9, 2**20


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of one image in evaluation mode.

    params_M: trainable parameters in millions, including auxiliary heads, as the pages count them.
    gmacs_conv: multiply-accumulates of convolutions and linear layers in 1e9, without biases.
    gmacs_thop: the same plus 4 per element of each batch normalisation (thop: 2, twice if affine). Page
        000 prints this as FLOPs: 135.10 for MobileNetV2 at 1024x2048 ("135G"); convolutions alone 133.60.
    activation_MiB: float32 outputs of all operations that a training step keeps, without in-place ones.
    """

    params_M: float
    gmacs_conv: float
    gmacs_thop: float
    activation_MiB: float


@cache
def count(params: ModelParams, num_classes: int, size_HW: tuple[int, int]) -> Cost:
    """Cost of the network of `params` with `num_classes` on one image of `size_HW` pixels."""
    net = build_on_meta(params, num_classes=num_classes).eval()
    weights = sum(weight.numel() for weight in net.parameters() if weight.requires_grad)
    with torch.no_grad(), _Tally() as tally:
        net(empty(1, 3, *size_HW))
    return Cost(
        params_M=weights / 1e6,
        gmacs_conv=tally.macs / GIGA,
        gmacs_thop=(tally.macs + 4 * tally.normed) / GIGA,
        activation_MiB=tally.kept * 4 / MEBI,
    )


class _Tally(TorchFunctionMode):
    """Counts the operations inside a `with`."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = self.normed = self.kept = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        shape_only: Callable[..., Any] = SHAPE_FUNCTIONS.get(func, func)
        result = shape_only(*args, **(kwargs or {}))
        if not isinstance(result, Tensor):
            return result
        if func in (torch.conv2d, F.linear):
            # weight[0].numel() multiplications per output: channels per group times the kernel
            self.macs += result.numel() * args[1][0].numel()
        if func is F.batch_norm:
            self.normed += result.numel()
        if result._base is None and not any(result is argument for argument in args):
            self.kept += result.numel()
        return result
