"""Steps of the augmentation pipelines: small functions on (image_HWC, label_HW), both uint8, RGB.

Here those that move pixels; those that change their colours are in `colours`.

Every random number comes from the `Draw` that a step is given; no step keeps a state. A resize is never
done on the whole image when only a crop of it is needed (`resize.take_window`).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from repro.datasets.augment.resize import Cuttable, Size, fitted, take_label_window, take_window
from repro.datasets.augment.rng import Draw
from repro.datasets.formats.image_io import Pixels
from repro.datasets.sets.spec import IGNORE

Step = Callable[[Pixels, Pixels, Draw], tuple[Pixels, Pixels]]
Crop = Callable[[Cuttable, Pixels, Draw], tuple[Pixels, Pixels]]
# Pages 001, 002 and 004 pad with 0 after normalising, that is with the mean colour; in uint8 this is off
# by at most 0.01 standard deviations.
MEAN_COLOUR = (124, 116, 104)


def crop_corner(size_HW: Size, crop_HW: Size, draw: Draw) -> tuple[int, int]:
    """A uniform top left corner, every position alike; 0 where the image is smaller than the crop."""
    return draw.below(max(size_HW[0] - crop_HW[0], 0) + 1), draw.below(max(size_HW[1] - crop_HW[1], 0) + 1)


def dominated(label_HW: Pixels, share: float) -> bool:
    """Whether one class holds at least `share` of the labelled pixels, or is alone.

    A guess from every 256th pixel answers nearly always: where it leaves less than `share` to the others,
    none of them can dominate.
    """
    total = label_HW.size - np.count_nonzero(label_HW == IGNORE)
    guess = int(np.bincount(label_HW[::16, ::16].reshape(-1), minlength=256)[:IGNORE].argmax())
    count = np.count_nonzero(label_HW == guess)
    if total and (total - count) / total < share:
        return bool(count / total >= share)
    counts = cv2.calcHist([np.ascontiguousarray(label_HW)], [0], None, [256], [0, 256])[:IGNORE]
    return bool(np.count_nonzero(counts) <= 1 or int(counts.max()) / total >= share)


def scale_and_crop(
    image_HWC: Cuttable,
    label_HW: Pixels,
    draw: Draw,
    *,
    scale: tuple[float, float],
    base_WH: Size | None,
    crop_HW: Size,
    category_share: float,
    category_tries: int,
) -> tuple[Pixels, Pixels]:
    """Resize by a uniform factor, then crop; the result is smaller where the resized image is smaller.

    With `category_share` below 1 a crop that one class dominates is drawn again, `category_tries` crops in
    all; only the label is looked at, so the image is resized once.
    """
    factor = scale[0] if scale[0] == scale[1] else draw.uniform(*scale)
    size_HW = fitted(label_HW.shape, base_WH, factor)
    window_HW = min(crop_HW[0], size_HW[0]), min(crop_HW[1], size_HW[1])
    for _ in range(category_tries if category_share < 1 else 1):
        top, left = crop_corner(size_HW, crop_HW, draw)
        part_HW = take_label_window(label_HW, size_HW, top, left, window_HW)
        if category_share >= 1 or not dominated(part_HW, category_share):
            break
    return take_window(image_HWC, size_HW, top, left, window_HW), part_HW


def scale_apart(
    image_HWC: Cuttable,
    label_HW: Pixels,
    draw: Draw,
    *,
    scale: tuple[float, float],
    aspect: float,
    crop_HW: Size,
    bilinear_label: bool,
    void: int,
    classes: int,
) -> tuple[Pixels, Pixels]:
    """Page 003: x and y scaled apart, then the crop (its last position excluded).

    With `bilinear_label` the class numbers are interpolated like colours, as tensorpack's augmentor did:
    between classes 2 and 8 lies class 5. Numbers that are no class are ignored by its loss, so they
    become 255.
    """
    size_HW = _size_apart(label_HW.shape, scale, aspect, draw)
    window_HW = min(crop_HW[0], size_HW[0]), min(crop_HW[1], size_HW[1])
    top, left = (draw.below(max(1, size - crop)) for size, crop in zip(size_HW, crop_HW, strict=True))
    cut_HWC = take_window(image_HWC, size_HW, top, left, window_HW)
    if not bilinear_label:
        return cut_HWC, take_label_window(label_HW, size_HW, top, left, window_HW)
    mixed_HW = take_window(
        np.where(label_HW == IGNORE, np.uint8(void), label_HW), size_HW, top, left, window_HW
    )
    return cut_HWC, np.where(mixed_HW >= classes, np.uint8(IGNORE), mixed_HW)


def _size_apart(size_HW: tuple[int, ...], scale: tuple[float, float], aspect: float, draw: Draw) -> Size:
    """Redrawn until the ratio of the sides changes by less than `aspect`; after 50 failures unscaled."""
    height, width = size_HW
    for _ in range(51):
        across = draw.uniform(*scale)
        down = draw.uniform(*scale) if aspect > 0 else across
        wide, high = int(across * width + 0.5), int(down * height + 0.5)
        if aspect == 0 or abs((wide / high) / (width / height) - 1) < aspect + 1e-5:
            return high, wide
    return height, width


def pad(
    image_HWC: Pixels,
    label_HW: Pixels,
    draw: Draw,
    *,
    crop_HW: Size,
    centred: bool,
    colour: tuple[int, int, int],
    label: int = IGNORE,
) -> tuple[Pixels, Pixels]:
    """Fill up to the crop size, centred or at bottom and right, with `colour` and with class `label`."""
    down, across = crop_HW[0] - label_HW.shape[0], crop_HW[1] - label_HW.shape[1]
    if down <= 0 and across <= 0:
        return image_HWC, label_HW
    top, left = (down // 2, across // 2) if centred else (0, 0)
    border = (top, down - top, left, across - left, cv2.BORDER_CONSTANT)
    return (
        np.asarray(cv2.copyMakeBorder(image_HWC, *border, value=colour)),
        np.asarray(cv2.copyMakeBorder(label_HW, *border, value=label)),
    )


def flip(
    image_HWC: Pixels, label_HW: Pixels, draw: Draw, *, across: float, down: float = 0.0
) -> tuple[Pixels, Pixels]:
    """Mirror left-right with probability `across`, then top-bottom with probability `down`."""
    code = _FLIPS[draw.chance(across), down > 0 and draw.chance(down)]
    if code is None:
        return image_HWC, label_HW
    return np.asarray(cv2.flip(image_HWC, code)), np.asarray(cv2.flip(label_HW, code))


_FLIPS = {(False, False): None, (True, False): 1, (False, True): 0, (True, True): -1}  # OpenCV's codes


def quarter_turn(
    image_HWC: Pixels, label_HW: Pixels, draw: Draw, *, probability: float
) -> tuple[Pixels, Pixels]:
    """Turn by 0, 90, 180 or 270 degrees, each alike, with this probability."""
    if not draw.chance(probability):
        return image_HWC, label_HW
    turns = draw.below(4)
    return np.rot90(image_HWC, turns), np.rot90(label_HW, turns)
