"""Lazy full-size maps of class scores, computed a few rows at once.

A network returns logits at 1/4 or 1/16 of the image's size: megabytes, while the full-size maps of 150
classes and twelve views are gigabytes. A `Field` stores the small logits and computes any strip of rows of
the full-size map on request. Fields nest (enlarge, softmax, tiles, sum); `argmax` computes the image strip by
strip, within the CPU's cache.

Shapes: C classes, H rows, W columns; `logits_CHW` are float32 scores before softmax, `map_CHW` either kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol as Interface

import torch
import torch.nn.functional as F
from torch import Tensor

from repro.params.parse import ResizeRule

LOG2_E = math.log2(math.e)
STRIP_BYTES = {"cpu": 2 << 20, "cuda": 256 << 20}  # size of a strip; on a CPU it fits a core's L2 cache
UNDERFLOW = -100.0  # 2 ** -100 is a normal float32, also after a weight of 1/16 in two bilinear steps
Size = tuple[int, int]


class Field(Interface):
    """A map of class scores with the given `size`; `rows(a, b)` computes rows a..b as a new tensor."""

    @property
    def size(self) -> Size: ...

    def rows(self, a: int, b: int) -> Tensor: ...


@dataclass(frozen=True)
class Plain:
    """A map in memory."""

    map_CHW: Tensor

    @property
    def size(self) -> Size:
        return int(self.map_CHW.shape[1]), int(self.map_CHW.shape[2])

    def rows(self, a: int, b: int) -> Tensor:
        return self.map_CHW[:, a:b].clone()


@dataclass(frozen=True)
class Enlarged:
    """`inner` resized bilinearly in one or more steps.

    Bilinear resizing is separable. Columns are resized first, on the few rows of `inner` that a strip needs;
    the row weights of all steps are combined into one small matrix.
    """

    inner: Field
    steps: tuple[tuple[Size, ResizeRule], ...]

    @property
    def size(self) -> Size:
        return self.steps[-1][0] if self.steps else self.inner.size

    def rows(self, a: int, b: int) -> Tensor:
        if not self.steps:
            return self.inner.rows(a, b)
        weights, first, last = row_weights(self.inner.size[0], self.steps, a, b)
        map_CHW = self.inner.rows(first, last)
        for (_, width), rule in self.steps:
            map_CHW = enlarge_columns(map_CHW, width, rule)
        return torch.matmul(weights.to(map_CHW), map_CHW)


@dataclass(frozen=True)
class Softmax:
    """Softmax of `inner`, whose logits are to base 2 (see `base2`)."""

    inner: Field
    safe: bool

    @property
    def size(self) -> Size:
        return self.inner.size

    def rows(self, a: int, b: int) -> Tensor:
        map_CHW = self.inner.rows(a, b)
        if not self.safe:
            map_CHW = map_CHW - map_CHW.amax(0)
        # exp2 is 4.5 times faster than exp on a CPU: 0.125 against 0.56 ns per value (torch 2.15, AVX-512).
        map_CHW = torch.exp2(map_CHW, out=map_CHW)
        return map_CHW.mul_(map_CHW.sum(0).reciprocal_())


@dataclass(frozen=True)
class Mosaic:
    """Tiles placed on a map and averaged where they overlap; `tiles` are (top, left, field)."""

    size: Size
    tiles: tuple[tuple[int, int, Field], ...]

    def rows(self, a: int, b: int) -> Tensor:
        total = count = None
        for top, left, field in self.tiles:
            height, width = min(field.size[0], self.size[0] - top), field.size[1]
            first, last = max(a, top), min(b, top + height)
            if first >= last:
                continue
            part = field.rows(first - top, last - top)[:, :, : self.size[1] - left]
            if total is None or count is None:
                total = part.new_zeros(part.shape[0], b - a, self.size[1])
                count = part.new_zeros(b - a, self.size[1])
            spot = slice(first - a, last - a), slice(left, left + min(width, part.shape[2]))
            total[:, spot[0], spot[1]] += part
            count[spot] += 1
        if total is None or count is None:
            raise ValueError(f"no tile covers rows {a}..{b}")
        return total.mul_(count.reciprocal_())


@dataclass(frozen=True)
class Sum:
    """The sum of fields of one size; argmax does not need their mean."""

    fields: tuple[Field, ...]

    @property
    def size(self) -> Size:
        return self.fields[0].size

    def rows(self, a: int, b: int) -> Tensor:
        total = self.fields[0].rows(a, b)
        for field in self.fields[1:]:
            total += field.rows(a, b)
        return total


@dataclass(frozen=True)
class Mirrored:
    """`inner` flipped horizontally."""

    inner: Field

    @property
    def size(self) -> Size:
        return self.inner.size

    def rows(self, a: int, b: int) -> Tensor:
        return self.inner.rows(a, b).flip(-1)


def base2(logits_CHW: Tensor) -> tuple[Tensor, bool]:
    """Prepare small logits for `Softmax`: multiply by log2(e), subtract each pixel's maximum.

    Both commute with resizing, since softmax is invariant to shifts of a pixel's logits and resizing is
    linear.

    Returns:
        (logits, safe); `safe` means that no resized pixel can underflow, so `Softmax` need not shift again.
    """
    logits_CHW = logits_CHW.float() * LOG2_E
    logits_CHW = logits_CHW - logits_CHW.amax(0)
    return logits_CHW.contiguous(), bool(logits_CHW.min() > UNDERFLOW)


def argmax(field: Field) -> Tensor:
    """Class per pixel, uint8 [H, W] on the CPU; the first class of equal scores, 255 for NaN."""
    return torch.cat([first_maximum(strip) for strip in strips(field)]).cpu()


def strips(field: Field) -> Iterator[Tensor]:
    """All rows of `field` from top to bottom, in strips of about STRIP_BYTES."""
    height, width = field.size
    probe = field.rows(0, 1)
    budget = STRIP_BYTES.get(probe.device.type, STRIP_BYTES["cuda"])
    step = max(1, budget // (probe.shape[0] * width * 4))
    for top in range(0, height, step):
        yield field.rows(top, min(top + step, height))


def first_maximum(map_CHW: Tensor) -> Tensor:
    """argmax over C as uint8, by comparison with the maximum: ten times faster than torch's on a CPU."""
    classes = map_CHW.shape[0]
    if classes > 255:
        return map_CHW.argmax(0).to(torch.uint8)
    rank_C = torch.arange(255, 255 - classes, -1, dtype=torch.uint8, device=map_CHW.device)
    hit_CHW = (map_CHW == map_CHW.amax(0)).view(torch.uint8)
    return 255 - (hit_CHW * rank_C[:, None, None]).amax(0)


def enlarge_columns(map_CHW: Tensor, width: int, rule: ResizeRule) -> Tensor:
    """Resize the last axis to `width`, bilinearly."""
    before = int(map_CHW.shape[-1])
    if before == width:
        return map_CHW
    if rule == "tf_legacy":  # torch has no kernel for it
        return map_CHW @ axis_matrix(before, width, rule).to(map_CHW).T
    # One-dimensional interpolation reads two values per output, two-dimensional four.
    return F.interpolate(map_CHW, size=width, mode="linear", align_corners=rule == "align_corners")


def row_weights(
    before: int, steps: Sequence[tuple[Size, ResizeRule]], a: int, b: int
) -> tuple[Tensor, int, int]:
    """(weights float32 [b - a, last - first] of input rows first..last in output rows a..b, first, last)."""
    heights = tuple((height, rule) for (height, _), rule in steps)
    matrix = _chain(before, heights)[a:b]
    used = matrix.any(0).nonzero().flatten()
    first, last = int(used[0]), int(used[-1]) + 1
    return matrix[:, first:last], first, last


@lru_cache(maxsize=256)
def _chain(before: int, heights: tuple[tuple[int, ResizeRule], ...]) -> Tensor:
    matrix = torch.eye(before)
    for height, rule in heights:
        matrix = axis_matrix(int(matrix.shape[0]), height, rule) @ matrix
    return matrix


@lru_cache(maxsize=256)
def axis_matrix(before: int, after: int, rule: ResizeRule) -> Tensor:
    """Bilinear resizing of one axis as a matrix, float32 [after, before], with at most two values per row.

    half_pixel: pixel i covers [i, i + 1); align_corners: first and last pixels coincide;
    tf_legacy: pixel i is at i x before / after (TensorFlow 1, `align_corners=False`).
    """
    i = torch.arange(after, dtype=torch.float64)
    position = {
        "half_pixel": ((i + 0.5) * before / after - 0.5).clamp(min=0),
        "align_corners": i * ((before - 1) / max(after - 1, 1)),
        "tf_legacy": i * before / after,
    }[rule]
    low = position.floor().long().clamp(max=before - 1)
    share = (position - low).clamp(0, 1)
    matrix = torch.zeros(after, before, dtype=torch.float64)
    rows = torch.arange(after)
    matrix[rows, low] += 1 - share
    matrix[rows, (low + 1).clamp(max=before - 1)] += share
    return matrix.float()
