"""From an image to a field of class scores, as a protocol says: scales, flips, tiles, merging.

`views_of` runs the network and keeps its small logits; `merge` makes one field of them. Nothing as large as
image x classes exists until the field is asked for its rows.

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
from repro.params.protocol import Protocol, Variant

Image = npt.NDArray[np.uint8]  # [H, W, 3], RGB
Forward = Callable[[Tensor], Tensor]  # image_NCHW uint8 -> logits_NChw float, on the network's device


@dataclass(frozen=True)
class Tile:
    """The network's answer to one piece of an image: `logits_CHW` small, `safe` as `base2` says."""

    top: int
    left: int
    size: Size
    logits_CHW: Tensor
    safe: bool


@dataclass(frozen=True)
class View:
    """One image at one scale, plain or mirrored: one tile of mode `whole`, several of mode `slide`."""

    size: Size
    mirrored: bool
    tiles: tuple[Tile, ...]


Views = dict[tuple[float, bool], list[View]]  # (scale, mirrored) -> one view an image


def views_of(
    forward: Forward, images: Sequence[Image], variant: Variant, protocol: Protocol, seen: Views
) -> list[list[View]]:
    """The views of every image (all of one size) that `variant` asks for.

    `seen` keeps them between variants: single scale costs nothing beside multi-scale.
    """
    keys = list(product(variant.scales, (False, True) if variant.flip else (False,)))
    for scale, mirrored in sorted(keys, reverse=True):  # the largest activations while few logits are kept
        if (scale, mirrored) not in seen:
            size = scaled_size(image_size(images[0]), scale, protocol)
            scaled = [resize_image(image, size) for image in images]
            turned = [np.ascontiguousarray(image[:, ::-1]) for image in scaled] if mirrored else scaled
            seen[scale, mirrored] = view(forward, turned, protocol, mirrored=mirrored)
    return [list(of_image) for of_image in zip(*(seen[key] for key in keys), strict=True)]


def merge(views: Sequence[View], target: Size, protocol: Protocol, rule: ResizeRule) -> Field:
    """One field of size `target` whose argmax is the prediction. `rule` enlarges the network's logits."""
    if protocol.mode == "slide":
        fields = [tiled(one, target, protocol, rule) for one in views]
    else:
        fields = [whole(one, target, protocol, rule, alone=len(views) == 1) for one in views]
    return fields[0] if len(fields) == 1 else Sum(tuple(fields))


def whole(one: View, target: Size, protocol: Protocol, rule: ResizeRule, *, alone: bool) -> Field:
    """An image that went through the network in one piece."""
    tile = one.tiles[0]
    inner: Field = Plain(tile.logits_CHW)
    steps: tuple[tuple[Size, ResizeRule], ...] = ((target, rule),)
    if protocol.logits_resize == "via_input" and tile.size != target:
        steps = ((tile.size, rule), (target, protocol.map_rule))
    turned = one.mirrored and "tf_legacy" in {rule for _, rule in steps}
    if one.mirrored and not turned:  # the other rules are symmetric: mirror while the map is small
        inner = Plain(tile.logits_CHW.flip(-1))
    field: Field = Enlarged(inner, steps)
    if protocol.average == "probability" and not alone:  # alone: softmax does not move the maximum
        field = Softmax(field, tile.safe)
    return Mirrored(field) if turned else field


def tiled(one: View, target: Size, protocol: Protocol, rule: ResizeRule) -> Field:
    """An image that went through the network tile by tile."""
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
    """Pieces of one size through the network, `protocol.batch` at a time."""
    tiles = []
    size = image_size(pieces[0])
    for start in range(0, len(pieces), protocol.batch):
        image_NHWC = torch.from_numpy(np.stack(pieces[start : start + protocol.batch]))
        try:
            logits_NChw = forward(image_NHWC.permute(0, 3, 1, 2))
        except RuntimeError as error:
            if "Kernel size" not in str(error):
                raise
            what = f"{size[1]}x{size[0]} pixels are too few for this network"
            raise DataError(what, hint="larger pictures, or a protocol with larger scales") from None
        for (top, left), logits_CHW in zip(corners[start:], logits_NChw, strict=False):
            tiles.append(Tile(top, left, size, *prepared(logits_CHW, protocol)))
    return tiles


def prepared(logits_CHW: Tensor, protocol: Protocol) -> tuple[Tensor, bool]:
    """Small logits ready to be merged, and whether their softmax is safe from underflow."""
    return base2(logits_CHW) if protocol.average == "probability" else (logits_CHW.float().contiguous(), True)


def image_size(image: Image) -> Size:
    return int(image.shape[0]), int(image.shape[1])


def scaled_size(size: Size, scale: float, protocol: Protocol) -> Size:
    """The size at which the network sees an image of `size`."""
    factor = scale
    if protocol.base is not None:
        long, short = sorted((int(side * scale) for side in protocol.base), reverse=True)
        factor = min(long / max(size), short / min(size))
    extra = 0.5 if protocol.rounding == "round" else 0.0
    height, width = (max(1, int(side * factor + extra)) for side in size)
    return height, width


def resize_image(image: Image, size: Size) -> Image:
    """uint8 in, uint8 out, bilinear with half-pixel centres and no antialiasing, as OpenCV does it."""
    if image_size(image) == size:
        return image
    return np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def tile_count(side: int, crop: int, step: int) -> int:
    """Tiles along one side by page 003's formula, which gives 0 or less when side <= crop - step."""
    return math.ceil((side - crop) / step) + 1


def tile_corners(size: Size, protocol: Protocol) -> list[tuple[int, int]]:
    """Top left corners, row by row; the last tile of a row or column is moved back to the border."""
    if protocol.crop is None:
        raise ValueError("mode whole has no tiles")
    starts = [
        [max(0, min(i * step, side - crop)) for i in range(max(1, tile_count(side, crop, step)))]
        for side, crop, step in zip(size, protocol.crop, protocol.step, strict=True)
    ]
    return list(product(starts[0], starts[1]))


def is_zero_tile(size: Size, variant: Variant, protocol: Protocol) -> bool:
    """Whether page 003's code has no tile for this image at some scale: its scores are 0/0, all class 0."""
    if protocol.crop is None:
        return False
    sizes = [scaled_size(size, scale, protocol) for scale in variant.scales]
    sides = [row for scaled in sizes for row in zip(scaled, protocol.crop, protocol.step, strict=True)]
    return any(tile_count(*row) <= 0 for row in sides)


def cut(image: Image, corners: Sequence[tuple[int, int]], protocol: Protocol) -> list[Image]:
    """The tiles at `corners`; where the image is smaller, shorter tiles or black below and to the right."""
    crop = protocol.crop or image_size(image)
    tiles = [image[top : top + crop[0], left : left + crop[1]] for top, left in corners]
    if not protocol.pad_tiles:
        return tiles
    missing = [(crop[0] - tile.shape[0], crop[1] - tile.shape[1]) for tile in tiles]
    return [np.pad(t, ((0, m[0]), (0, m[1]), (0, 0))) for t, m in zip(tiles, missing, strict=True)]


def logits_rule(protocol: Protocol, model_rule: ResizeRule) -> ResizeRule:
    """The rule that enlarges the network's logits: the network's own unless the protocol names one."""
    return model_rule if protocol.rule == "model" else protocol.rule
