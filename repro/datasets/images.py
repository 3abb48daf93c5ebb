"""Bytes of an image file into arrays, with every way in which a file can be wrong told by its name.

Legend: H height, W width, C = 3 channels in RGB order, all uint8.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from repro.datasets.png_rows import is_whole, read_rows
from repro.errors import DataError

cv2.setNumThreads(0)  # parallelism is over images; OpenCV's own pool would fight with it for the cores

Pixels = NDArray[np.uint8]
ORIENTATION = 0x0112  # EXIF tag; 1 is upright
# Orientation is ignored everywhere: labels were drawn on the stored pixel grid, and so the pages' own loaders
# (PIL, TensorFlow) read the images.
_COLOUR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
Image.MAX_IMAGE_PIXELS = 1 << 28  # aerial images of 13,000 px a side are real; beyond this it is an attack
WIDE = ("I;16", "I;16B", "I", "F")  # modes of more than 8 bits


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """What a check of an image found; `note` is something to tell that is not an error."""

    height: int
    width: int
    note: str | None = None


def check_image(data: bytes, where: str) -> ImageInfo:
    """Decode far enough to know that the file is whole (a JPEG at 1/8 size); DataError names the file."""
    with opened(data, where) as image:
        width, height = image.size
        if image.mode in ("CMYK", "YCCK"):
            raise DataError("CMYK image", where=where, allowed="RGB or gray", hint="convert the file to RGB")
        refuse_wide(data, image, where, "image")
        gray = image.mode in ("L", "1", "LA")
        turned = 1 if _plain_and_whole(data) else _decoded_orientation(image, where)
    notes = [f"EXIF orientation {turned} ignored"] if turned != 1 else []
    notes += ["gray image, read as RGB"] if gray else []
    return ImageInfo(height=height, width=width, note=f"{where}: {', '.join(notes)}" if notes else None)


def _plain_and_whole(data: bytes) -> bool:
    """Whether this is a whole PNG that says nothing about turning, told without undoing its filters."""
    return not any(word in data for word in _TURNING) and is_whole(data)


_TURNING = (
    b"eXIf",
    b"Raw profile type exif",
    b"XML:com.adobe.xmp",
)  # where an orientation can stand in a PNG


def _decoded_orientation(image: Image.Image, where: str) -> int:
    """The EXIF orientation, after decoding (a JPEG at 1/8 size)."""
    image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
    load(image, where)
    return int(image.getexif().get(ORIENTATION, 1))


@dataclass(frozen=True)
class Picture:
    """An image that is decoded when a part of it is asked for, of a PNG not further down than that part."""

    shape: tuple[int, ...]  # H, W
    decode: Callable[[int | None], Pixels]  # image_HWC, down to this row at least

    def __getitem__(self, part: tuple[slice, slice]) -> Pixels:
        return self.decode(part[0].stop)[part]


def read_rgb(data: bytes | memoryview, where: str, *, rows: int | None = None) -> Pixels:
    """image_HWC; gray becomes three equal channels, alpha is dropped, EXIF orientation is ignored.

    With `rows` a PNG is decoded down to there only and has that height; other files come whole.
    """
    upper = read_rows(data, rows)
    if upper is not None and upper.ndim == 3:
        return upper
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), _COLOUR)
    if image is None:
        raise DataError("not a readable image", where=where, hint="copy or download it again")
    return np.asarray(image, dtype=np.uint8)


def read_raw_label(data: bytes, where: str) -> Pixels:
    """label_HW as stored: gray values or palette indices (not colours), 8 bits."""
    with opened(data, where) as image:
        refuse_wide(data, image, where, "label")
        if image.mode not in ("L", "P"):
            raise DataError(
                f"expected a one-channel label, found {image.mode} {image.format}",
                where=where,
                allowed="8-bit gray or palette PNG",
                hint="are image and label swapped?",
            )
        load(image, where)
        return np.asarray(image, dtype=np.uint8)


def refuse_wide(data: bytes, image: Image.Image, where: str, kind: str) -> None:
    """DataError for more than 8 bits a channel; PIL reads a PNG of 16-bit colours as one of 8 bits."""
    png = image.format == "PNG" and data[24] > 8  # the header has the bit depth there
    if png or image.mode in WIDE:
        bits = image.mode if image.mode in WIDE else f"16-bit {image.mode}"
        raise DataError(
            f"{kind} with more than 8 bits ({bits})",
            where=where,
            allowed="8 bits a channel",
            hint="take the owner's file again, or convert all files of the data set to 8 bits",
        )


def read_prepared_label(data: bytes | memoryview, where: str) -> Pixels:
    """label_HW of a gray PNG that this project wrote; four times as fast as a reader of any PNG."""
    label = read_rows(data)
    if label is not None and label.ndim == 2:
        return label
    label = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if label is None or label.ndim != 2 or label.dtype != np.uint8:
        raise DataError("not a label of a prepared split", where=where, hint="prepare the data set again")
    return np.asarray(label)


def count_values(label_HW: Pixels) -> NDArray[np.int64]:
    """How often each value occurs, 256 numbers; np.bincount takes 20 times as long and 8 bytes a pixel."""
    counts = np.zeros(256, dtype=np.int64)
    flat = np.ascontiguousarray(label_HW).reshape(-1)
    for start in range(0, flat.size, _EXACT):
        part = flat[start : start + _EXACT]
        counts += cv2.calcHist([part], [0], None, [256], [0, 256]).reshape(-1).astype(np.int64)
    return counts


_EXACT = 1 << 24  # OpenCV counts in float32, which holds every whole number up to here


def to_train_ids(raw_HW: Pixels, table: NDArray[np.int16], where: str) -> Pixels:
    """Look stored values up in a table of 256 (value -> train id; -1: not allowed)."""
    present = np.flatnonzero(count_values(raw_HW))
    wrong = [int(value) for value in present if table[value] < 0]
    if wrong:
        allowed = ", ".join(str(v) for v in range(256) if table[v] >= 0) if (table < 0).any() else None
        hint = "is it a label of this data set, not resized and never a JPEG? take the owner's file again"
        raise DataError(f"label values {wrong[:8]} are of no class", where=where, allowed=allowed, hint=hint)
    return np.asarray(cv2.LUT(np.ascontiguousarray(raw_HW), table.astype(np.uint8)))


def value_table(mapping: dict[int, int]) -> NDArray[np.int16]:
    """256 entries: stored value -> train id, -1 where the value is not allowed."""
    table = np.full(256, -1, dtype=np.int16)
    for value, train_id in mapping.items():
        table[value] = train_id
    return table


def opened(data: bytes, where: str) -> Image.Image:
    """The image, its pixels not read yet; DataError names the file."""
    try:
        return Image.open(io.BytesIO(data))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError("not a readable image", where=where, hint="copy or download it again") from error


def load(image: Image.Image, where: str) -> None:
    """Read the pixels; DataError names the file."""
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"damaged image: {error}", where=where, hint="copy or download it again") from error
