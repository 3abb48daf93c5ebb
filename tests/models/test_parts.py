"""Padding, pooling, resizing and normalising, each against a plain loop or another library."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from repro.models import normalise, resize_logits
from repro.models.heads import ASPP
from repro.models.layers import SameConv2d, SameMaxPool2d, same_avg_pool
from repro.models.mobilenet import InvertedResidual
from repro.params import ModelParams
from repro.params.backbones import NormParams
from repro.params.model import InputParams
from tests.models.kit import KERAS, filled, model_params, net, noise, relative_error

SIDES = st.integers(1, 17)
RULES = ("half_pixel", "align_corners", "tf_legacy")


def windows(size: int, *, kernel: int, stride: int, dilation: int = 1) -> list[list[int]]:
    """Positions that each output of TensorFlow's SAME looks at; those outside the input are left out."""
    outputs = math.ceil(size / stride)
    before = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0) // 2
    starts = (index * stride - before for index in range(outputs))
    return [[start + tap * dilation for tap in range(kernel)] for start in starts]


def naive_same_conv(image_HW: Tensor, weight_HW: Tensor, *, stride: int, dilation: int) -> Tensor:
    """One channel, one sum per pixel, over the taps inside the image."""
    image, weight, kernel = image_HW.tolist(), weight_HW.tolist(), len(weight_HW)
    height, width = image_HW.shape
    rows, columns = (
        windows(side, kernel=kernel, stride=stride, dilation=dilation) for side in (height, width)
    )
    return torch.tensor(
        [
            [
                sum(
                    image[y][x] * weight[a][b]
                    for (a, y), (b, x) in product(enumerate(row), enumerate(column))
                    if 0 <= y < height and 0 <= x < width
                )
                for column in columns
            ]
            for row in rows
        ],
        dtype=torch.float64,
    )


@settings(deadline=None, max_examples=25)
@given(SIDES, SIDES, st.sampled_from([(3, 2, 1), (7, 2, 1), (3, 2, 2), (3, 3, 1)]))
def test_same_convolution_pads_as_tensorflow(height: int, width: int, shape: tuple[int, int, int]) -> None:
    kernel, stride, dilation = shape
    conv = SameConv2d(1, 1, kernel, stride, 0, dilation, bias=False).double()
    image = noise(1, 1, height, width)
    wanted = naive_same_conv(image[0, 0], conv.weight[0, 0].detach(), stride=stride, dilation=dilation)
    torch.testing.assert_close(conv(image)[0, 0].detach(), wanted)


@settings(deadline=None, max_examples=25)
@given(SIDES, SIDES, st.sampled_from([(3, 2), (2, 2), (3, 1)]))
def test_same_max_pool_never_takes_a_padded_pixel(height: int, width: int, shape: tuple[int, int]) -> None:
    kernel, stride = shape
    image = -noise(1, 1, height, width).abs() - 1  # a padded 0 would win
    found = SameMaxPool2d(kernel=kernel, stride=stride)(image)[0, 0]
    rows, columns = (windows(side, kernel=kernel, stride=stride) for side in (height, width))
    for (i, row), (j, column) in product(enumerate(rows), enumerate(columns)):
        inside = [image[0, 0, y, x] for y in row for x in column if 0 <= y < height and 0 <= x < width]
        assert found[i, j] == max(inside)
    assert found.shape == (len(rows), len(columns))


@settings(deadline=None, max_examples=25)
@given(SIDES, SIDES, st.sampled_from([1, 2]))
def test_same_average_pool_does_not_count_padded_pixels(height: int, width: int, stride: int) -> None:
    image = noise(1, 1, height, width)
    found = same_avg_pool(image, stride=stride)[0, 0]
    rows, columns = (windows(side, kernel=2, stride=stride) for side in (height, width))
    assert found.shape == (len(rows), len(columns))
    for (i, row), (j, column) in product(enumerate(rows), enumerate(columns)):
        inside = [image[0, 0, y, x] for y in row for x in column if y < height and x < width]
        assert found[i, j].item() == pytest.approx(torch.stack(inside).mean().item())


def naive_resize(line: np.ndarray, size: int, rule: str) -> np.ndarray:
    """One line of pixels under a rule, from its formula in resize.py."""
    lines = len(line)
    target = np.arange(size)
    if rule == "half_pixel":
        source = np.maximum((target + 0.5) * lines / size - 0.5, 0)
    elif rule == "align_corners":
        source = target * (lines - 1) / max(size - 1, 1)
    else:
        source = target * lines / size
    low = np.minimum(np.floor(source).astype(int), lines - 1)
    high = np.minimum(low + 1, lines - 1)
    return line[low] * (1 - (source - low)) + line[high] * (source - low)


@settings(deadline=None, max_examples=40)
@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(RULES))
def test_resizing_follows_the_formula_of_its_rule(
    height: int, width: int, tall: int, wide: int, rule: str
) -> None:
    image = noise(1, 1, height, width)
    found = resize_logits(image, (tall, wide), rule)[0, 0].numpy()  # type: ignore[arg-type]
    rows = np.stack([naive_resize(line, wide, rule) for line in image[0, 0].numpy()])
    wanted = np.stack([naive_resize(line, tall, rule) for line in rows.T]).T
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_the_legacy_rule_has_a_gradient_and_keeps_type_and_layout() -> None:
    image = noise(1, 2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resize_logits(x, (7, 5), "tf_legacy"), image)
    assert resize_logits(image.bfloat16(), (7, 5), "tf_legacy").dtype == torch.bfloat16


def test_rules_differ_and_equal_sizes_pass_through() -> None:
    image = noise(1, 2, 5, 5)
    first, second, third = (resize_logits(image, (9, 9), rule) for rule in RULES)  # type: ignore[arg-type]
    assert min((first - second).abs().max(), (second - third).abs().max(), (first - third).abs().max()) > 0.01
    assert all(resize_logits(image, (5, 5), rule) is image for rule in RULES)  # type: ignore[arg-type]


def test_normalising_matches_torchvision_in_units_of_255() -> None:
    image = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    wanted = (image.float() / 255 - mean) / std
    found = normalise(image, InputParams())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(normalise(image.double(), InputParams()), wanted)


def test_bgr_input_of_page_003_is_reversed_before_its_means_are_taken_off() -> None:
    params = model_params(
        net(KERAS, stride=16) | {"input": {"order": "bgr", "mean": [104, 116, 122], "std": [1, 1, 1]}}
    )
    red = torch.zeros(1, 3, 1, 1)
    red[0, 0] = 200
    assert normalise(red, params).flatten().tolist() == [-104, -116, 200 - 122]


def test_the_pool_of_page_000_tensorflow_covers_squares_as_high_as_the_map() -> None:
    """1024x2048 gives 64x128 features and a grid of 1x2: left and right half are averaged apart."""
    params: ModelParams = model_params(net(KERAS, stride=16))
    aspp = ASPP(8, params).double().eval()
    aspp.load_state_dict(filled(aspp.state_dict()))
    features = noise(1, 8, 4, 8)
    assert aspp.pool is not None
    halves = torch.stack([features[..., :4].mean((2, 3)), features[..., 4:].mean((2, 3))], -1)[:, :, None]
    wanted = F.interpolate(aspp.pool(halves), size=(4, 8), mode="bilinear")
    assert relative_error(aspp._pooled(features), wanted) < 1e-12
    assert aspp.pool.bn.eps == 1e-5
    assert aspp.fuse.bn.eps == 1e-3


def test_early_padding_shows_the_depthwise_convolution_what_zero_becomes() -> None:
    """Page 000's MobileNetV2: the border that the 3x3 sees is ReLU6(BN(0)) of each channel, not 0."""
    choices = {"expansion": 6, "stride": 1, "dilation": 1, "norm": NormParams()}
    early, late = (InvertedResidual(8, 8, early=flag, **choices).double().eval() for flag in (True, False))  # type: ignore[arg-type]
    state = filled(early.state_dict())
    early.load_state_dict(state)
    late.load_state_dict(state)
    image = noise(1, 8, 6, 7)
    border = early.expand(torch.zeros(1, 8, 1, 1, dtype=torch.float64))
    assert border.max() > 0
    middle = F.pad(early.expand(image) - border, (1, 1, 1, 1)) + border
    depthwise = early.depthwise.conv
    assert isinstance(depthwise, nn.Conv2d)
    wanted = image + early.project(early.depthwise.activation(early.depthwise.bn(depthwise(middle))))
    assert relative_error(early(image), wanted) < 1e-12
    torch.testing.assert_close(early(image)[..., 1:-1, 1:-1], late(image)[..., 1:-1, 1:-1])
    assert relative_error(early(image), late(image)) > 0.01
