"""The loss against torch's own cross entropy and autograd, and the pages' ways to average it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from repro.training.losses import counted_pixels, head_weights, only_classes, total_loss
from tests.training.kit import RESIZE, some_params


def heads_and_label(*, n: int = 2, classes: int = 5, heads: int = 1) -> tuple[list[Tensor], Tensor]:
    source = torch.Generator().manual_seed(n * 31 + classes)
    logits = [torch.randn(n, classes, 6, 7, generator=source).mul(3).requires_grad_() for _ in range(heads)]
    label = torch.randint(0, classes, (n, 23, 25), generator=source, dtype=torch.uint8)
    label[torch.rand(label.shape, generator=source) < 0.3] = 255
    return logits, label


def reference(logits: Tensor, label: Tensor, **options: Any) -> Tensor:
    large = F.interpolate(logits, size=label.shape[1:], mode="bilinear", align_corners=False)
    return F.cross_entropy(large, label.long(), ignore_index=255, **options)


@settings(deadline=None, max_examples=15)
@given(n=st.integers(1, 3), classes=st.integers(2, 7))
def test_loss_and_gradient_are_torchs(n: int, classes: int) -> None:
    (logits,), label = heads_and_label(n=n, classes=classes)
    p = some_params()
    loss = total_loss([logits], label, p, pixels=counted_pixels(label, p), resize=RESIZE)
    (ours,) = torch.autograd.grad(loss, logits)
    peer = reference(logits, label)
    (theirs,) = torch.autograd.grad(peer, logits)
    assert loss.item() == pytest.approx(peer.item(), rel=1e-6)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_gradient_is_right_by_finite_differences() -> None:
    (logits,), label = heads_and_label(n=1, classes=3)
    p = some_params()

    def loss(x: Tensor) -> Tensor:
        return total_loss([x], label, p, pixels=100, resize=RESIZE)

    direction = torch.randn_like(logits)
    (gradient,) = torch.autograd.grad(loss(logits), logits)
    step = 1e-2
    with torch.no_grad():
        slope = (loss(logits + step * direction) - loss(logits - step * direction)) / (2 * step)
    assert float(slope) == pytest.approx(float((gradient * direction).sum()), rel=1e-3)


def test_bf16_logits_are_computed_in_float32() -> None:
    (logits,), label = heads_and_label()
    p = some_params()
    low = logits.detach().bfloat16()
    ours = total_loss([low], label, p, pixels=counted_pixels(label, p), resize=RESIZE)
    assert ours.dtype == torch.float32
    assert ours.item() == pytest.approx(float(reference(low.float(), label)), rel=1e-6)


def test_mean_over_all_pixels_counts_ignored_ones_as_zero() -> None:
    """Page 004 (mmsegmentation, avg_non_ignore False)."""
    (logits,), label = heads_and_label()
    p = some_params(loss_average="all")
    ours = total_loss([logits], label, p, pixels=counted_pixels(label, p), resize=RESIZE)
    peer = reference(logits, label, reduction="none").mean()
    assert ours.item() == pytest.approx(peer.item(), rel=1e-6)
    valid = some_params()
    larger = total_loss([logits], label, valid, pixels=counted_pixels(label, valid), resize=RESIZE)
    assert ours.item() < larger.item()


def test_heads_are_weighted_or_averaged() -> None:
    heads, label = heads_and_label(heads=3)
    alone = [reference(head, label).item() for head in heads]
    for p, expected in [
        (some_params(), alone[0] + 0.4 * alone[1] + 0.4 * alone[2]),
        (some_params(heads="mean"), sum(alone) / 3),
    ]:
        ours = total_loss(heads, label, p, pixels=counted_pixels(label, p), resize=RESIZE)
        assert ours.item() == pytest.approx(expected, rel=1e-6)
    assert head_weights(2, some_params(aux_weight=0.1)) == [1.0, 0.1]


def test_ohem_keeps_the_improbable_pixels() -> None:
    (logits,), label = heads_and_label()
    p = some_params(ohem_threshold=0.7, ohem_keep=0.01)
    ours = total_loss([logits], label, p, pixels=1, resize=RESIZE)
    each = reference(logits, label, reduction="none")[label != 255]
    assert ours.item() == pytest.approx(each[torch.exp(-each) < 0.7].mean().item(), rel=1e-5)


def test_ohem_keeps_a_share_even_when_all_is_easy() -> None:
    (logits,), label = heads_and_label()
    unsure = logits.detach() * 0.01
    p = some_params(ohem_threshold=0.001, ohem_keep=0.25)
    ours = total_loss([unsure], label, p, pixels=1, resize=RESIZE)
    each = reference(unsure, label, reduction="none")[label != 255]
    assert ours.item() == pytest.approx(each.topk(len(each) // 4).values.mean().item(), rel=1e-5)


def test_a_label_without_a_single_class_costs_nothing() -> None:
    (logits,), label = heads_and_label()
    for p in (some_params(), some_params(ohem_threshold=0.7)):
        loss = total_loss([logits], torch.full_like(label, 255), p, pixels=1, resize=RESIZE)
        assert loss.item() == 0.0
        assert torch.equal(torch.autograd.grad(loss, logits)[0], torch.zeros_like(logits))


def test_mixed_label_values_are_no_class() -> None:
    """003 resizes labels bilinearly: (3 + 255) / 2 = 129 is neither class 3 nor 255."""
    label = torch.tensor([[[0, 10, 11, 129, 255]]], dtype=torch.uint8)
    assert only_classes(label, classes=11).flatten().tolist() == [0, 10, 255, 255, 255]


def test_logits_of_label_size_are_left_as_they_are() -> None:
    logits = torch.randn(1, 3, 5, 5, requires_grad=True)
    label = torch.randint(0, 3, (1, 5, 5), dtype=torch.uint8)
    before = logits.detach().clone()
    loss = total_loss([logits], label, some_params(), pixels=25, resize=RESIZE)
    assert loss.item() == pytest.approx(F.cross_entropy(logits, label.long()).item(), rel=1e-6)
    assert torch.equal(logits.detach(), before)
