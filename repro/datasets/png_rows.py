"""The upper rows of a PNG file, without decoding the rest.

A PNG is one deflate stream of rows, so decoding can end after any row; the image libraries go to the end.
Here ISA-L inflates as far as is asked. Rows that are stored plainly or as differences from the row above
(all that this project writes) are finished in numpy; other filters are left to OpenCV, which gets the rows
wrapped again as a PNG of that height without compression. Pixels are those of any other reader.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import cv2
import numpy as np
from isal import isal_zlib

from repro.datasets.png import SIGNATURE, Bytes, stored_png

_CHUNK = struct.Struct(">I4s")
_Damaged: type[Exception] = isal_zlib.error  # type: ignore[assignment] # its stub: an instance
_PLAIN, _UP, _LAST_FILTER = 0, 2, 4


class Layout(NamedTuple):
    """8-bit gray or RGB without interlacing: H, W and C of the pixels."""

    height: int
    width: int
    channels: int


def layout(data: bytes | memoryview) -> Layout | None:
    """The layout of a PNG file; None where it is another kind of PNG, or none at all."""
    if len(data) < 33 or data[:8] != SIGNATURE or data[12:16] != b"IHDR":
        return None
    width, height, *kind = struct.unpack_from(">IIBBBBB", data, 16)
    channels = {(8, 0, 0, 0, 0): 1, (8, 2, 0, 0, 0): 3}.get(tuple(kind))
    return None if channels is None else Layout(height, width, channels)


def read_rows(data: bytes | memoryview, rows: int | None = None) -> Bytes | None:
    """pixels_HW or pixels_HWC (RGB) of the first `rows` rows, or all; None: decode it in another way."""
    found = layout(data)
    if found is None:
        return None
    shape = found._replace(height=min(found.height, rows or found.height))
    filtered_HB = _inflated(data, shape)
    if filtered_HB is None:
        return None
    kinds = set(np.unique(filtered_HB[:, 0]).tolist())
    if kinds <= {_PLAIN, _UP}:
        pixels_HB = _summed(filtered_HB) if _UP in kinds else filtered_HB[:, 1:].copy()
        return pixels_HB.reshape(shape if shape.channels > 1 else shape[:2])
    again = np.frombuffer(stored_png(filtered_HB, channels=shape.channels), dtype=np.uint8)
    pixels = cv2.imdecode(again, cv2.IMREAD_COLOR_RGB if shape.channels > 1 else cv2.IMREAD_GRAYSCALE)
    return None if pixels is None else np.asarray(pixels, dtype=np.uint8)


def is_whole(data: bytes) -> bool:
    """Whether all checksums hold and all pixels are there; False may also mean: another kind of PNG."""
    found = layout(data)
    if found is None or not _checksums_hold(data):
        return False
    filtered_HB = _inflated(data, found, to_the_end=True)
    return filtered_HB is not None and int(filtered_HB[:, 0].max()) <= _LAST_FILTER


def _chunks(data: bytes | memoryview) -> list[tuple[bytes, slice]]:
    """Kind and place of the contents of every chunk that is complete."""
    found, at = [], len(SIGNATURE)
    while at + 12 <= len(data):
        size, kind = _CHUNK.unpack_from(data, at)
        if at + 12 + size <= len(data):
            found.append((kind, slice(at + 8, at + 8 + size)))
        at += 12 + size
    return found


def _checksums_hold(data: bytes) -> bool:
    """CRC-32 of kind and contents of every chunk, up to IEND."""
    view = memoryview(data)
    chunks = _chunks(data)
    return (
        bool(chunks)
        and chunks[-1][0] == b"IEND"
        and all(
            isal_zlib.crc32(view[at.start - 4 : at.stop]) == int.from_bytes(view[at.stop : at.stop + 4])
            for _, at in chunks
        )
    )


def _inflated(data: bytes | memoryview, shape: Layout, *, to_the_end: bool = False) -> Bytes | None:
    """Filtered rows, each behind the number of its filter; None where the stream is damaged or too short.

    With `to_the_end` it must also end there, with the right Adler-32.
    """
    view = memoryview(data)
    packed = b"".join(view[at] for kind, at in _chunks(data) if kind == b"IDAT")
    stride = 1 + shape.width * shape.channels
    stream = isal_zlib.decompressobj()
    try:
        plain = stream.decompress(packed, shape.height * stride)
        rest = stream.decompress(stream.unconsumed_tail, 1) if to_the_end else b""
    except (_Damaged, ValueError):
        return None
    if len(plain) != shape.height * stride or rest or (to_the_end and not stream.eof):
        return None
    return np.frombuffer(plain, dtype=np.uint8).reshape(shape.height, stride)


def _summed(filtered_HB: Bytes) -> Bytes:
    """Undo the filters "Up" and "None", row by row (numpy's accumulate down columns is 20 times slower)."""
    pixels_HB = np.empty((filtered_HB.shape[0], filtered_HB.shape[1] - 1), dtype=np.uint8)
    above_B = np.zeros(pixels_HB.shape[1], dtype=np.uint8)
    for row_B, out_B in zip(filtered_HB, pixels_HB, strict=True):
        np.add(row_B[1:], above_B if row_B[0] == _UP else 0, out=out_B)
        above_B = out_B
    return pixels_HB
