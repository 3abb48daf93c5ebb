"""Decoding and validation of image files; errors name the file.

Shapes: H height, W width, C = 3 channels in RGB order, all uint8.
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
    MAX_PIXELS,
    NAMES,
    InvalidPng,
    check,
    chunks,
    header,
    is_png,
    read_rows,
)
from repro.datasets.formats.tiff import is_tiff
from repro.errors import DataError

cv2.setNumThreads(0)  # parallelism is over images; OpenCV's thread pool would oversubscribe the cores

Pixels = NDArray[np.uint8]
RETRY = "copy or download it again"
READABLE = "JPEG, PNG, TIFF, WebP, BMP"
# EXIF orientation is always ignored, in data sets and in prediction: labels refer to the stored pixel grid
# and have no EXIF, and a file must give the same input everywhere.
_COLOUR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
WIDE = ("I;16", "I;16B", "I", "F")  # modes with more than 8 bits


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """Size of a checked image; `note` describes something unusual that is not an error."""

    height: int
    width: int
    note: str | None = None


def check_image(data: bytes, where: str) -> ImageInfo:
    """Check that an image file is complete (JPEG at 1/8 size). Raises DataError, which names the file."""
    width, height, gray, orientation = _check_png(data, where) if is_png(data) else _check_other(data, where)
    notes = [f"EXIF orientation {orientation} ignored"] if orientation != 1 else []
    notes += ["gray image, read as RGB"] if gray else []
    return ImageInfo(height=height, width=width, note=f"{where}: {', '.join(notes)}" if notes else None)


def _check_png(data: bytes, where: str) -> tuple[int, int, bool, int]:
    """(width, height, whether it is gray, orientation), without undoing the PNG filters."""
    with png_errors(where):
        found = header(data)
        if found.bits > 8:
            raise too_many_bits(f"{found.bits}-bit {NAMES[found.kind]}", where, "image")
        check(data)
    metadata = b"".join(data[at.start - 4 : at.stop] for kind, at in chunks(data) if kind != b"IDAT")
    orientation = _png_orientation(data) if any(word in metadata for word in _ORIENTED) else 1
    return found.width, found.height, found.kind in (GRAY, GRAY_ALPHA), orientation


_ORIENTED = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")  # PNG metadata with an orientation


def _png_orientation(data: bytes) -> int:
    """The orientation for a note; 1 if it cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return int(image.getexif().get(tiff.ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError, struct.error, Image.DecompressionBombError):
        return 1


def _check_other(data: bytes, where: str) -> tuple[int, int, bool, int]:
    """(width, height, whether it is gray, orientation) of an image other than PNG, after decoding."""
    with open_image(data, where) as image:
        width, height = tiff.stored_size(image) if is_tiff(data) else image.size
        if image.mode in ("CMYK", "YCCK"):
            raise DataError("CMYK image", where=where, allowed="RGB or gray", hint="convert the file to RGB")
        if image.mode in WIDE or (is_tiff(data) and tiff.bits(image) > 8):
            raise too_many_bits(f"{image.mode} {image.format}", where, "image")
        gray = image.mode in ("L", "1", "LA")
        image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
        orientation = tiff.orientation(image) if is_tiff(data) else 0
        load(image, where)
        return width, height, gray, orientation or int(image.getexif().get(tiff.ORIENTATION, 1))


@dataclass(frozen=True)
class LazyImage:
    """An image that is decoded on slicing; a PNG only down to the last requested row."""

    shape: tuple[int, ...]  # H, W
    decode: Callable[[int | None], Pixels]  # number of rows -> image_HWC with at least these rows

    def __getitem__(self, part: tuple[slice, slice]) -> Pixels:
        return self.decode(part[0].stop)[part]


def read_rgb(data: bytes | memoryview, where: str, *, rows: int | None = None) -> Pixels:
    """Decode an image to image_HWC, uint8 RGB.

    Gray becomes three equal channels, alpha is dropped, EXIF orientation is ignored.

    Args:
        data: The file's content.
        where: Name of the file, for errors.
        rows: Decode only the first rows of a PNG; other formats are decoded completely.
    """
    upper = read_rows(data, rows)
    if upper is not None and upper.ndim == 3:
        return upper
    if is_tiff(data):
        with open_image(data, where) as image:
            if tiff.opencv_changes(image):
                return np.asarray(load_tiff(image, where).convert("RGB"), dtype=np.uint8)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), _COLOUR)
    except cv2.error:  # too large for OpenCV
        pixels = None
    if pixels is None:
        raise DataError("not a readable image", where=where, allowed=READABLE, hint=RETRY)
    return np.asarray(pixels, dtype=np.uint8)


def too_many_bits(kind: str, where: str, what: str) -> DataError:
    """Return the error for more than 8 bits per channel, which Pillow and OpenCV truncate or scale."""
    return DataError(
        f"{what} with more than 8 bits ({kind})",
        where=where,
        allowed="8 bits per channel",
        hint="download the file again, or convert all files of the data set to 8 bits",
    )


def read_prepared_label(data: bytes | memoryview, where: str) -> Pixels:
    """Decode label_HW of a prepared split, a gray PNG; four times as fast as a general reader."""
    label = read_rows(data)
    if label is not None and label.ndim == 2:
        return label
    label = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if label is None or label.ndim != 2 or label.dtype != np.uint8:
        raise DataError("not a label of a prepared split", where=where, hint="prepare the data set again")
    return np.asarray(label)


def count_values(label_HW: Pixels) -> NDArray[np.int64]:
    """Count each value (256 numbers); np.bincount is 20 times slower and needs 8 bytes per pixel."""
    counts = np.zeros(256, dtype=np.int64)
    flat = np.ascontiguousarray(label_HW).reshape(-1)
    for start in range(0, flat.size, _EXACT):
        part = flat[start : start + _EXACT]
        counts += cv2.calcHist([part], [0], None, [256], [0, 256]).reshape(-1).astype(np.int64)
    return counts


_EXACT = 1 << 24  # OpenCV counts in float32, which is exact up to this number


def present_values(label_HW: Pixels) -> NDArray[np.intp]:
    """Return the values that occur, sorted. Groups of eight pixels equal to the group before are skipped."""
    flat = np.ascontiguousarray(label_HW).reshape(-1)
    whole = flat.size // 8 * 8
    eights = flat[:whole].view(np.uint64)
    changed = eights[1:][eights[1:] != eights[:-1]].view(np.uint8)
    return np.flatnonzero(count_values(np.concatenate([flat[:8], changed, flat[whole:]])))


def open_image(data: bytes | memoryview, where: str) -> Image.Image:
    """Open an image without reading its pixels. Raises DataError, which names the file."""
    try:
        image = Image.open(io.BytesIO(data))
    except _UNREADABLE as error:
        raise DataError("not a readable image", where=where, allowed=READABLE, hint=RETRY) from error
    if image.width * image.height > MAX_PIXELS:
        size = f"the image declares {image.width}x{image.height} pixels"
        raise DataError(size, where=where, allowed=f"at most {MAX_PIXELS:,} pixels", hint=RETRY)
    return image


# Raised by Pillow for damaged files, including its size warning if warnings are errors.
_UNREADABLE = (
    *(UnidentifiedImageError, OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


def load(image: Image.Image, where: str) -> None:
    """Read the pixels of an open image. Raises DataError, which names the file."""
    with _damage(where):
        image.load()


def load_tiff(image: Image.Image, where: str) -> Image.Image:
    """Read the pixels of an open TIFF as stored. Raises DataError, which names the file."""
    with _damage(where):
        return tiff.load_stored(image)


@contextmanager
def _damage(where: str) -> Iterator[None]:
    try:
        yield
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise DataError(f"damaged image: {error}", where=where, hint=RETRY) from error


@contextmanager
def png_errors(where: str) -> Iterator[None]:
    """Convert InvalidPng to a DataError that names the file."""
    try:
        yield
    except InvalidPng as error:
        raise DataError(f"damaged image: {error}", where=where, hint=RETRY) from error
