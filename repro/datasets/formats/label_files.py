"""Label files as stored: ids, palette indices or colours, without scaling, rotation or blending.

The format is detected from the content. PNG and TIFF are supported; lossy formats are rejected, because a
wrong id cannot be recognised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from repro.datasets.formats import tiff
from repro.datasets.formats.image_io import RETRY, Pixels, load_tiff, open_image, png_errors, too_many_bits
from repro.datasets.formats.png_reader import GRAY_ALPHA, NAMES, PALETTE, RGB, RGBA, header, is_png, read_png
from repro.errors import DataError

Values = NDArray[np.uint8] | NDArray[np.uint16]
FORMATS = "lossless PNG or TIFF"


@dataclass(frozen=True, kw_only=True)
class LabelFile:
    """A label as stored. `rows(top, bottom)` returns values_HW, or colours_HWC (uint8, RGB) if `coloured`."""

    height: int
    width: int
    bits: int  # per sample
    coloured: bool
    palette_N3: Pixels | None  # if values are palette indices
    rows: Callable[[int, int], Values]

    @property
    def values(self) -> Values:
        """values_HW: all gray values or indices."""
        return self.rows(0, self.height)

    @property
    def kind(self) -> str:
        """Description for messages."""
        form = "colour" if self.coloured else "gray" if self.palette_N3 is None else "palette"
        return f"{self.bits}-bit {form}"


def stored_size(data: bytes, where: str) -> tuple[int, int]:
    """Return the declared (height, width) of a label file, without decoding."""
    if is_png(data):
        with png_errors(where):
            found = header(data)
            return found.height, found.width
    with open_image(data, where) as image:
        width, height = tiff.stored_size(image) if tiff.is_tiff(data) else image.size
        return height, width


def read_label_file(data: bytes, where: str) -> LabelFile:
    """Decode a label file. Raises DataError if it is damaged, lossy or has too many bits."""
    return _png(data, where) if is_png(data) else _tiff(data, where)


def _png(data: bytes, where: str) -> LabelFile:
    with png_errors(where):
        found = header(data)
        coloured = found.kind in (RGB, RGBA)
        if coloured and found.bits > 8:
            raise too_many_bits(f"{found.bits}-bit {NAMES[found.kind]}", where, "label")
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
    with open_image(data, where) as image:
        _check_tiff(image, data, where)
        if image.mode in _COLOURS:
            return _coloured_tiff(image, load_tiff(image, where))
        loaded = load_tiff(image, where)
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
    """Colours in strips: those of 6000x6000 pixels take 108 MB in Pillow, and again as an array."""

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


def _check_tiff(image: Image.Image, data: bytes, where: str) -> None:
    """Raise DataError unless it is a lossless TIFF with gray, palette or 8-bit colours."""
    if not tiff.is_tiff(data) or tiff.is_lossy(image):
        form = "TIFF with lossy compression" if tiff.is_tiff(data) else f"{image.format} file"
        what = f"a label cannot be a {form}"
        hint = "are image and label swapped? download the label again"
        raise DataError(what, where=where, allowed=FORMATS, hint=hint)
    if image.mode in _COLOURS and tiff.bits(image) > 8:
        raise too_many_bits(f"{tiff.bits(image)}-bit {image.mode}", where, "label")
    if image.mode not in (*_COLOURS, *_VALUES):
        allowed = "gray of 1 to 16 bits, palette, RGB"
        raise DataError(f"unsupported label mode {image.mode}", where=where, allowed=allowed, hint=RETRY)


def _palette(loaded: Image.Image) -> Pixels | None:
    if loaded.mode != "P":
        return None
    return np.array(loaded.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
