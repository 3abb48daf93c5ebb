"""Pixels of PNG files: the upper rows of an image without decoding the rest, and any file as it is stored.

A PNG is one deflate stream of rows, so decoding can end after any row; the image libraries go to the end.
Here ISA-L inflates as far as is asked. Rows that are stored plainly or as differences from the row above
(all that this project writes) are finished in numpy; other filters are left to OpenCV, which gets the rows
wrapped again as a PNG without compression. Pixels are those of any other reader, except that samples of fewer
than 8 bits are not scaled: a class number stays what it is.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from repro.datasets.png import Bytes, stored_png
from repro.datasets.png_stream import (
    GRAY,
    PALETTE,
    RGB,
    Damaged,
    Data,
    Header,
    check,
    filtered,
    framed,
    header,
    inflated,
    palette,
)

_NONE, _UP = 0, 2


class Stored(NamedTuple):
    """samples_HW or samples_HWC as they are in the file, uint8 or uint16; a palette_N3 of indices."""

    found: Header
    samples: NDArray[np.uint8] | NDArray[np.uint16]
    palette_N3: Bytes | None


def read_png(data: Data) -> Stored:
    """Every sample of a PNG of any kind, as stored. Damaged where the file is not whole."""
    found = framed(data)
    parts = list(filtered(data, found, to_the_end=True))  # before memory of the declared size is taken
    channels = (found.samples,) if found.samples > 1 else ()
    samples = np.empty((found.height, found.width, *channels), np.uint16 if found.bits > 8 else np.uint8)
    for part, filtered_HB in parts:
        rows_HB = _unfiltered(filtered_HB, found.samples * found.bits // 8)
        samples[part.rows, part.columns] = _unpacked(rows_HB, found, part.width)
    return Stored(found, samples, palette(data) if found.kind == PALETTE else None)


def read_rows(data: Data, rows: int | None = None) -> Bytes | None:
    """pixels_HW or pixels_HWC (RGB) of the first `rows` rows, or all.

    None: decode it in another way; only gray and RGB with 8 bits that are not interlaced are read.
    """
    try:
        found = header(data)
        if found.bits != 8 or found.kind not in (GRAY, RGB) or found.interlaced:
            return None
        upper = found._replace(height=min(found.height, rows or found.height))
        plain = np.frombuffer(inflated(data, upper.size), dtype=np.uint8)
        pixels_HB = _unfiltered(plain.reshape(upper.height, -1), found.samples)
    except Damaged:
        return None
    return pixels_HB.reshape(upper.height, found.width, -1) if found.kind == RGB else pixels_HB


def is_whole(data: bytes) -> bool:
    """Whether all checksums of a PNG hold and all pixels are there."""
    try:
        check(data)
    except Damaged:
        return False
    return True


def _unfiltered(filtered_HB: Bytes, pixel: int) -> Bytes:
    """Rows without their filters, which look back by `pixel` bytes (0, less than one, counts as one)."""
    kinds = set(np.unique(filtered_HB[:, 0]).tolist())
    if kinds <= {_NONE, _UP}:
        return _summed(filtered_HB) if _UP in kinds else filtered_HB[:, 1:].copy()
    channels, bits = _LIKE[pixel]
    again = np.frombuffer(stored_png(filtered_HB, channels=channels, bits=bits), dtype=np.uint8)
    photograph = (channels, bits) == (3, 8)
    pixels = cv2.imdecode(again, cv2.IMREAD_COLOR_RGB if photograph else cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise Damaged("the filters of the rows cannot be undone")
    if channels > 1 and not photograph:
        pixels = pixels[..., [2, 1, 0, 3][:channels]]
    wide = pixels.astype(">u2") if bits == 16 else pixels
    return np.ascontiguousarray(wide).reshape(filtered_HB.shape[0], -1).view(np.uint8)


# Bytes a pixel -> channels and bits of a PNG that OpenCV gives back as it is, whatever its bytes mean here.
_LIKE = {0: (1, 8), 1: (1, 8), 2: (1, 16), 3: (3, 8), 4: (4, 8), 6: (3, 16), 8: (4, 16)}


def _summed(filtered_HB: Bytes) -> Bytes:
    """Undo the filters "Up" and "None", row by row (numpy's accumulate down columns is 20 times slower)."""
    pixels_HB = np.empty((filtered_HB.shape[0], filtered_HB.shape[1] - 1), dtype=np.uint8)
    above_B = np.zeros(pixels_HB.shape[1], dtype=np.uint8)
    for row_B, out_B in zip(filtered_HB, pixels_HB, strict=True):
        np.add(row_B[1:], above_B if row_B[0] == _UP else 0, out=out_B)
        above_B = out_B
    return pixels_HB


def _unpacked(rows_HB: Bytes, found: Header, width: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Samples of a part: several in a byte, the first in its highest bits, or the high byte first."""
    if found.bits == 16:
        wide = rows_HB.view(">u2").astype(np.uint16)
        return wide.reshape(len(rows_HB), width, -1) if found.samples > 1 else wide
    if found.bits < 8:
        shifts = np.arange(8 - found.bits, -1, -found.bits, dtype=np.uint8)
        spread = rows_HB[:, :, None] >> shifts & np.uint8((1 << found.bits) - 1)
        return spread.reshape(len(rows_HB), -1)[:, :width]
    return rows_HB.reshape(len(rows_HB), width, -1) if found.samples > 1 else rows_HB
