"""What a label file stores: ids, indices into a palette, or colours. Nothing is scaled, turned or blended.

The content says what a file is, not its name. PNG and TIFF are read; formats that lose values are refused,
for a wrong id looks like a right one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from repro.datasets.formats import tiff
from repro.datasets.formats.image_io import AGAIN, Pixels, loaded_tiff, opened, png_errors, too_wide
from repro.datasets.formats.png_reader import GRAY_ALPHA, NAMES, PALETTE, RGB, RGBA, header, is_png, read_png
from repro.errors import DataError

Values = NDArray[np.uint8] | NDArray[np.uint16]
FORMATS = "PNG or TIFF, without loss"


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """A label as stored; `rows(top, bottom)`: values_HW, or colours_HWC (uint8, RGB) where `coloured`."""

    height: int
    width: int
    bits: int  # of a sample
    coloured: bool
    palette_N3: Pixels | None  # where values are indices
    rows: Callable[[int, int], Values]

    @property
    def values(self) -> Values:
        """values_HW: all gray values or indices."""
        return self.rows(0, self.height)

    @property
    def kind(self) -> str:
        """In words, for a message."""
        form = "colour" if self.coloured else "gray" if self.palette_N3 is None else "palette"
        return f"{self.bits}-bit {form}"


def stored_size(data: bytes, where: str) -> tuple[int, int]:
    """Height and width that a label file declares, before anything is decoded."""
    if is_png(data):
        with png_errors(where):
            found = header(data)
            return found.height, found.width
    with opened(data, where) as image:
        width, height = tiff.stored_size(image) if tiff.is_tiff(data) else image.size
        return height, width


def read_label_file(data: bytes, where: str) -> LabelFile:
    """Decode a label; DataError names a file that is damaged, of a lossy format, or of too many bits."""
    return _png(data, where) if is_png(data) else _tiff(data, where)


def _png(data: bytes, where: str) -> LabelFile:
    with png_errors(where):
        found = header(data)
        coloured = found.kind in (RGB, RGBA)
        if coloured and found.bits > 8:
            raise too_wide(f"{found.bits}-bit {NAMES[found.kind]}", where, "label")
        _, samples, palette_N3 = read_png(data)
    pixels = samples[..., 0] if found.kind == GRAY_ALPHA else samples[..., :3] if coloured else samples
    return LabelFile(
        height=found.height,
        width=found.width,
        bits=found.bits,
        coloured=coloured,
        palette_N3=palette_N3 if found.kind == PALETTE else None,
        rows=lambda top, bottom: pixels[top:bottom],
    )


def _tiff(data: bytes, where: str) -> LabelFile:
    with opened(data, where) as image:
        _refuse_other(image, data, where)
        if image.mode in _COLOURS:
            return _coloured_tiff(image, loaded_tiff(image, where))
        loaded = loaded_tiff(image, where)
        values_HW = tiff.stored_values(image, loaded)
        return LabelFile(
            height=loaded.height,
            width=loaded.width,
            bits=tiff.bits(image),
            coloured=False,
            palette_N3=_palette(loaded),
            rows=lambda top, bottom: values_HW[top:bottom],
        )


_COLOURS, _VALUES = ("RGB", "RGBA", "RGBX"), ("1", "L", "P", "I;16", "I;16B")


def _coloured_tiff(image: Image.Image, loaded: Image.Image) -> LabelFile:
    """Colours in strips: those of 6000x6000 pixels are 108 MB once in Pillow, and once more as an array."""

    def rows(top: int, bottom: int) -> Pixels:
        strip = loaded.crop((0, top, loaded.width, min(bottom, loaded.height)))
        return np.asarray(strip, dtype=np.uint8)[..., :3]

    return LabelFile(
        height=loaded.height,
        width=loaded.width,
        bits=tiff.bits(image),
        coloured=True,
        palette_N3=None,
        rows=rows,
    )


def _refuse_other(image: Image.Image, data: bytes, where: str) -> None:
    """DataError for what is no lossless TIFF of gray, palette or 8-bit colours."""
    if not tiff.is_tiff(data) or tiff.is_lossy(image):
        inside = "TIFF compressed with loss" if tiff.is_tiff(data) else f"{image.format} file"
        what = f"a label cannot be a {inside}"
        hint = "are image and label swapped? take the owner's label again"
        raise DataError(what, where=where, allowed=FORMATS, hint=hint)
    if image.mode in _COLOURS and tiff.bits(image) > 8:
        raise too_wide(f"{tiff.bits(image)}-bit {image.mode}", where, "label")
    if image.mode not in (*_COLOURS, *_VALUES):
        allowed = "gray of 1 to 16 bits, palette, RGB"
        raise DataError(f"a label of the kind {image.mode}", where=where, allowed=allowed, hint=AGAIN)


def _palette(loaded: Image.Image) -> Pixels | None:
    if loaded.mode != "P":
        return None
    return np.array(loaded.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
