"""Gradients of every kind of convolution that the networks are made of, in the layouts that train them.

PyTorch 2.15.0 on a CPU leaves the weight gradient of a dilated depthwise convolution unwritten in bf16 with
channels_last: repro/models/depthwise.py stands in for it.
"""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from repro.models import build_on_meta
from repro.models.depthwise import BLOCK, WIDEST, DilatedDepthwise
from tests.models.kit import NETWORKS, model_params, noise, relative_error

CHANNELS, SIZE = 32, 41  # more than twice the dilation 18; 36 sees its centre alone
Kind = tuple[int, int, int, int, bool]  # kernel, stride, padding, dilation, depthwise


def kind_of(conv: nn.Conv2d) -> Kind:
    assert isinstance(conv.padding[0], int)
    return conv.kernel_size[0], conv.stride[0], conv.padding[0], conv.dilation[0], conv.groups > 1


@cache
def kinds() -> dict[Kind, nn.Conv2d]:
    """One convolution of each kind in any network, narrowed to CHANNELS."""
    found: dict[Kind, nn.Conv2d] = {}
    for raw in NETWORKS.values():
        for module in build_on_meta(model_params(raw), num_classes=4).modules():
            if isinstance(module, nn.Conv2d) and kind_of(module) not in found:
                found[kind_of(module)] = narrowed(module)
    return found


def narrowed(conv: nn.Conv2d) -> nn.Conv2d:
    """The same convolution with CHANNELS inputs and outputs and other values."""
    conv, kernel = copy.copy(conv), conv.kernel_size
    depthwise = conv.groups > 1
    conv._parameters = dict(conv._parameters)
    conv.in_channels = conv.out_channels = CHANNELS
    conv.groups = CHANNELS if depthwise else 1
    shape = (CHANNELS, 1 if depthwise else CHANNELS, *kernel)
    conv.weight = nn.Parameter(noise(*shape).float() / (shape[1] * kernel[0] ** 2) ** 0.5)
    conv.bias = None
    return conv


def gradients(conv: nn.Conv2d, dtype: torch.dtype, layout: torch.memory_format) -> list[Tensor]:
    """(output, gradient of the input, of the weights) of the same bf16 values, computed in `dtype`."""
    conv = copy.deepcopy(conv).bfloat16().to(dtype=dtype, memory_format=layout)  # type: ignore[call-overload]
    image = noise(2, CHANNELS, SIZE, SIZE).bfloat16().to(dtype=dtype, memory_format=layout).requires_grad_()
    out = conv(image)
    out.backward(noise(*out.shape, seed=1).bfloat16().to(dtype=dtype, memory_format=layout))
    assert image.grad is not None
    assert conv.weight.grad is not None
    return [tensor.detach().double() for tensor in (out, image.grad, conv.weight.grad)]


@pytest.mark.parametrize("kind", kinds(), ids=str)
def test_bf16_and_channels_last_give_the_gradients_of_float64(kind: Kind) -> None:
    wanted = gradients(kinds()[kind], torch.float64, torch.contiguous_format)
    found = gradients(kinds()[kind], torch.bfloat16, torch.channels_last)
    for half, exact in zip(found, wanted, strict=True):
        assert relative_error(half, exact) < 0.02  # 8 bits of mantissa


def test_the_kinds_that_pytorch_gets_wrong_are_among_them() -> None:
    ours = {kind for kind, conv in kinds().items() if isinstance(conv, DilatedDepthwise)}
    assert ours >= {(3, 1, rate, rate, True) for rate in (2, 6, 12, 18, 24, 36)}
    assert ours >= {(3, 1, 0, 2, True), (3, 1, 0, 4, True)}  # page 000's MobileNetV2
    assert ours == {kind for kind in kinds() if kind[4] and kind[3] > 1}


@pytest.mark.parametrize("width", [WIDEST, WIDEST + 1])
def test_without_padding_it_keeps_pytorchs_bits_where_those_are_right(width: int) -> None:
    conv = DilatedDepthwise(8, dilation=2, pad=False).bfloat16()
    plain = copy.deepcopy(conv)
    image = noise(1, 8, 12, width).bfloat16().to(memory_format=torch.channels_last)
    out, wanted = conv(image), F.conv2d(image, plain.weight, dilation=2, groups=8)
    out.sum().backward()
    wanted.sum().backward()
    assert (type(out.grad_fn).__name__ == "ConvolutionBackward0") == (width == WIDEST)
    assert out.shape == wanted.shape
    if width == WIDEST:
        assert torch.equal(out, wanted)
        assert torch.equal(conv.weight.grad, plain.weight.grad)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 20), st.integers(1, 20), st.integers(2, 24))
def test_shifted_products_are_the_convolution(
    samples: int, channels: int, height: int, width: int, dilation: int
) -> None:
    """Value and both gradients at any size and dilation, also where taps never see the map."""
    ours = DilatedDepthwise(channels, dilation=dilation, pad=True).double()
    image = noise(samples, channels, height, width).requires_grad_()
    plain, weight = image.detach().clone().requires_grad_(), ours.weight.detach().clone().requires_grad_()
    wanted = F.conv2d(plain, weight, padding=dilation, dilation=dilation, groups=channels)
    found = ours(image)
    down = noise(*found.shape, seed=1)
    torch.autograd.backward(found, down)
    torch.autograd.backward(wanted, down)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(image.grad, plain.grad)
    torch.testing.assert_close(ours.weight.grad, weight.grad)


def test_a_map_of_several_blocks_is_the_convolution_in_either_layout() -> None:
    channels, side = 37, 200
    assert channels * side**2 > 2 * BLOCK
    conv = DilatedDepthwise(channels, dilation=6, pad=True)
    image = noise(1, channels, side, side).float()
    wanted = F.conv2d(image.double(), conv.weight.double(), padding=6, dilation=6, groups=channels)
    for layout in (torch.contiguous_format, torch.channels_last):
        found = conv(image.to(memory_format=layout))
        assert found.is_contiguous(memory_format=layout)
        assert relative_error(found.double(), wanted) < 1e-6


def test_outside_a_cpu_it_is_pytorchs_own() -> None:
    """A meta tensor represents every other device; an exported graph has one convolution."""
    conv = DilatedDepthwise(4, dilation=2, pad=True)
    assert conv.to("meta")(torch.empty(1, 4, 9, 9, device="meta")).shape == (1, 4, 9, 9)
    fresh = DilatedDepthwise(4, dilation=2, pad=True).eval()
    graph = torch.export.export(fresh, (torch.zeros(1, 4, 9, 9),)).graph
    assert [node.target for node in graph.nodes if node.op == "call_function"] == [
        torch.ops.aten.conv2d.default
    ]
