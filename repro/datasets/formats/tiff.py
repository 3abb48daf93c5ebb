"""TIFF files as they are stored.

Pillow turns pixels by their orientation tag, divides colours by associated alpha, scales samples of fewer
than 8 bits and inverts where zero means white; OpenCV turns, and multiplies colours by unassociated alpha.
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
_BACK = {  # orientation -> what undoes Pillow's turn
    2: _TURN.FLIP_LEFT_RIGHT,
    3: _TURN.ROTATE_180,
    4: _TURN.FLIP_TOP_BOTTOM,
    5: _TURN.TRANSPOSE,
    6: _TURN.ROTATE_90,
    7: _TURN.TRANSVERSE,
    8: _TURN.ROTATE_270,
}


def is_tiff(data: bytes | memoryview) -> bool:
    """Whether the content, not the name, says so."""
    return bytes(data[:4]) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def tag(image: Image.Image, number: int, default: Any) -> Any:
    """A tag of an open TIFF."""
    return image.tag_v2.get(number, default)  # type: ignore[attr-defined]


def orientation(image: Image.Image) -> int:
    """The orientation tag, 1 to 8."""
    return int(tag(image, ORIENTATION, 1))


def bits(image: Image.Image) -> int:
    """Bits of a sample."""
    return int(max(tag(image, _BITS, (1,))))


def is_lossy(image: Image.Image) -> bool:
    """Whether the pixels are compressed so that values change."""
    return tag(image, _COMPRESSION, 1) in _LOSSY


def opencv_changes(image: Image.Image) -> bool:
    """Whether OpenCV would turn the pixels or multiply them by alpha."""
    return orientation(image) != 1 or tag(image, _EXTRA, ()) == _UNASSOCIATED


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of the stored grid of an open TIFF; Pillow gives those of the turned one."""
    width, height = image.size
    return (height, width) if orientation(image) >= 5 else (width, height)


def load_stored(image: Image.Image) -> Image.Image:
    """The pixels on the stored grid, colours as they are whatever alpha says; raises what Pillow raises."""
    if tag(image, _EXTRA, ()) == _ASSOCIATED and image.mode == "RGBA":
        image.tile = [part._replace(args=_raw(part.args)) for part in image.tile]  # type: ignore[attr-defined]
    turned = orientation(image)
    image.load()
    return image.transpose(_BACK[turned]) if turned in _BACK else image


def _raw(args: Any) -> Any:
    """Arguments of Pillow's decoder: RGBa, which is divided by alpha, becomes RGBA, which is not."""
    return ("RGBA", *args[1:]) if args[0] == "RGBa" else args


def stored_values(image: Image.Image, loaded: Image.Image) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """values_HW of a one-channel TIFF as stored; `image` has the tags, `loaded` the pixels."""
    if loaded.mode.startswith("I;16"):
        return np.asarray(loaded, dtype=np.uint16)
    values_HW = np.asarray(loaded, dtype=np.uint8)
    if loaded.mode == "P":
        return values_HW
    largest = 1 if loaded.mode == "1" else 255
    if tag(image, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO:
        values_HW = largest - values_HW
    return values_HW // (largest // ((1 << bits(image)) - 1)) if bits(image) < 8 else values_HW
