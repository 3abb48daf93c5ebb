"""Labels stored as colours, looked up in a table of all 24-bit colours.

Such a table takes 16 MB and is kept; binary search among a set's colours takes three to five times as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from repro.datasets.images import Pixels, load, opened, refuse_wide
from repro.datasets.palettes import Colour
from repro.datasets.spec import IGNORE
from repro.errors import DataError

STRIP = 128  # rows; looking colours up takes 24 bytes a pixel
UNKNOWN = 254  # in a table: a colour of no class


def read_colour_label(
    data: bytes, ids: Mapping[Colour, int], where: str, *, tolerated: float = 0.0
) -> tuple[Pixels, int]:
    """label_HW of the train ids that the colours stand for, and how many pixels had no colour of `ids`.

    Such pixels are ignored (255) while they are at most the share `tolerated` of the image; more are an
    error that says where the first one is. Works in strips, for a 6000x6000 label is 108 MB of colours.
    """
    table = _kept_table(tuple(ids.items()))
    with opened(data, where) as image:
        refuse_wide(data, image, where, "label")
        if image.mode == "L":
            raise DataError(f"expected a colour label, found {image.mode}", where=where, allowed="RGB PNG")
        load(image, where)
        width, height = image.size
        label_HW = np.empty((height, width), dtype=np.uint8)
        for top in range(0, height, STRIP):
            strip = image.crop((0, top, width, min(top + STRIP, height))).convert("RGB")
            label_HW[top : top + STRIP] = table[packed(np.asarray(strip, dtype=np.uint8))]
        unknown_HW = label_HW == UNKNOWN
        count = int(np.count_nonzero(unknown_HW))
        if count > tolerated * label_HW.size:
            y, x = (int(v) for v in np.unravel_index(int(unknown_HW.argmax()), label_HW.shape))
            colour = image.convert("RGB").getpixel((x, y))
            raise _not_in_palette(colour, y, x, count, ids, where)
    label_HW[unknown_HW] = IGNORE
    return label_HW, count


def colour_table(ids: Mapping[Colour, int], *, unknown: int) -> Pixels:
    """The id of every packed colour; `unknown` for those without one."""
    table = np.full(1 << 24, unknown, dtype=np.uint8)
    for (red, green, blue), number in ids.items():
        table[red << 16 | green << 8 | blue] = number
    return table


def packed(colours_HWC: Pixels) -> NDArray[np.uint32]:
    """code_HW: every colour as one number, 0xRRGGBB."""
    wide_HWC = colours_HWC.astype(np.uint32)
    return np.asarray(wide_HWC[..., 0] << 16 | wide_HWC[..., 1] << 8 | wide_HWC[..., 2])


@lru_cache(maxsize=1)
def _kept_table(ids: tuple[tuple[Colour, int], ...]) -> Pixels:
    return colour_table(dict(ids), unknown=UNKNOWN)


def _not_in_palette(
    colour: object, y: int, x: int, count: int, ids: Mapping[Colour, int], where: str
) -> DataError:
    return DataError(
        f"colour {colour} at row {y}, column {x} is not in the palette ({count} such pixels)",
        where=where,
        allowed=", ".join(str(known) for known in ids),
        hint="labels must be lossless; was the file saved as JPEG or resized?",
    )
