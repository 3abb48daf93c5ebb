"""Bytes of an image file into arrays, with every way in which a file can be wrong told by its name.

Legend: H height, W width, C = 3 channels in RGB order, all uint8.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from repro.datasets.formats import tiff
from repro.datasets.formats.png_reader import (
    GRAY,
    GRAY_ALPHA,
    MOST_PIXELS,
    NAMES,
    Damaged,
    check,
    chunks,
    header,
    is_png,
    read_rows,
)
from repro.datasets.formats.tiff import is_tiff
from repro.errors import DataError

cv2.setNumThreads(0)  # parallelism is over images; OpenCV's own pool would fight with it for the cores

Pixels = NDArray[np.uint8]
AGAIN = "copy or download it again"
READABLE = "JPEG, PNG, TIFF, WebP, BMP"
# Orientation is ignored everywhere, in data sets and in pictures to predict: labels are drawn on the stored
# pixel grid and carry no EXIF, and the same file must be the same input wherever it is read.
_COLOUR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
Image.MAX_IMAGE_PIXELS = MOST_PIXELS
WIDE = ("I;16", "I;16B", "I", "F")  # modes of more than 8 bits


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """What a check of an image found; `note` is something to tell that is not an error."""

    height: int
    width: int
    note: str | None = None


def check_image(data: bytes, where: str) -> ImageInfo:
    """Decode far enough to know that the file is whole (a JPEG at 1/8 size); DataError names the file."""
    width, height, gray, turned = _look_at_png(data, where) if is_png(data) else _look_at(data, where)
    notes = [f"EXIF orientation {turned} ignored"] if turned != 1 else []
    notes += ["gray image, read as RGB"] if gray else []
    return ImageInfo(height=height, width=width, note=f"{where}: {', '.join(notes)}" if notes else None)


def _look_at_png(data: bytes, where: str) -> tuple[int, int, bool, int]:
    """Width, height, whether it is gray, orientation; the filters are not undone."""
    with png_errors(where):
        found = header(data)
        if found.bits > 8:
            raise too_wide(f"{found.bits}-bit {NAMES[found.kind]}", where, "image")
        check(data)
    beside = b"".join(data[at.start - 4 : at.stop] for kind, at in chunks(data) if kind != b"IDAT")
    turned = _png_orientation(data) if any(word in beside for word in _TURNING) else 1
    return found.width, found.height, found.kind in (GRAY, GRAY_ALPHA), turned


_TURNING = (
    b"eXIf",
    b"Raw profile type exif",
    b"XML:com.adobe.xmp",
)  # where an orientation can stand in a PNG


def _png_orientation(data: bytes) -> int:
    """For a note only: what cannot be read says nothing."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return int(image.getexif().get(tiff.ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError, struct.error, Image.DecompressionBombError):
        return 1


def _look_at(data: bytes, where: str) -> tuple[int, int, bool, int]:
    """Width, height, whether it is gray, orientation of an image that is no PNG, after decoding."""
    with opened(data, where) as image:
        width, height = tiff.stored_size(image) if is_tiff(data) else image.size
        if image.mode in ("CMYK", "YCCK"):
            raise DataError("CMYK image", where=where, allowed="RGB or gray", hint="convert the file to RGB")
        if image.mode in WIDE or (is_tiff(data) and tiff.bits(image) > 8):
            raise too_wide(f"{image.mode} {image.format}", where, "image")
        gray = image.mode in ("L", "1", "LA")
        image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
        turned = tiff.orientation(image) if is_tiff(data) else 0
        load(image, where)
        return width, height, gray, turned or int(image.getexif().get(tiff.ORIENTATION, 1))


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
    if is_tiff(data):
        with opened(data, where) as image:
            if tiff.opencv_changes(image):
                return np.asarray(loaded_tiff(image, where).convert("RGB"), dtype=np.uint8)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), _COLOUR)
    except cv2.error:  # a size that it refuses
        pixels = None
    if pixels is None:
        raise DataError("not a readable image", where=where, allowed=READABLE, hint=AGAIN)
    return np.asarray(pixels, dtype=np.uint8)


def too_wide(kind: str, where: str, what: str) -> DataError:
    """More than 8 bits a channel: Pillow and OpenCV would cut such samples or scale them."""
    return DataError(
        f"{what} with more than 8 bits ({kind})",
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


def present_values(label_HW: Pixels) -> NDArray[np.intp]:
    """The values that occur, sorted; eight neighbours that equal the eight before them are passed over."""
    flat = np.ascontiguousarray(label_HW).reshape(-1)
    whole = flat.size // 8 * 8
    eights = flat[:whole].view(np.uint64)
    changed = eights[1:][eights[1:] != eights[:-1]].view(np.uint8)
    return np.flatnonzero(count_values(np.concatenate([flat[:8], changed, flat[whole:]])))


def opened(data: bytes | memoryview, where: str) -> Image.Image:
    """The image, its pixels not read yet; DataError names the file."""
    try:
        image = Image.open(io.BytesIO(data))
    except _UNREADABLE as error:
        raise DataError("not a readable image", where=where, allowed=READABLE, hint=AGAIN) from error
    if image.width * image.height > MOST_PIXELS:
        size = f"the image declares {image.width}x{image.height} pixels"
        raise DataError(size, where=where, allowed=f"{MOST_PIXELS:,} pixels in all", hint=AGAIN)
    return image


# What Pillow raises for damaged files. Its warning about size is one where warnings are errors.
_UNREADABLE = (
    *(UnidentifiedImageError, OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


def load(image: Image.Image, where: str) -> None:
    """Read the pixels; DataError names the file."""
    with _damage(where):
        image.load()


def loaded_tiff(image: Image.Image, where: str) -> Image.Image:
    """The pixels of an open TIFF as stored; DataError names the file."""
    with _damage(where):
        return tiff.load_stored(image)


@contextmanager
def _damage(where: str) -> Iterator[None]:
    try:
        yield
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise DataError(f"damaged image: {error}", where=where, hint=AGAIN) from error


@contextmanager
def png_errors(where: str) -> Iterator[None]:
    """What is wrong with a PNG as a DataError that names the file."""
    try:
        yield
    except Damaged as error:
        raise DataError(f"damaged image: {error}", where=where, hint=AGAIN) from error
