"""Geometric transforms of (image_HWC, label_HW), both uint8, RGB; `photometric` has those of colours.

All randomness comes from the `Rng` argument; transforms have no state. Only the needed crop of an image is
resized (`resize.resize_window`).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from repro.datasets.augment.resize import Croppable, Size, fit_size, resize_label_window, resize_window
from repro.datasets.augment.rng import Rng
from repro.datasets.formats.image_io import Pixels
from repro.datasets.sets.spec import IGNORE

Step = Callable[[Pixels, Pixels, Rng], tuple[Pixels, Pixels]]
Crop = Callable[[Croppable, Pixels, Rng], tuple[Pixels, Pixels]]
# Pages 001, 002 and 004 pad with 0 after normalisation, i.e. with the mean colour; the rounding to uint8 is
# at most 0.01 standard deviations.
MEAN_COLOUR = (124, 116, 104)


def crop_corner(size_HW: Size, crop_HW: Size, rng: Rng) -> tuple[int, int]:
    """Return a uniformly random top left corner; 0 where the image is smaller than the crop."""
    return rng.randrange(max(size_HW[0] - crop_HW[0], 0) + 1), rng.randrange(
        max(size_HW[1] - crop_HW[1], 0) + 1
    )


def is_dominated(label_HW: Pixels, share: float) -> bool:
    """Return whether a class has at least `share` of the labelled pixels, or is the only one.

    The most frequent class is estimated from every 256th pixel; usually its exact count decides.
    """
    total = label_HW.size - np.count_nonzero(label_HW == IGNORE)
    guess = int(np.bincount(label_HW[::16, ::16].reshape(-1), minlength=256)[:IGNORE].argmax())
    count = np.count_nonzero(label_HW == guess)
    if total and (total - count) / total < share:
        return bool(count / total >= share)
    counts = cv2.calcHist([np.ascontiguousarray(label_HW)], [0], None, [256], [0, 256])[:IGNORE]
    return bool(np.count_nonzero(counts) <= 1 or int(counts.max()) / total >= share)


def scale_and_crop(
    image_HWC: Croppable,
    label_HW: Pixels,
    rng: Rng,
    *,
    scale: tuple[float, float],
    base_WH: Size | None,
    crop_HW: Size,
    category_share: float,
    category_tries: int,
) -> tuple[Pixels, Pixels]:
    """Resize by a uniform random factor, then crop; the result is smaller if the resized image is smaller.

    With `category_share` below 1, a crop that a class dominates is redrawn, up to `category_tries` crops.
    Only the label decides, so the image is resized once.
    """
    factor = scale[0] if scale[0] == scale[1] else rng.uniform(*scale)
    size_HW = fit_size(label_HW.shape, base_WH, factor)
    window_HW = min(crop_HW[0], size_HW[0]), min(crop_HW[1], size_HW[1])
    for _ in range(category_tries if category_share < 1 else 1):
        top, left = crop_corner(size_HW, crop_HW, rng)
        part_HW = resize_label_window(label_HW, size_HW, top, left, window_HW)
        if category_share >= 1 or not is_dominated(part_HW, category_share):
            break
    return resize_window(image_HWC, size_HW, top, left, window_HW), part_HW


def scale_axes(
    image_HWC: Croppable,
    label_HW: Pixels,
    rng: Rng,
    *,
    scale: tuple[float, float],
    aspect: float,
    crop_HW: Size,
    bilinear_label: bool,
    void: int,
    classes: int,
) -> tuple[Pixels, Pixels]:
    """Page 003: scale x and y independently, then crop (never at the last position).

    With `bilinear_label` class ids are interpolated like colours, as in tensorpack's augmentor: class 5
    appears between classes 2 and 8. Values that are not a class are ignored by its loss, so they become 255.
    """
    size_HW = _random_size(label_HW.shape, scale, aspect, rng)
    window_HW = min(crop_HW[0], size_HW[0]), min(crop_HW[1], size_HW[1])
    top, left = (rng.randrange(max(1, size - crop)) for size, crop in zip(size_HW, crop_HW, strict=True))
    cut_HWC = resize_window(image_HWC, size_HW, top, left, window_HW)
    if not bilinear_label:
        return cut_HWC, resize_label_window(label_HW, size_HW, top, left, window_HW)
    mixed_HW = resize_window(
        np.where(label_HW == IGNORE, np.uint8(void), label_HW), size_HW, top, left, window_HW
    )
    return cut_HWC, np.where(mixed_HW >= classes, np.uint8(IGNORE), mixed_HW)


def _random_size(size_HW: tuple[int, ...], scale: tuple[float, float], aspect: float, rng: Rng) -> Size:
    """Redraw until the aspect ratio changes by less than `aspect`; after 50 failures, do not scale."""
    height, width = size_HW
    for _ in range(51):
        across = rng.uniform(*scale)
        down = rng.uniform(*scale) if aspect > 0 else across
        wide, high = int(across * width + 0.5), int(down * height + 0.5)
        if aspect == 0 or abs((wide / high) / (width / height) - 1) < aspect + 1e-5:
            return high, wide
    return height, width


def pad(
    image_HWC: Pixels,
    label_HW: Pixels,
    rng: Rng,
    *,
    crop_HW: Size,
    centred: bool,
    colour: tuple[int, int, int],
    label: int = IGNORE,
) -> tuple[Pixels, Pixels]:
    """Pad to the crop size, centred or at bottom and right, with `colour` and class `label`."""
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
    image_HWC: Pixels, label_HW: Pixels, rng: Rng, *, horizontal: float, vertical: float = 0.0
) -> tuple[Pixels, Pixels]:
    """Flip left-right and top-bottom with these probabilities."""
    code = _FLIPS[rng.bernoulli(horizontal), vertical > 0 and rng.bernoulli(vertical)]
    if code is None:
        return image_HWC, label_HW
    return np.asarray(cv2.flip(image_HWC, code)), np.asarray(cv2.flip(label_HW, code))


_FLIPS = {(False, False): None, (True, False): 1, (False, True): 0, (True, True): -1}  # OpenCV's codes


def rotate90(image_HWC: Pixels, label_HW: Pixels, rng: Rng, *, probability: float) -> tuple[Pixels, Pixels]:
    """Rotate by 0, 90, 180 or 270 degrees, uniformly, with this probability."""
    if not rng.bernoulli(probability):
        return image_HWC, label_HW
    turns = rng.randrange(4)
    return np.rot90(image_HWC, turns), np.rot90(label_HW, turns)
