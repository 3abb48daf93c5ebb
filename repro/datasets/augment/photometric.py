"""Photometric transforms: they change colours and keep the label.

All randomness comes from the `Rng` argument. The arithmetic uses lookup tables of 256 values.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from repro.datasets.augment.rng import Rng
from repro.datasets.formats.image_io import Pixels


def brighten(image_HWC: Pixels, label_HW: Pixels, rng: Rng, *, strength: float) -> tuple[Pixels, Pixels]:
    """Multiply all pixels by a uniform factor from 1 +- strength."""
    table = _table(np.arange(256) * rng.uniform(1 - strength, 1 + strength))
    return _look_up(image_HWC, table), label_HW


def distort(
    image_HWC: Pixels,
    label_HW: Pixels,
    rng: Rng,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    hue: int,
) -> tuple[Pixels, Pixels]:
    """Photometric distortion of SSD (pages 001, 002, 004): each part with probability 0.5.

    Brightness is first; contrast is second or last, with equal probability; saturation and hue in HSV are
    between. Values are truncated to uint8 after each part as in mmsegmentation, except that saturation and
    hue share one HSV conversion.
    """
    table: NDArray[np.float32] = _STEPS
    if rng.bernoulli(0.5):
        table = _truncate(table + rng.uniform(-brightness, brightness))
    early = rng.bernoulli(0.5)
    if early and rng.bernoulli(0.5):
        table = _truncate(table * rng.uniform(1 - contrast, 1 + contrast))
    out_HWC = np.array(image_HWC, order="C")  # in place from here: saves a quarter of the time
    if table is not _STEPS:
        _apply(out_HWC, table.astype(np.uint8))
    _distort_hsv(out_HWC, rng, saturation=saturation, hue=hue)
    if not early and rng.bernoulli(0.5):
        cv2.LUT(out_HWC, _table(np.arange(256) * rng.uniform(1 - contrast, 1 + contrast)), out_HWC)
    return out_HWC, label_HW


_STEPS = np.arange(256, dtype=np.float32)


def _apply(image_HWC: Pixels, table: Pixels) -> None:
    """Apply a table in place; one that only shifts is done by cv2.add, 10 times faster."""
    shift = int(table[128]) - 128
    if np.array_equal(table, np.clip(np.arange(256) + shift, 0, 255)):
        cv2.add(image_HWC, (shift, shift, shift, 0), image_HWC)
    else:
        cv2.LUT(image_HWC, table, image_HWC)


def _distort_hsv(image_HWC: Pixels, rng: Rng, *, saturation: float, hue: int) -> None:
    """Change saturation and hue in place."""
    factor = rng.uniform(1 - saturation, 1 + saturation) if rng.bernoulli(0.5) else None
    turn = rng.randint(-hue, hue - 1) if rng.bernoulli(0.5) and hue else None
    if factor is None and turn is None:
        return
    cv2.cvtColor(image_HWC, cv2.COLOR_RGB2HSV, image_HWC)
    if turn is not None:
        _look_up_channel(image_HWC, 0, _table((_STEPS + turn) % 180))
    if factor is not None:
        _look_up_channel(image_HWC, 1, _table(_STEPS * factor))
    cv2.cvtColor(image_HWC, cv2.COLOR_HSV2RGB, image_HWC)


def _look_up_channel(image_HWC: Pixels, channel: int, table: Pixels) -> None:
    """Apply a table to a channel in place."""
    values_HW = cv2.extractChannel(image_HWC, channel)
    cv2.insertChannel(cv2.LUT(values_HW, table, values_HW), image_HWC, channel)


def jitter(
    image_HWC: Pixels,
    label_HW: Pixels,
    rng: Rng,
    *,
    brightness: float,
    contrast: float,
    saturation: float,
    shuffled: bool,
) -> tuple[Pixels, Pixels]:
    """Colour jitter of page 000, always applied: factors from 1 +- strength, computed as in PIL."""
    parts = [(_jitter_brightness, brightness), (_jitter_contrast, contrast), (_jitter_saturation, saturation)]
    order = rng.permutation(3) if shuffled else range(3)
    for i in order:
        change, strength = parts[i]
        if strength:
            image_HWC = change(image_HWC, rng.uniform(max(0.0, 1 - strength), 1 + strength))
    return image_HWC, label_HW


def _jitter_brightness(image_HWC: Pixels, factor: float) -> Pixels:
    return _look_up(image_HWC, _table(np.arange(256) * np.float32(factor)))


def _jitter_contrast(image_HWC: Pixels, factor: float) -> Pixels:
    """Blend with the mean gray of the image."""
    mean = np.float32(int(_gray(image_HWC).mean() + 0.5))
    return _look_up(image_HWC, _table(mean + np.float32(factor) * (np.arange(256, dtype=np.float32) - mean)))


def _jitter_saturation(image_HWC: Pixels, factor: float) -> Pixels:
    """Blend with the gray image."""
    gray_HW1 = _gray(image_HWC)[..., None].astype(np.float32)
    return _truncate(gray_HW1 + np.float32(factor) * (image_HWC.astype(np.float32) - gray_HW1)).astype(
        np.uint8
    )


def _gray(image_HWC: Pixels) -> Pixels:
    """Luma as in PIL: ITU-R 601 weights in 16-bit fixed point."""
    weights = np.array([19595, 38470, 7471], dtype=np.uint32)
    return ((image_HWC.astype(np.uint32) @ weights + 0x8000) >> 16).astype(np.uint8)


def _truncate(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Clip to 0..255 and truncate, as a cast to uint8 does."""
    return np.asarray(np.floor(np.clip(values, 0, 255)), dtype=np.float32)


def _table(values: NDArray[np.floating]) -> Pixels:
    return _truncate(values).astype(np.uint8)


def _look_up(image_HWC: Pixels, table: Pixels) -> Pixels:
    return np.asarray(cv2.LUT(image_HWC, table))
