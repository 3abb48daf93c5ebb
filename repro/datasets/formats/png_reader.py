"""PNG reader for unscaled samples, and for the first rows without decoding the rest.

Supports all formats of the specification (W3C, "Portable Network Graphics (PNG) Specification", third
edition): gray, palette and colours, 1 to 16 bits, interlaced or not. Text, profiles and other metadata are
not decompressed, so their size does not matter.

A PNG is a deflate stream of rows, so decoding can stop after any row; the image libraries always decode
everything. ISA-L decompresses the requested rows. The filters None and Up (the only ones that this project
writes) are undone in numpy; for other filters the rows are wrapped as an uncompressed PNG and decoded by
OpenCV. Samples with fewer than 8 bits are not scaled, so class ids are preserved.
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
MAX_PIXELS = 1 << 28  # aerial images can have 13,000 x 13,000 pixels; larger files are likely attacks
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6  # colour types
NAMES = {GRAY: "gray", RGB: "RGB", PALETTE: "palette", GRAY_ALPHA: "gray with alpha", RGBA: "RGBA"}
_SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
_BITS = {GRAY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GRAY_ALPHA: (8, 16), RGBA: (8, 16)}
_LAST_FILTER = 4
_CHUNK = struct.Struct(">I4s")
_INFLATE: type[Exception] = isal_zlib.error  # type: ignore[assignment] # the stub declares an instance
# First row, first column, row step, column step.
_PLAIN = ((0, 0, 1, 1),)
_ADAM7 = (
    *((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)),
    *((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)),
)


class InvalidPng(ValueError):
    """A PNG file is damaged."""


class Pass(NamedTuple):
    """An interlacing pass: the whole image, or one of the seven passes of an interlaced file."""

    height: int
    width: int
    rows: slice  # position of its pixels
    columns: slice


class Header(NamedTuple):
    """IHDR: size, bits per sample, colour type, and whether the rows are interlaced."""

    width: int
    height: int
    bits: int
    kind: int
    interlaced: bool

    @property
    def samples(self) -> int:
        """Samples per pixel."""
        return _SAMPLES[self.kind]

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of `width` pixels, without its filter type."""
        return (width * self.samples * self.bits + 7) // 8

    def passes(self) -> Iterator[Pass]:
        """Yield the non-empty passes in the order of the file."""
        for top, left, down, right in _ADAM7 if self.interlaced else _PLAIN:
            height, width = -(-(self.height - top) // down), -(-(self.width - left) // right)
            if height > 0 and width > 0:
                yield Pass(height, width, slice(top, None, down), slice(left, None, right))

    @property
    def size(self) -> int:
        """Bytes of all filtered rows, including their filter types."""
        return sum(part.height * (1 + self.row_bytes(part.width)) for part in self.passes())


def is_png(data: Data) -> bool:
    """Return whether the content is a PNG."""
    return bytes(data[:8]) == SIGNATURE


def header(data: Data) -> Header:
    """Return the header of a PNG file. Raises InvalidPng if it is missing or invalid."""
    if len(data) < 33 or not is_png(data) or data[12:16] != b"IHDR":
        raise InvalidPng("the header of the PNG is missing")
    width, height, bits, kind, deflate, filters, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    if bits not in _BITS.get(kind, ()) or deflate or filters or interlace > 1:
        raise InvalidPng(f"invalid PNG format: {bits} bits, colour type {kind}, interlace {interlace}")
    if not 0 < width * height <= MAX_PIXELS:
        raise InvalidPng(f"the PNG declares {width}x{height} pixels, allowed are 1 to {MAX_PIXELS:,}")
    return Header(width, height, bits, kind, bool(interlace))


def chunks(data: Data) -> Iterator[tuple[bytes, slice]]:
    """Yield type and position of the content of every complete chunk, up to IEND."""
    at, kind = len(SIGNATURE), b""
    while at + 12 <= len(data) and kind != b"IEND":
        size, kind = _CHUNK.unpack_from(data, at)
        if at + 12 + size <= len(data):
            yield kind, slice(at + 8, at + 8 + size)
        at += 12 + size


def palette(data: Data) -> Bytes:
    """Return palette_N3, RGB. Raises InvalidPng if it is missing or invalid."""
    contents = [bytes(data[at]) for kind, at in chunks(data) if kind == b"PLTE"]
    if len(contents) != 1:
        raise InvalidPng(f"{len(contents)} palettes instead of one")
    entries, rest = divmod(len(contents[0]), 3)
    if rest or not 0 < entries <= 256:
        raise InvalidPng(f"a palette of {len(contents[0]) / 3:g} colours, allowed are 1 to 256")
    return np.frombuffer(contents[0], dtype=np.uint8).reshape(-1, 3)


def decompress(data: Data, count: int, *, to_the_end: bool = False) -> memoryview:
    """Decompress the first `count` bytes of the filtered rows, never more.

    Raises InvalidPng if the stream is damaged or too short; with `to_the_end` also if its end is missing.
    """
    view = memoryview(data)
    compressed = b"".join(view[at] for kind, at in chunks(data) if kind == b"IDAT")
    stream = isal_zlib.decompressobj()
    try:
        plain = stream.decompress(compressed, count)
        rest = stream.decompress(stream.unconsumed_tail, 1) if to_the_end else b""
    except (_INFLATE, ValueError) as error:
        raise InvalidPng(f"the pixels cannot be decompressed ({error})") from error
    if len(plain) < count:
        raise InvalidPng(f"the pixels end early: {len(plain):,} of {count:,} bytes")
    if to_the_end and not rest and not stream.eof:
        raise InvalidPng("the end of the compressed pixels is missing")
    return memoryview(plain)


def filtered_rows(data: Data, found: Header, *, to_the_end: bool = False) -> Iterator[tuple[Pass, Bytes]]:
    """Yield every pass with its filtered rows, which begin with their filter type."""
    plain, at = np.frombuffer(decompress(data, found.size, to_the_end=to_the_end), dtype=np.uint8), 0
    for part in found.passes():
        stride = 1 + found.row_bytes(part.width)
        rows_HB = plain[at : at + part.height * stride].reshape(part.height, stride)
        at += rows_HB.size
        if rows_HB[:, 0].max() > _LAST_FILTER:
            raise InvalidPng(f"unknown filter {int(rows_HB[:, 0].max())}")
        yield part, rows_HB


def check_chunks(data: Data) -> Header:
    """Check the checksums of all chunks and return the header. Raises InvalidPng."""
    found, view, last = header(data), memoryview(data), b""
    for last, at in chunks(data):
        if isal_zlib.crc32(view[at.start - 4 : at.stop]) != int.from_bytes(view[at.stop : at.stop + 4]):
            raise InvalidPng(f"wrong checksum in the chunk {last.decode('latin-1')!r}")
    if last != b"IEND":
        raise InvalidPng("the file ends early")
    if found.kind == PALETTE:
        palette(data)
    return found


def check(data: Data) -> Header:
    """Check checksums and pixels and return the header. Raises InvalidPng."""
    found = check_chunks(data)
    for _ in filtered_rows(data, found, to_the_end=True):
        pass
    return found


_NONE, _UP = 0, 2


class Stored(NamedTuple):
    """samples_HW or samples_HWC as stored, uint8 or uint16, and palette_N3 for palette files."""

    found: Header
    samples: NDArray[np.uint8] | NDArray[np.uint16]
    palette_N3: Bytes | None


def read_png(data: Data) -> Stored:
    """Read all samples of a PNG as stored. Raises InvalidPng if the file is damaged."""
    found = check_chunks(data)
    parts = list(filtered_rows(data, found, to_the_end=True))  # before allocating the declared size
    channels = (found.samples,) if found.samples > 1 else ()
    samples = np.empty((found.height, found.width, *channels), np.uint16 if found.bits > 8 else np.uint8)
    for part, filtered_HB in parts:
        rows_HB = _unfiltered(filtered_HB, found.samples * found.bits // 8)
        samples[part.rows, part.columns] = _unpacked(rows_HB, found, part.width)
    return Stored(found, samples, palette(data) if found.kind == PALETTE else None)


def read_rows(data: Data, rows: int | None = None) -> Bytes | None:
    """Read pixels_HW or pixels_HWC (RGB) of the first `rows` rows (default: all).

    Returns None for files other than 8-bit gray and RGB without interlacing, and for damaged ones.
    """
    try:
        found = header(data)
        if found.bits != 8 or found.kind not in (GRAY, RGB) or found.interlaced:
            return None
        upper = found._replace(height=min(found.height, rows or found.height))
        plain = np.frombuffer(decompress(data, upper.size), dtype=np.uint8)
        pixels_HB = _unfiltered(plain.reshape(upper.height, -1), found.samples)
    except InvalidPng:
        return None
    return pixels_HB.reshape(upper.height, found.width, -1) if found.kind == RGB else pixels_HB


def _unfiltered(filtered_HB: Bytes, pixel: int) -> Bytes:
    """Undo the filters of rows; `pixel`: bytes per pixel, 0 for less than one."""
    kinds = set(np.unique(filtered_HB[:, 0]).tolist())
    if kinds <= {_NONE, _UP}:
        return _undo_up(filtered_HB) if _UP in kinds else filtered_HB[:, 1:].copy()
    channels, bits = _FORMATS[pixel]
    wrapped = np.frombuffer(stored_png(filtered_HB, channels=channels, bits=bits), dtype=np.uint8)
    is_rgb8 = (channels, bits) == (3, 8)
    pixels = cv2.imdecode(wrapped, cv2.IMREAD_COLOR_RGB if is_rgb8 else cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise InvalidPng("the filters of the rows cannot be undone")
    if channels > 1 and not is_rgb8:
        pixels = pixels[..., [2, 1, 0, 3][:channels]]
    wide = pixels.astype(">u2") if bits == 16 else pixels
    return np.ascontiguousarray(wide).reshape(filtered_HB.shape[0], -1).view(np.uint8)


# Bytes per pixel -> channels and bits of a PNG whose bytes OpenCV returns unchanged.
_FORMATS = {0: (1, 8), 1: (1, 8), 2: (1, 16), 3: (3, 8), 4: (4, 8), 6: (3, 16), 8: (4, 16)}


def _undo_up(filtered_HB: Bytes) -> Bytes:
    """Undo the filters Up and None row by row (numpy's accumulate along columns is 20 times slower)."""
    pixels_HB = np.empty((filtered_HB.shape[0], filtered_HB.shape[1] - 1), dtype=np.uint8)
    above_B = np.zeros(pixels_HB.shape[1], dtype=np.uint8)
    for row_B, out_B in zip(filtered_HB, pixels_HB, strict=True):
        np.add(row_B[1:], above_B if row_B[0] == _UP else 0, out=out_B)
        above_B = out_B
    return pixels_HB


def _unpacked(rows_HB: Bytes, found: Header, width: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Samples of a pass: several per byte, the first in the highest bits, or big-endian 16-bit values."""
    if found.bits == 16:
        wide = rows_HB.view(">u2").astype(np.uint16)
        return wide.reshape(len(rows_HB), width, -1) if found.samples > 1 else wide
    if found.bits < 8:
        shifts = np.arange(8 - found.bits, -1, -found.bits, dtype=np.uint8)
        spread = rows_HB[:, :, None] >> shifts & np.uint8((1 << found.bits) - 1)
        return spread.reshape(len(rows_HB), -1)[:, :width]
    return rows_HB.reshape(len(rows_HB), width, -1) if found.samples > 1 else rows_HB
