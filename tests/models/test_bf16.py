"""bf16 on a CPU without bf16 kernels: the same numbers to the order of summation, at float32's speed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from repro.models import number_formats

LOW = torch.bfloat16


class Products(TorchDispatchMode):
    """The types in which convolutions and matrix products are computed, forwards and backwards."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(word in str(func) for word in ("convolution", "mm", "linear")):
            self.types |= {arg.dtype for arg in args if isinstance(arg, Tensor)}
        return func(*args, **(kwargs or {}))


@pytest.fixture
def without_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor without AVX-512."""
    monkeypatch.setattr(number_formats, "is_emulated", lambda device: True)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=2, dilation=2, bias=False),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, stride=2, padding=1),
        nn.Flatten(),
        nn.Linear(8 * 6 * 7, 5),
    )


@pytest.mark.usefixtures("without_units")
@pytest.mark.slow
def test_no_product_is_computed_in_bf16() -> None:
    model, x_NCHW = network(), torch.randn(2, 3, 12, 14)
    with Products() as seen:
        with number_formats.autocast("cpu"):
            out = model(x_NCHW)
        out.float().square().sum().backward()
    assert out.dtype == LOW
    assert seen.types == {torch.float32}
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


@pytest.mark.usefixtures("without_units")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_product_is_that_of_bf16_factors_rounded_once(layout: torch.memory_format) -> None:
    torch.manual_seed(1)
    x_NCHW = torch.randn(2, 16, 9, 9).contiguous(memory_format=layout).requires_grad_()
    weight = torch.randn(4, 16, 3, 3, requires_grad=True)
    bias = torch.randn(4)
    with number_formats.autocast("cpu"):
        out_NCHW = F.conv2d(x_NCHW, weight, bias=bias, padding=1)
    exact = F.conv2d(*(t.detach().to(LOW).double() for t in (x_NCHW, weight, bias)), padding=1)
    assert out_NCHW.is_contiguous(memory_format=layout)
    torch.testing.assert_close(out_NCHW.double(), exact, rtol=2**-8, atol=1e-5)  # half a unit of bf16

    grad_NCHW = torch.randn_like(out_NCHW)
    out_NCHW.backward(grad_NCHW)
    assert x_NCHW.grad is not None
    assert weight.grad is not None
    low_x, low_weight = (t.detach().to(LOW).double().requires_grad_() for t in (x_NCHW, weight))
    F.conv2d(low_x, low_weight, padding=1).backward(grad_NCHW.double())
    assert low_x.grad is not None
    assert low_weight.grad is not None
    torch.testing.assert_close(x_NCHW.grad.double(), low_x.grad, rtol=2**-8, atol=1e-5)
    torch.testing.assert_close(weight.grad.double(), low_weight.grad, rtol=2**-8, atol=1e-4)


def test_it_is_asked_of_the_processor_and_ends_with_the_block() -> None:
    assert number_formats.is_emulated("cpu") is not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert not number_formats.is_emulated("cuda")
    x, weight = torch.randn(1, 2, 4, 4), torch.randn(2, 2, 1, 1)
    with number_formats.autocast("cpu"):
        assert F.conv2d(x, weight).dtype == LOW
    assert F.conv2d(x, weight).dtype == torch.float32


@pytest.mark.usefixtures("without_units")
def test_fp16_and_float32_are_left_alone() -> None:
    x, weight = torch.randn(1, 2, 4, 4), torch.randn(2, 2, 1, 1)
    with number_formats.autocast("cpu", torch.float16), Products() as seen:
        assert F.conv2d(x, weight).dtype == torch.float16
    assert seen.types == {torch.float16}
