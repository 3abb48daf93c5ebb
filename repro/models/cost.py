"""Parameters, multiply-accumulates and activation memory of a network, counted from shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from repro.models.build import build_on_meta
from repro.models.layers import multiple_of
from repro.models.reference import without_memory
from repro.models.shapes import SHAPE_FUNCTIONS, empty
from repro.params.reference import NetworkParams, ReferenceModel

GIGA, MEBI = 1e9, 2**20


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of one image in evaluation mode.

    params_M: trainable parameters in millions, including auxiliary heads, as the pages count them.
    gmacs_conv: multiply-accumulates of convolutions and linear layers in 1e9, without biases; of a network by
        reference those of attention too, as torch's FlopCounterMode counts.
    gmacs_thop: the same plus 4 per element of each batch normalisation (thop: 2, twice if affine). Page
        000 prints this as FLOPs: 135.10 for MobileNetV2 at 1024x2048 ("135G"); convolutions alone 133.60.
    activation_MiB: float32 outputs of all operations that a training step keeps, without in-place ones.
    """

    params_M: float
    gmacs_conv: float
    gmacs_thop: float
    activation_MiB: float


@cache
def count(params: NetworkParams, num_classes: int, size_HW: tuple[int, int]) -> Cost:
    """Cost of the network of `params` with `num_classes` on one image of `size_HW` pixels."""
    if isinstance(params, ReferenceModel):
        height, width = (multiple_of(side, params.size_divisor) for side in size_HW)
        return without_memory(params, num_classes=num_classes, run=partial(_count, size_HW=(height, width)))
    net = build_on_meta(params, num_classes=num_classes).eval()
    with torch.no_grad(), _Tally(SHAPE_FUNCTIONS) as tally:
        net(empty(1, 3, *size_HW))
    return _cost(net, tally, macs=tally.macs)


def cost_values(params: NetworkParams, num_classes: int, size_HW: tuple[int, int]) -> dict[str, Any]:
    """`count` with the keys of cost.json; `gflops` are two per multiply-accumulate of `gmacs_conv`."""
    found = count(params, num_classes, size_HW)
    return {
        "params_M": round(found.params_M, 6),
        "gmacs_conv": round(found.gmacs_conv, 6),
        "gmacs_thop": round(found.gmacs_thop, 6),
        "gflops": round(2 * found.gmacs_conv, 6),
        "activation_MiB": round(found.activation_MiB, 3),
        "input_size": list(size_HW),
        "classes": num_classes,
    }


def _count(net: nn.Module, size_HW: tuple[int, int]) -> Cost:
    """Cost of any module. With gradients, since without them attention runs as one uncounted operation."""
    from torch.utils.flop_counter import FlopCounterMode  # imports triton and sympy where they are installed

    image_NCHW = torch.zeros(1, 3, *size_HW, device=next(net.parameters()).device)
    with FlopCounterMode(display=False) as counter, _Tally({}) as tally:
        net.eval()(image_NCHW)
    return _cost(net, tally, macs=counter.get_total_flops() / 2)


def _cost(net: nn.Module, tally: _Tally, *, macs: float) -> Cost:
    weights = sum(weight.numel() for weight in net.parameters() if weight.requires_grad)
    return Cost(
        params_M=weights / 1e6,
        gmacs_conv=macs / GIGA,
        gmacs_thop=(macs + 4 * tally.normed) / GIGA,
        activation_MiB=tally.kept * 4 / MEBI,
    )


class _Tally(TorchFunctionMode):
    """Counts the operations inside a `with`; `shapes` computes the shapes of some without running them."""

    def __init__(self, shapes: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
        super().__init__()
        self.shapes = shapes
        self.macs = self.normed = self.kept = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        shape_only: Callable[..., Any] = self.shapes.get(func, func)
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
