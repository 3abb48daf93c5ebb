"""A PNG file before its filters are undone: header, palette, filtered rows, and what is wrong with it.

Every kind of the format (W3C, "Portable Network Graphics (PNG) Specification", third edition): gray, palette
and colours, 1 to 16 bits, interlaced or not. Only what pixels are made of is looked into; text, profiles and
the like are neither expanded nor kept, however large they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from isal import isal_zlib

from repro.datasets.png import SIGNATURE, Bytes

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
