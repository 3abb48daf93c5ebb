"""Steps of the augmentation pipelines that change colours and leave the label as it is.

Every random number comes from the `Draw` that a step is given. Tables of 256 values do the arithmetic.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from repro.datasets.augment.rng import Draw
from repro.datasets.formats.image_io import Pixels


def brighten(image_HWC: Pixels, label_HW: Pixels, draw: Draw, *, strength: float) -> tuple[Pixels, Pixels]:
    """Multiply all pixels by a factor from 1 +- strength."""
    table = _table(np.arange(256) * draw.uniform(1 - strength, 1 + strength))
    return _look_up(image_HWC, table), label_HW


def distort(
    image_HWC: Pixels,
    label_HW: Pixels,
    draw: Draw,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: int,
) -> tuple[Pixels, Pixels]:
    """Photometric distortion of SSD (pages 001, 002, 004): each part with probability 0.5.

    Brightness first; contrast next or last, by a coin; saturation and hue in HSV between. The values are
    truncated to uint8 after each part as in mmsegmentation, except that saturation and hue share one
    HSV round trip (a rounding less).
    """
    table: NDArray[np.float32] = _STEPS
    if draw.chance(0.5):
        table = _cut(table + draw.uniform(-brightness, brightness))
    early = draw.chance(0.5)
    if early and draw.chance(0.5):
        table = _cut(table * draw.uniform(1 - contrast, 1 + contrast))
    out_HWC = np.array(image_HWC, order="C")  # then in place: fresh memory a part is a quarter of the time
    if table is not _STEPS:
        _apply(out_HWC, table.astype(np.uint8))
    _turn_hsv(out_HWC, draw, saturation=saturation, hue=hue)
    if not early and draw.chance(0.5):
        cv2.LUT(out_HWC, _table(np.arange(256) * draw.uniform(1 - contrast, 1 + contrast)), out_HWC)
    return out_HWC, label_HW


_STEPS = np.arange(256, dtype=np.float32)


def _apply(image_HWC: Pixels, table: Pixels) -> None:
    """Look up in place; a table that only shifts is an addition, which takes a tenth of the time."""
    shift = int(table[128]) - 128
    if np.array_equal(table, np.clip(np.arange(256) + shift, 0, 255)):
        cv2.add(image_HWC, (shift, shift, shift, 0), image_HWC)
    else:
        cv2.LUT(image_HWC, table, image_HWC)


def _turn_hsv(image_HWC: Pixels, draw: Draw, *, saturation: float, hue: int) -> None:
    """In place."""
    factor = draw.uniform(1 - saturation, 1 + saturation) if draw.chance(0.5) else None
    turn = draw.between(-hue, hue - 1) if draw.chance(0.5) and hue else None
    if factor is None and turn is None:
        return
    cv2.cvtColor(image_HWC, cv2.COLOR_RGB2HSV, image_HWC)
    if turn is not None:
        _look_up_channel(image_HWC, 0, _table((_STEPS + turn) % 180))
    if factor is not None:
        _look_up_channel(image_HWC, 1, _table(_STEPS * factor))
    cv2.cvtColor(image_HWC, cv2.COLOR_HSV2RGB, image_HWC)


def _look_up_channel(image_HWC: Pixels, channel: int, table: Pixels) -> None:
    """In place."""
    values_HW = cv2.extractChannel(image_HWC, channel)
    cv2.insertChannel(cv2.LUT(values_HW, table, values_HW), image_HWC, channel)


def jitter(
    image_HWC: Pixels,
    label_HW: Pixels,
    draw: Draw,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    shuffled: bool,
) -> tuple[Pixels, Pixels]:
    """Colour jitter of page 000, always applied: factors from 1 +- strength, in PIL's arithmetic."""
    parts = [(_jitter_brightness, brightness), (_jitter_contrast, contrast), (_jitter_saturation, saturation)]
    order = draw.permutation(3) if shuffled else range(3)
    for i in order:
        change, strength = parts[i]
        if strength:
            image_HWC = change(image_HWC, draw.uniform(max(0.0, 1 - strength), 1 + strength))
    return image_HWC, label_HW


def _jitter_brightness(image_HWC: Pixels, factor: float) -> Pixels:
    return _look_up(image_HWC, _table(np.arange(256) * np.float32(factor)))


def _jitter_contrast(image_HWC: Pixels, factor: float) -> Pixels:
    """Away from or towards the mean gray of the image."""
    mean = np.float32(int(_gray(image_HWC).mean() + 0.5))
    return _look_up(image_HWC, _table(mean + np.float32(factor) * (np.arange(256, dtype=np.float32) - mean)))


def _jitter_saturation(image_HWC: Pixels, factor: float) -> Pixels:
    """Away from or towards the gray of each pixel."""
    gray_HW1 = _gray(image_HWC)[..., None].astype(np.float32)
    return _cut(gray_HW1 + np.float32(factor) * (image_HWC.astype(np.float32) - gray_HW1)).astype(np.uint8)


def _gray(image_HWC: Pixels) -> Pixels:
    """Luma as PIL rounds it: ITU-R 601 weights in 16-bit fixed point."""
    weights = np.array([19595, 38470, 7471], dtype=np.uint32)
    return ((image_HWC.astype(np.uint32) @ weights + 0x8000) >> 16).astype(np.uint8)


def _cut(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Clipped to 0..255 and truncated, as a cast to uint8 does."""
    return np.asarray(np.floor(np.clip(values, 0, 255)), dtype=np.float32)


def _table(values: NDArray[np.floating]) -> Pixels:
    return _cut(values).astype(np.uint8)


def _look_up(image_HWC: Pixels, table: Pixels) -> Pixels:
    return np.asarray(cv2.LUT(image_HWC, table))
