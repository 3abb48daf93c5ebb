"""Heads of page 003's DenseNets ("dense in dense"; recipes 3.2).

A head takes the outputs of the four blocks: three taps, shallow to deep, and the main stream. The fusing
convolutions have biases, and no norm unless stated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from repro.models.densenet import SqueezeExcite, Unit
from repro.models.layers import apply, conv2d, resize_logits, same_avg_pool
from repro.params.backbones import NormParams
from repro.params.model import ModelParams

Features = tuple[Tensor, ...]
FPN_WIDTH = 416


class PlainHead(nn.Module):
    """BN, ReLU, 1x1 on the main stream only."""

    def __init__(self, channels: tuple[int, ...], outputs: int, params: ModelParams) -> None:
        super().__init__()
        self.classifier = Unit(channels[-1], outputs, 1, norm=params.norm)

    def forward(self, features: Features) -> Tensor:
        return apply(features[-1], self.classifier)


class Tap(nn.Module):
    """BN, ReLU, 1x1 (or 3x3) to a fraction of the channels, squeeze-and-excitation of ratio 4."""

    def __init__(self, channels: int, *, divisor: int, norm: NormParams, kernel: int = 1) -> None:
        super().__init__()
        self.width = channels // divisor
        self.unit = Unit(channels, self.width, kernel, norm=norm)
        self.se = SqueezeExcite(self.width, ratio=4)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return apply(x_NCHW, self.unit, self.se)


# `inner` -> (divisor of a tap's channels, kernel that reduces them, whether the main stream is included)
RESIZED_TAPS = {
    "did": (8, 1, True),
    "did4": (4, 1, True),
    "did4_taps": (4, 1, False),
    "did_taps_3x3": (8, 3, False),
}


class ResizedTapsHead(nn.Module):
    """did, did4: taps resized to the main stream, reduced, and concatenated after it or classified alone."""

    def __init__(self, channels: tuple[int, ...], outputs: int, params: ModelParams) -> None:
        super().__init__()
        assert params.densenet is not None
        divisor, kernel, self.with_main = RESIZED_TAPS[params.densenet.inner]
        self.resize = params.resize
        self.taps = nn.ModuleList(
            Tap(c, divisor=divisor, kernel=kernel, norm=params.norm) for c in channels[:3]
        )
        width = sum(c // divisor for c in channels[:3]) + (channels[3] if self.with_main else 0)
        self.classifier = Unit(width, outputs, 1, norm=params.norm)

    def forward(self, features: Features) -> Tensor:
        *taps, main_NCHW = features
        size = (main_NCHW.shape[-2], main_NCHW.shape[-1])
        # The page's code resizes before it reduces; the other order is another network.
        parts = [tap(resize_logits(x, size, self.resize)) for tap, x in zip(self.taps, taps, strict=True)]
        return apply(torch.cat([main_NCHW, *parts] if self.with_main else parts, 1), self.classifier)


class PooledTapsHead(nn.Module):
    """newdid, newdid2: taps reduced to a quarter and pooled step by step, 1x1 after each concatenation.

    newdid2 has BN and ReLU before those 1x1, and squeeze-and-excitation on the final concatenation.
    """

    def __init__(self, channels: tuple[int, ...], outputs: int, params: ModelParams) -> None:
        super().__init__()
        assert params.densenet is not None
        second, norm = params.densenet.inner == "newdid2", params.norm
        self.taps = nn.ModuleList(Tap(c, divisor=4, norm=norm) for c in channels[:3])
        widths = [c // 4 for c in channels[:3]]
        sums = (widths[0] + widths[1], sum(widths))
        self.fuse = nn.ModuleList(
            Unit(w, w, 1, norm=norm) if second else conv2d(w, w, 1, bias=True) for w in sums
        )
        width = sums[1] + channels[3]
        self.se = SqueezeExcite(width, ratio=4) if second else nn.Identity()
        self.classifier = Unit(width, outputs, 1, norm=norm)

    def forward(self, features: Features) -> Tensor:
        first, second, third = (tap(x) for tap, x in zip(self.taps, features, strict=False))
        both = self.fuse[0](torch.cat([same_avg_pool(first, stride=2), second], 1))
        all_three = self.fuse[1](torch.cat([same_avg_pool(both, stride=2), third], 1))
        return apply(torch.cat([all_three, features[3]], 1), self.se, self.classifier)


class PyramidHead(nn.Module):
    """newdid4 (3x3 smoothing), newdid4_1 (1x1): a feature pyramid of 416 channels up to stride 4.

    newdid6: 1x1 smoothing and a classifier per sum; the finest one predicts, the loss is the mean of the
    three. newdid6_senet: squeeze-and-excitation of ratio 4 on the laterals.
    """

    def __init__(self, channels: tuple[int, ...], outputs: int, params: ModelParams) -> None:
        super().__init__()
        assert params.densenet is not None
        inner, width, norm = params.densenet.inner, FPN_WIDTH, params.norm
        self.resize = params.resize
        self.laterals = nn.ModuleList(conv2d(c, width, 1, bias=True) for c in channels)
        squeeze = inner == "newdid6_senet"
        self.se = nn.ModuleList(SqueezeExcite(width, ratio=4) if squeeze else nn.Identity() for _ in channels)
        kernel = 3 if inner == "newdid4" else 1
        self.smooth = nn.ModuleList(conv2d(width, width, kernel, bias=True) for _ in range(2))
        heads = 3 if inner.startswith("newdid6") else 1
        self.classifiers = nn.ModuleList(Unit(width, outputs, 1, norm=norm) for _ in range(heads))

    def forward(self, features: Features) -> tuple[Tensor, ...]:
        """Logits of the finest sum, then of the coarser sums that have classifiers."""
        one, two, three, main = (
            se(lateral(x)) for se, lateral, x in zip(self.se, self.laterals, features, strict=True)
        )
        coarse = self._up(main, three)
        middle = self._up(self.smooth[0](coarse), two)
        fine = self._up(self.smooth[1](middle), one)
        sums = (fine, middle, coarse)[: len(self.classifiers)]
        return tuple(head(x) for head, x in zip(self.classifiers, sums, strict=True))

    def _up(self, x_NCHW: Tensor, onto_NCHW: Tensor) -> Tensor:
        size = (onto_NCHW.shape[-2], onto_NCHW.shape[-1])
        return resize_logits(x_NCHW, size, self.resize) + onto_NCHW


HEADS: dict[str, type[nn.Module]] = {
    "none": PlainHead,
    **dict.fromkeys(RESIZED_TAPS, ResizedTapsHead),
    "newdid": PooledTapsHead,
    "newdid2": PooledTapsHead,
    "newdid4": PyramidHead,
    "newdid4_1": PyramidHead,
    "newdid6": PyramidHead,
    "newdid6_senet": PyramidHead,
}


def dense_head(channels: tuple[int, ...], outputs: int, params: ModelParams) -> nn.Module:
    """The head that `params.densenet.inner` names."""
    assert params.densenet is not None
    return HEADS[params.densenet.inner](channels, outputs, params)
