"""TIFF pixels as stored.

Pillow rotates pixels by their orientation tag, divides colours by associated alpha, scales samples of fewer
than 8 bits and inverts WhiteIsZero; OpenCV rotates, and multiplies colours by unassociated alpha.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION = 0x0112  # of TIFF and EXIF; 1 is upright
_BITS, _COMPRESSION, _PHOTOMETRIC, _EXTRA = 258, 259, 262, 338
_WHITE_IS_ZERO, _ASSOCIATED, _UNASSOCIATED = 0, (1,), (2,)
# TIFF 6.0 and libtiff's numbers: JPEG (old and new), JPEG 2000, lossy DNG, WebP, JPEG XL.
_LOSSY = {6, 7, 33003, 33005, 34712, 34892, 34934, 50001, 50002, 52546}
_TURN = Image.Transpose
_BACK = {  # orientation -> inverse of Pillow's rotation
    2: _TURN.FLIP_LEFT_RIGHT,
    3: _TURN.ROTATE_180,
    4: _TURN.FLIP_TOP_BOTTOM,
    5: _TURN.TRANSPOSE,
    6: _TURN.ROTATE_90,
    7: _TURN.TRANSVERSE,
    8: _TURN.ROTATE_270,
}


def is_tiff(data: bytes | memoryview) -> bool:
    """Return whether the content is a TIFF."""
    return bytes(data[:4]) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def tag(image: Image.Image, number: int, default: Any) -> Any:
    """Return a tag of an open TIFF."""
    return image.tag_v2.get(number, default)  # type: ignore[attr-defined]


def orientation(image: Image.Image) -> int:
    """Return the orientation tag, 1 to 8."""
    return int(tag(image, ORIENTATION, 1))


def bits(image: Image.Image) -> int:
    """Return the bits per sample."""
    return int(max(tag(image, _BITS, (1,))))


def is_lossy(image: Image.Image) -> bool:
    """Return whether the compression is lossy."""
    return tag(image, _COMPRESSION, 1) in _LOSSY


def opencv_changes(image: Image.Image) -> bool:
    """Return whether OpenCV would rotate the pixels or multiply them by alpha."""
    return orientation(image) != 1 or tag(image, _EXTRA, ()) == _UNASSOCIATED


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Return the stored (width, height) of an open TIFF; Pillow has those of the rotated image."""
    width, height = image.size
    return (height, width) if orientation(image) >= 5 else (width, height)


def load_stored(image: Image.Image) -> Image.Image:
    """Load the pixels without rotation and without dividing by alpha. Raises Pillow's exceptions."""
    if tag(image, _EXTRA, ()) == _ASSOCIATED and image.mode == "RGBA":
        image.tile = [part._replace(args=_raw(part.args)) for part in image.tile]  # type: ignore[attr-defined]
    rotation = orientation(image)
    image.load()
    return image.transpose(_BACK[rotation]) if rotation in _BACK else image


def _raw(args: Any) -> Any:
    """Decoder arguments with RGBa, which Pillow divides by alpha, replaced by RGBA."""
    return ("RGBA", *args[1:]) if args[0] == "RGBa" else args


def stored_values(image: Image.Image, loaded: Image.Image) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Return values_HW of a one-channel TIFF as stored; `image` has the tags, `loaded` the pixels."""
    if loaded.mode.startswith("I;16"):
        return np.asarray(loaded, dtype=np.uint16)
    values_HW = np.asarray(loaded, dtype=np.uint8)
    if loaded.mode == "P":
        return values_HW
    largest = 1 if loaded.mode == "1" else 255
    if tag(image, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO:
        values_HW = largest - values_HW
    return values_HW // (largest // ((1 << bits(image)) - 1)) if bits(image) < 8 else values_HW
