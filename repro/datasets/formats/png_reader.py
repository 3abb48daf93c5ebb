"""PNG files as stored: any bit depth and interlacing, and the first rows without decoding the rest.

Every kind of the format (W3C, "Portable Network Graphics (PNG) Specification", third edition): gray, palette
and colours, 1 to 16 bits, interlaced or not. Only what pixels are made of is looked into; text, profiles and
the like are neither expanded nor kept, however large they are.

A PNG is one deflate stream of rows, so decoding can end after any row; the image libraries go to the end.
Here ISA-L inflates as far as is asked. Rows that are stored plainly or as differences from the row above
(all that this project writes) are finished in numpy; other filters are left to OpenCV, which gets the rows
wrapped again as a PNG without compression. Pixels are those of any other reader, except that samples of fewer
than 8 bits are not scaled: a class number stays what it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from repro.datasets.formats.png_writer import SIGNATURE, Bytes, stored_png

Data = bytes | memoryview
MOST_PIXELS = 1 << 28  # aerial images of 13,000 px a side are real; beyond this it is an attack
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6  # colour types
NAMES = {GRAY: "gray", RGB: "RGB", PALETTE: "palette", GRAY_ALPHA: "gray with alpha", RGBA: "RGBA"}
_SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
_BITS = {GRAY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GRAY_ALPHA: (8, 16), RGBA: (8, 16)}
_LAST_FILTER = 4
_CHUNK = struct.Struct(">I4s")
_INFLATE: type[Exception] = isal_zlib.error  # type: ignore[assignment] # its stub: an instance
# First row, first column, step of rows, step of columns.
_PLAIN = ((0, 0, 1, 1),)
_ADAM7 = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)


class Damaged(ValueError):
    """What is wrong with a PNG file, in a few words."""


class Pass(NamedTuple):
    """A part of the image that is stored as one: all of it, or one of the seven of an interlaced file."""

    height: int
    width: int
    rows: slice  # where its pixels belong
    columns: slice


class Header(NamedTuple):
    """IHDR: size, bits a sample, colour type, and whether the rows are interlaced."""

    width: int
    height: int
    bits: int
    kind: int
    interlaced: bool

    @property
    def samples(self) -> int:
        """Samples of one pixel."""
        return _SAMPLES[self.kind]

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of `width` pixels, without the number of its filter."""
        return (width * self.samples * self.bits + 7) // 8

    def passes(self) -> Iterator[Pass]:
        """The parts that hold at least one pixel, in the order of the file."""
        for top, left, down, right in _ADAM7 if self.interlaced else _PLAIN:
            height, width = -(-(self.height - top) // down), -(-(self.width - left) // right)
            if height > 0 and width > 0:
                yield Pass(height, width, slice(top, None, down), slice(left, None, right))

    @property
    def size(self) -> int:
        """Bytes of all filtered rows, each behind the number of its filter."""
        return sum(part.height * (1 + self.row_bytes(part.width)) for part in self.passes())


def is_png(data: Data) -> bool:
    """Whether the content, not the name, says so."""
    return bytes(data[:8]) == SIGNATURE


def header(data: Data) -> Header:
    """The header of a PNG file; Damaged where there is none, or one that cannot be."""
    if len(data) < 33 or not is_png(data) or data[12:16] != b"IHDR":
        raise Damaged("the header of the PNG is missing")
    width, height, bits, kind, deflate, filters, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if bits not in _BITS.get(kind, ()) or deflate or filters or interlace > 1:
        raise Damaged(f"no such kind of PNG: {bits} bits, colour type {kind}, interlace {interlace}")
    if not 0 < width * height <= MOST_PIXELS:
        raise Damaged(f"the PNG declares {width}x{height} pixels, allowed are 1 to {MOST_PIXELS:,} in all")
    return Header(width, height, bits, kind, bool(interlace))


def chunks(data: Data) -> Iterator[tuple[bytes, slice]]:
    """Kind and place of the contents of every chunk that is complete, up to IEND."""
    at, kind = len(SIGNATURE), b""
    while at + 12 <= len(data) and kind != b"IEND":
        size, kind = _CHUNK.unpack_from(data, at)
        if at + 12 + size <= len(data):
            yield kind, slice(at + 8, at + 8 + size)
        at += 12 + size


def palette(data: Data) -> Bytes:
    """palette_N3, RGB; Damaged where it is missing or cannot be."""
    contents = [bytes(data[at]) for kind, at in chunks(data) if kind == b"PLTE"]
    if len(contents) != 1:
        raise Damaged(f"{len(contents)} palettes in place of one")
    entries, rest = divmod(len(contents[0]), 3)
    if rest or not 0 < entries <= 256:
        raise Damaged(f"a palette of {len(contents[0]) / 3:g} colours, allowed are 1 to 256")
    return np.frombuffer(contents[0], dtype=np.uint8).reshape(-1, 3)


def inflated(data: Data, count: int, *, to_the_end: bool = False) -> memoryview:
    """The first `count` bytes of the filtered rows; never more is expanded than that.

    Damaged where the stream is, or ends early; with `to_the_end` also where it does not end well.
    """
    view = memoryview(data)
    packed = b"".join(view[at] for kind, at in chunks(data) if kind == b"IDAT")
    stream = isal_zlib.decompressobj()
    try:
        plain = stream.decompress(packed, count)
        rest = stream.decompress(stream.unconsumed_tail, 1) if to_the_end else b""
    except (_INFLATE, ValueError) as error:
        raise Damaged(f"the pixels cannot be decompressed ({error})") from error
    if len(plain) < count:
        raise Damaged(f"the pixels end early: {len(plain):,} of {count:,} bytes")
    if to_the_end and not rest and not stream.eof:
        raise Damaged("the compressed pixels have no end")
    return memoryview(plain)


def filtered(data: Data, found: Header, *, to_the_end: bool = False) -> Iterator[tuple[Pass, Bytes]]:
    """Every part with its rows, each behind the number of its filter."""
    plain, at = np.frombuffer(inflated(data, found.size, to_the_end=to_the_end), dtype=np.uint8), 0
    for part in found.passes():
        stride = 1 + found.row_bytes(part.width)
        rows_HB = plain[at : at + part.height * stride].reshape(part.height, stride)
        at += rows_HB.size
        if rows_HB[:, 0].max() > _LAST_FILTER:
            raise Damaged(f"there is no filter {int(rows_HB[:, 0].max())}")
        yield part, rows_HB


def framed(data: Data) -> Header:
    """The header of a file whose checksums hold, up to its last chunk. Damaged says what is wrong."""
    found, view, last = header(data), memoryview(data), b""
    for last, at in chunks(data):
        if isal_zlib.crc32(view[at.start - 4 : at.stop]) != int.from_bytes(view[at.stop : at.stop + 4]):
            raise Damaged(f"wrong checksum in the chunk {last.decode('latin-1')!r}")
    if last != b"IEND":
        raise Damaged("the file ends early")
    if found.kind == PALETTE:
        palette(data)
    return found


def check(data: Data) -> Header:
    """The header of a file of which all checksums hold and all pixels are there; else Damaged."""
    found = framed(data)
    for _ in filtered(data, found, to_the_end=True):
        pass
    return found


_NONE, _UP = 0, 2


class Stored(NamedTuple):
    """samples_HW or samples_HWC as they are in the file, uint8 or uint16; a palette_N3 of indices."""

    found: Header
    samples: NDArray[np.uint8] | NDArray[np.uint16]
    palette_N3: Bytes | None


def read_png(data: Data) -> Stored:
    """Every sample of a PNG of any kind, as stored. Damaged where the file is not whole."""
    found = framed(data)
    parts = list(filtered(data, found, to_the_end=True))  # before memory of the declared size is taken
    channels = (found.samples,) if found.samples > 1 else ()
    samples = np.empty((found.height, found.width, *channels), np.uint16 if found.bits > 8 else np.uint8)
    for part, filtered_HB in parts:
        rows_HB = _unfiltered(filtered_HB, found.samples * found.bits // 8)
        samples[part.rows, part.columns] = _unpacked(rows_HB, found, part.width)
    return Stored(found, samples, palette(data) if found.kind == PALETTE else None)


def read_rows(data: Data, rows: int | None = None) -> Bytes | None:
    """pixels_HW or pixels_HWC (RGB) of the first `rows` rows, or all.

    None: decode it in another way; only gray and RGB with 8 bits that are not interlaced are read.
    """
    try:
        found = header(data)
        if found.bits != 8 or found.kind not in (GRAY, RGB) or found.interlaced:
            return None
        upper = found._replace(height=min(found.height, rows or found.height))
        plain = np.frombuffer(inflated(data, upper.size), dtype=np.uint8)
        pixels_HB = _unfiltered(plain.reshape(upper.height, -1), found.samples)
    except Damaged:
        return None
    return pixels_HB.reshape(upper.height, found.width, -1) if found.kind == RGB else pixels_HB


def is_whole(data: bytes) -> bool:
    """Whether all checksums of a PNG hold and all pixels are there."""
    try:
        check(data)
    except Damaged:
        return False
    return True


def _unfiltered(filtered_HB: Bytes, pixel: int) -> Bytes:
    """Rows without their filters, which look back by `pixel` bytes (0, less than one, counts as one)."""
    kinds = set(np.unique(filtered_HB[:, 0]).tolist())
    if kinds <= {_NONE, _UP}:
        return _summed(filtered_HB) if _UP in kinds else filtered_HB[:, 1:].copy()
    channels, bits = _LIKE[pixel]
    again = np.frombuffer(stored_png(filtered_HB, channels=channels, bits=bits), dtype=np.uint8)
    photograph = (channels, bits) == (3, 8)
    pixels = cv2.imdecode(again, cv2.IMREAD_COLOR_RGB if photograph else cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise Damaged("the filters of the rows cannot be undone")
    if channels > 1 and not photograph:
        pixels = pixels[..., [2, 1, 0, 3][:channels]]
    wide = pixels.astype(">u2") if bits == 16 else pixels
    return np.ascontiguousarray(wide).reshape(filtered_HB.shape[0], -1).view(np.uint8)


# Bytes a pixel -> channels and bits of a PNG that OpenCV gives back as it is, whatever its bytes mean here.
_LIKE = {0: (1, 8), 1: (1, 8), 2: (1, 16), 3: (3, 8), 4: (4, 8), 6: (3, 16), 8: (4, 16)}


def _summed(filtered_HB: Bytes) -> Bytes:
    """Undo the filters "Up" and "None", row by row (numpy's accumulate down columns is 20 times slower)."""
    pixels_HB = np.empty((filtered_HB.shape[0], filtered_HB.shape[1] - 1), dtype=np.uint8)
    above_B = np.zeros(pixels_HB.shape[1], dtype=np.uint8)
    for row_B, out_B in zip(filtered_HB, pixels_HB, strict=True):
        np.add(row_B[1:], above_B if row_B[0] == _UP else 0, out=out_B)
        above_B = out_B
    return pixels_HB


def _unpacked(rows_HB: Bytes, found: Header, width: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Samples of a part: several in a byte, the first in its highest bits, or the high byte first."""
    if found.bits == 16:
        wide = rows_HB.view(">u2").astype(np.uint16)
        return wide.reshape(len(rows_HB), width, -1) if found.samples > 1 else wide
    if found.bits < 8:
        shifts = np.arange(8 - found.bits, -1, -found.bits, dtype=np.uint8)
        spread = rows_HB[:, :, None] >> shifts & np.uint8((1 << found.bits) - 1)
        return spread.reshape(len(rows_HB), -1)[:, :width]
    return rows_HB.reshape(len(rows_HB), width, -1) if found.samples > 1 else rows_HB
