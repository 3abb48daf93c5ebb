"""Evaluation protocols.

A protocol is a block of `protocols:` in the root params.yaml. Every choice that can change a number is a
field, and only results with equal `protocol_hash` are comparable. Two of the pages computed something other
than the metric in their column; each such quirk is a field here. With a quirk enabled, the metrics hold both
values: the correct one under its name, the page's with the suffix `_page`.

The protocols of the pages:

=====================  ============================================================================
000, PyTorch rows      mode: whole
000, TensorFlow rows   mode: whole, union_bug: true
001 and 002            mode: whole, base: [2048, 512] (Cityscapes [2048, 1024])
002, Pascal Context    mode: slide, base: [520, 520], crop: [480, 480], stride: [320, 320]
003                    mode: slide, crop: [321, 321], overlap: 0.3333333333333333, pad_tiles: true,
                       scales: [0.5, 0.75, 1, 1.25, 1.5], rounding: floor, zero_tile: nan (VOC)
003, before 2018-02    the same with overlap: 0 and scales: [0.9, 1, 1.1]
003, printed scores    first: 30 (Cityscapes) or first: 100 (VOC)
004                    mode: whole, logits_resize: via_input,
                       ms_flip: {scales: [0.5, 0.75, 1, 1.25, 1.5, 1.75], flip: true}
=====================  ============================================================================
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from repro.params.parse import BelowOne, Count, Later, ResizeRule

Scale = Annotated[float, Gt(0), Le(8)]
Scales = Annotated[tuple[Scale, ...], MinLen(1)]


# Fields of a protocol that concern the counting of label maps, not how they were predicted.
COUNTING = (
    "first",
    "reduce_zero_label",
    "ignore_index",
    "mean_over",
    "absent",
    "union_bug",
    "boundary_ratio",
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Scales and flip of test-time augmentation, evaluated in the same pass; metrics end in `_ms_flip`."""

    scales: Scales
    flip: bool = True


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """An evaluation protocol. Sizes are (height, width) in pixels unless noted."""

    mode: Literal["whole", "slide", "external"]  # external: a program predicts, and the fields say how it did

    # Input image. Always resized as uint8, bilinear, half-pixel centres (OpenCV).
    base: tuple[Count, Count] | None = None  # limits of (long, short) side; keeps the ratio; None: no resize
    scales: Scales = (1.0,)
    flip: bool = False  # adds the mirrored image at every scale
    rounding: Literal["round", "floor"] = "round"  # of a scaled side to pixels

    # Tiles of mode `slide`; the last tile of a row or column is shifted back to the border.
    crop: tuple[Count, Count] | None = None
    stride: tuple[Count, Count] | None = None
    overlap: BelowOne | None = None  # instead of stride: stride = ceil(crop height x (1 - overlap))
    pad_tiles: bool = False  # pad tiles beyond the image with black, bottom and right
    zero_tile: Literal["pad", "nan"] = "pad"  # page 003: an image too small for one tile becomes 0/0, class 0

    # From logits to a class per pixel.
    rule: Literal["model", "half_pixel", "align_corners", "tf_legacy"] = "model"  # upsampling of logits
    logits_resize: Literal["direct", "via_input"] = "direct"  # to the label size, or first to the input size
    map_rule: ResizeRule = "half_pixel"  # averaged tiles, and `via_input`, to the label size
    average: Literal["probability", "logit"] = "probability"  # over tiles, scales and flips
    precision: Literal["fp32", "bf16"] = "fp32"  # of the network; logits are merged in fp32
    batch: Count = 1  # images of equal size, or tiles of an image, per forward pass

    words: Later[str] = ""  # mode external: what else decides the number, such as the rule of a resize

    # Counted pixels and classes.
    first: Count | None = None  # only this many images of the split
    reduce_zero_label: bool = False  # ignore label 0 and decrement the others
    ignore_index: Annotated[int, Ge(0), Le(255)] = 255
    mean_over: tuple[str, ...] = ()  # classes in the means; empty: all
    absent: Literal["skip", "zero"] = "skip"  # a class in neither labels nor predictions: skip, or count 0
    union_bug: bool = False  # page 000, TensorFlow: IoU as TP / (2 GT - TP), accuracy as a mean over images
    boundary_ratio: Annotated[float, Ge(0), Lt(0.5)] = 0.0  # boundary IoU: width / image diagonal; 0: off

    ms_flip: Variant | None = None

    def __post_init__(self) -> None:
        tiling = (self.crop, self.stride, self.overlap)
        if self.mode == "whole" and tiling != (None, None, None):
            raise ValueError("mode whole without crop, stride and overlap")
        if self.mode == "external" and self.ms_flip is not None:
            raise ValueError("mode external without ms_flip: a program writes one map per image")
        if self.mode != "external" and self.words:
            raise ValueError("words with mode external only: the other modes are defined by the fields")
        if self.mode == "slide" and (self.crop is None or (self.stride is None) == (self.overlap is None)):
            raise ValueError("mode slide with crop and one of stride, overlap")
        if (
            self.crop is not None
            and self.mode == "slide"
            and any(step > side for step, side in zip(self.step, self.crop, strict=True))
        ):
            raise ValueError("a stride of at most the crop")
        if self.zero_tile == "nan" and self.overlap is None:
            raise ValueError("zero_tile nan with overlap")

    @property
    def step(self) -> tuple[int, int]:
        """Distance of neighbouring tiles (vertical, horizontal); with `overlap` both from the crop height."""
        if self.stride is not None:
            return self.stride
        if self.crop is None or self.overlap is None:
            raise ValueError("mode whole has no tiles")
        side = math.ceil(self.crop[0] * (1 - self.overlap))
        return side, side

    def variants(self) -> dict[str, Variant]:
        """Return scales and flip by suffix of the metrics ("" and "_ms_flip")."""
        own = {"": Variant(scales=self.scales, flip=self.flip)}
        return own if self.ms_flip is None else own | {"_ms_flip": self.ms_flip}

    def predicts_as(self, other: Protocol) -> bool:
        """Whether both say the same of how maps are predicted; they may count them differently."""
        return replace(self, **{name: getattr(other, name) for name in COUNTING}) == other

    def single_variant(self, *, ms_flip: bool) -> Protocol:
        """Return the protocol with only one of its variants. Raises ValueError if it has no `ms_flip`."""
        if not ms_flip:
            return replace(self, ms_flip=None)
        if self.ms_flip is None:
            raise ValueError("the protocol has no ms_flip variant")
        return replace(self, scales=self.ms_flip.scales, flip=self.ms_flip.flip, ms_flip=None)


def scaled_size(size: tuple[int, int], scale: float, protocol: Protocol) -> tuple[int, int]:
    """Return the (height, width) to which an image of `size` is resized before the network."""
    factor = scale
    if protocol.base is not None:
        long, short = sorted((int(side * scale) for side in protocol.base), reverse=True)
        factor = min(long / max(size), short / min(size))
    extra = 0.5 if protocol.rounding == "round" else 0.0
    height, width = (max(1, int(side * factor + extra)) for side in size)
    return height, width


def protocol_hash(protocol: Protocol, *, classes: Sequence[str]) -> str:
    """Return 12 hex digits over the class list and the fields that differ from their default.

    Defaults are omitted, so adding a field with a neutral default keeps all hashes.
    """
    fields = dataclasses.fields(protocol)
    differing = {f.name: getattr(protocol, f.name) for f in fields if getattr(protocol, f.name) != f.default}
    content = {"protocol": differing, "classes": list(classes)}
    text = json.dumps(content, sort_keys=True, default=dataclasses.asdict, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
