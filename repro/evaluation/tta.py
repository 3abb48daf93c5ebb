"""Test-time augmentation as a protocol defines it: scales, flips, tiles, merging.

`views_of` runs the network and stores its small logits; `merge` combines them into a lazy `Field`, so that no
full-size map of all classes is ever in memory.

Shapes: N images or tiles, C channels of the network's output, H and W pixels, h and w logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from repro.errors import DataError
from repro.evaluation.score_maps import Enlarged, Field, Mirrored, Mosaic, Plain, Size, Softmax, Sum, base2
from repro.params.parse import ResizeRule
from repro.params.protocol import Protocol, Variant, scaled_size

Image = npt.NDArray[np.uint8]  # [H, W, 3], RGB
Forward = Callable[[Tensor], Tensor]  # image_NCHW uint8 -> logits_NChw float, on the network's device


@dataclass(frozen=True)
class Tile:
    """Logits of one tile of an image; `safe` as in `base2`."""

    top: int
    left: int
    size: Size
    logits_CHW: Tensor
    safe: bool


@dataclass(frozen=True)
class View:
    """One image at one scale, flipped or not: one tile in mode `whole`, several in mode `slide`."""

    size: Size
    mirrored: bool
    tiles: tuple[Tile, ...]


Views = dict[tuple[float, bool], list[View]]  # (scale, mirrored) -> one view per image


def views_of(
    forward: Forward, images: Sequence[Image], variant: Variant, protocol: Protocol, seen: Views
) -> list[list[View]]:
    """Views per image, as `variant` requires; the images must have one size.

    `seen` caches views between variants, so that single scale is free in addition to multi-scale.
    """
    keys = list(product(variant.scales, (False, True) if variant.flip else (False,)))
    for scale, mirrored in sorted(keys, reverse=True):  # the largest activations first, for peak memory
        if (scale, mirrored) not in seen:
            size = scaled_size(image_size(images[0]), scale, protocol)
            scaled = [resize_image(image, size) for image in images]
            flipped = [np.ascontiguousarray(image[:, ::-1]) for image in scaled] if mirrored else scaled
            seen[scale, mirrored] = view(forward, flipped, protocol, mirrored=mirrored)
    return [list(of_image) for of_image in zip(*(seen[key] for key in keys), strict=True)]


def merge(views: Sequence[View], target: Size, protocol: Protocol, rule: ResizeRule) -> Field:
    """A field of size `target` whose argmax is the prediction; `rule` resizes the network's logits."""
    if protocol.mode == "slide":
        fields = [tiled(one, target, protocol, rule) for one in views]
    else:
        fields = [whole(one, target, protocol, rule, alone=len(views) == 1) for one in views]
    return fields[0] if len(fields) == 1 else Sum(tuple(fields))


def whole(one: View, target: Size, protocol: Protocol, rule: ResizeRule, *, alone: bool) -> Field:
    """The field of an image that was processed as a whole."""
    tile = one.tiles[0]
    inner: Field = Plain(tile.logits_CHW)
    steps: tuple[tuple[Size, ResizeRule], ...] = ((target, rule),)
    if protocol.logits_resize == "via_input" and tile.size != target:
        steps = ((tile.size, rule), (target, protocol.map_rule))
    flipped = one.mirrored and "tf_legacy" in {rule for _, rule in steps}
    if one.mirrored and not flipped:  # the other rules are symmetric: flip the small map
        inner = Plain(tile.logits_CHW.flip(-1))
    field: Field = Enlarged(inner, steps)
    if protocol.average == "probability" and not alone:  # softmax does not change the argmax of a single view
        field = Softmax(field, tile.safe)
    return Mirrored(field) if flipped else field


def tiled(one: View, target: Size, protocol: Protocol, rule: ResizeRule) -> Field:
    """The field of an image that was processed in tiles."""
    field: Field = Mosaic(one.size, tuple((t.top, t.left, _tile(t, protocol, rule)) for t in one.tiles))
    if one.size != target:
        field = Enlarged(field, ((target, protocol.map_rule),))
    return Mirrored(field) if one.mirrored else field


def _tile(tile: Tile, protocol: Protocol, rule: ResizeRule) -> Field:
    field = Enlarged(Plain(tile.logits_CHW), ((tile.size, rule),))
    return Softmax(field, tile.safe) if protocol.average == "probability" else field


def view(forward: Forward, images: Sequence[Image], protocol: Protocol, *, mirrored: bool) -> list[View]:
    """Run the network on images of one size, whole or in tiles."""
    size = image_size(images[0])
    if protocol.mode == "whole":
        tiles = run(forward, images, [(0, 0)] * len(images), protocol)
        return [View(size, mirrored, (tile,)) for tile in tiles]
    corners = tile_corners(size, protocol)
    return [
        View(size, mirrored, tuple(run(forward, cut(image, corners, protocol), corners, protocol)))
        for image in images
    ]


def run(
    forward: Forward, pieces: Sequence[Image], corners: Sequence[tuple[int, int]], protocol: Protocol
) -> list[Tile]:
    """Run the network on pieces of one size, in batches of `protocol.batch`."""
    tiles = []
    size = image_size(pieces[0])
    for start in range(0, len(pieces), protocol.batch):
        image_NHWC = torch.from_numpy(np.stack(pieces[start : start + protocol.batch]))
        try:
            logits_NChw = forward(image_NHWC.permute(0, 3, 1, 2))
        except RuntimeError as error:
            if "Kernel size" not in str(error):
                raise
            what = f"an input of {size[1]}x{size[0]} pixels is too small for this network"
            raise DataError(what, hint="use larger images, or a protocol with larger scales") from None
        for (top, left), logits_CHW in zip(corners[start:], logits_NChw, strict=False):
            tiles.append(Tile(top, left, size, *prepared(logits_CHW, protocol)))
    return tiles


def prepared(logits_CHW: Tensor, protocol: Protocol) -> tuple[Tensor, bool]:
    """(logits for merging, whether their softmax cannot underflow)."""
    return base2(logits_CHW) if protocol.average == "probability" else (logits_CHW.float().contiguous(), True)


def image_size(image: Image) -> Size:
    return int(image.shape[0]), int(image.shape[1])


def resize_image(image: Image, size: Size) -> Image:
    """Resize uint8 pixels with OpenCV: bilinear, half-pixel centres, no antialiasing."""
    if image_size(image) == size:
        return image
    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def tile_count(side: int, crop: int, step: int) -> int:
    """Number of tiles along one side by page 003's formula; 0 or less if side <= crop - step."""
    return math.ceil((side - crop) / step) + 1


def tile_corners(size: Size, protocol: Protocol) -> list[tuple[int, int]]:
    """Top left corners, row by row; the last tile of a row or column is aligned to the border."""
    if protocol.crop is None:
        raise ValueError("mode whole has no tiles")
    starts = [
        [max(0, min(i * step, side - crop)) for i in range(max(1, tile_count(side, crop, step)))]
        for side, crop, step in zip(size, protocol.crop, protocol.step, strict=True)
    ]
    return list(product(starts[0], starts[1]))


def is_zero_tile(size: Size, variant: Variant, protocol: Protocol) -> bool:
    """Whether page 003's code has no tile at some scale, so that its scores are 0/0 and all class 0."""
    if protocol.crop is None:
        return False
    sizes = [scaled_size(size, scale, protocol) for scale in variant.scales]
    sides = [row for scaled in sizes for row in zip(scaled, protocol.crop, protocol.step, strict=True)]
    return any(tile_count(*row) <= 0 for row in sides)


def cut(image: Image, corners: Sequence[tuple[int, int]], protocol: Protocol) -> list[Image]:
    """The tiles at `corners`; smaller images give smaller tiles, or are padded with black bottom right."""
    crop = protocol.crop or image_size(image)
    tiles = [image[top : top + crop[0], left : left + crop[1]] for top, left in corners]
    if not protocol.pad_tiles:
        return tiles
    missing = [(crop[0] - tile.shape[0], crop[1] - tile.shape[1]) for tile in tiles]
    return [np.pad(t, ((0, m[0]), (0, m[1]), (0, 0))) for t, m in zip(tiles, missing, strict=True)]


def logits_rule(protocol: Protocol, model_rule: ResizeRule) -> ResizeRule:
    """The resize rule of logits: the protocol's, or else the network's."""
    return model_rule if protocol.rule == "model" else protocol.rule
