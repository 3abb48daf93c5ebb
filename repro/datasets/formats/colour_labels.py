"""Labels stored as colours, converted by a lookup table of all 24-bit colours.

The table takes 16 MB and is cached; a binary search in the palette is three to five times slower.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from repro.datasets.formats.image_io import Pixels
from repro.datasets.formats.label_files import LabelFile
from repro.datasets.sets.palettes import Colour
from repro.datasets.sets.spec import IGNORE
from repro.errors import DataError

STRIP = 128  # rows converted at once; the lookup needs 24 bytes per pixel
UNKNOWN = 254  # table value of colours without a class


def colours_to_ids(
    stored: LabelFile, ids: Mapping[Colour, int], where: str, *, tolerated: float, hint: str
) -> tuple[Pixels, int]:
    """Convert a label of colours or palette indices to train ids.

    Works in strips, because the colours of a 6000x6000 label take 108 MB.

    Args:
        stored: The label file.
        ids: Train id of each colour.
        where: Name of the file, for errors.
        tolerated: Share of pixels that may have other colours; they are ignored (255).
        hint: Advice in the error.

    Returns:
        label_HW, and the number of pixels with other colours.

    Raises:
        DataError: Too many pixels have other colours; the message has the position of the first one.
    """
    label_HW = np.empty((stored.height, stored.width), dtype=np.uint8)
    for top in range(0, stored.height, STRIP):
        label_HW[top : top + STRIP] = _ids(stored, ids, top)
    unknown_HW = label_HW == UNKNOWN
    count = int(np.count_nonzero(unknown_HW))
    if count > tolerated * label_HW.size:
        y, x = (int(v) for v in np.unravel_index(int(unknown_HW.argmax()), label_HW.shape))
        at = f"colour {_colour(stored, y, x)} at row {y}, column {x}"
        what = f"{at} is not in the palette of the data set ({count} such pixels)"
        raise DataError(what, where=where, allowed=", ".join(str(known) for known in ids), hint=hint)
    label_HW[unknown_HW] = IGNORE
    return label_HW, count


def _ids(stored: LabelFile, ids: Mapping[Colour, int], top: int) -> Pixels:
    """Train ids of a strip; UNKNOWN for other colours."""
    strip = stored.rows(top, top + STRIP)
    if stored.palette_N3 is None:
        return np.asarray(_cached_table(tuple(ids.items()))[pack_rgb(strip)])
    table = np.full(256, UNKNOWN, dtype=np.uint8)
    for index, colour in enumerate(stored.palette_N3.tolist()):
        table[index] = ids.get(tuple(colour), UNKNOWN)
    return table[strip]


def _colour(stored: LabelFile, y: int, x: int) -> object:
    pixel = stored.rows(y, y + 1)[0, x]
    if stored.palette_N3 is None:
        return tuple(pixel.tolist())
    return tuple(stored.palette_N3[pixel].tolist()) if pixel < len(stored.palette_N3) else f"of index {pixel}"


def colour_table(ids: Mapping[Colour, int], *, unknown: int) -> Pixels:
    """Return a table from packed colours to ids, with `unknown` for the others."""
    table = np.full(1 << 24, unknown, dtype=np.uint8)
    for (red, green, blue), number in ids.items():
        table[red << 16 | green << 8 | blue] = number
    return table


def pack_rgb(colours_HWC: NDArray[np.integer]) -> NDArray[np.uint32]:
    """Pack colours_HWC to numbers_HW, 0xRRGGBB."""
    wide_HWC = colours_HWC.astype(np.uint32)
    return np.asarray(wide_HWC[..., 0] << 16 | wide_HWC[..., 1] << 8 | wide_HWC[..., 2])


@lru_cache(maxsize=1)
def _cached_table(ids: tuple[tuple[Colour, int], ...]) -> Pixels:
    return colour_table(dict(ids), unknown=UNKNOWN)
