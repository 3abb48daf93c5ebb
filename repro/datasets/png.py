"""PNG files with the same bytes on every machine.

zlib, zlib-ng and the copies inside imaging libraries compress the same pixels to different bytes, so a file
written by any of them cannot be pinned by its hash across platforms. This encoder contains its own
compressor: the PNG "Up" filter, then runs of equal bytes as deflate matches in the fixed Huffman code.
Label maps shrink about 20-fold; whatever would grow (photographs) is stored uncompressed instead.
Every PNG reader reads the result.
"""

from __future__ import annotations

import struct

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Part = bytes | memoryview
SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LONGEST = 258  # the longest match of deflate
_BLOCK = 65535  # the longest block of deflate without compression


def encode_png(pixels: Bytes) -> bytes:
    """uint8 pixels_HW (gray) or pixels_HWC with C = 3 (RGB) as a PNG file."""
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(f"expected uint8 HW or HW3, got {pixels.dtype} {pixels.shape}")
    channels = 1 if pixels.ndim == 2 else 3
    rows = pixels.reshape(pixels.shape[0], -1)
    differences_HB = _filtered(rows, up=True)
    packed = _runs(differences_HB.reshape(-1))
    if len(packed) < differences_HB.size:
        return _file(differences_HB, [packed], channels)
    return stored_png(_filtered(rows, up=False), channels=channels)


def stored_png(filtered_HB: Bytes, *, channels: int) -> bytes:
    """Rows, each behind the number of its filter, as a PNG file without compression; 1 or 3 channels."""
    return _file(filtered_HB, _stored(filtered_HB.reshape(-1).data), channels)


def _file(filtered_HB: Bytes, deflated: list[Part], channels: int) -> bytes:
    """`deflated` is `filtered_HB` after deflate, in parts that are copied once."""
    width = (filtered_HB.shape[1] - 1) // channels
    header = struct.pack(">IIBBBBB", width, filtered_HB.shape[0], 8, 0 if channels == 1 else 2, 0, 0, 0)
    checksum = struct.pack(">I", isal_zlib.adler32(filtered_HB.data))
    pixels = _chunk(b"IDAT", b"\x78\x01", *deflated, checksum)
    return b"".join([SIGNATURE, *_chunk(b"IHDR", header), *pixels, *_chunk(b"IEND")])


def _chunk(kind: bytes, *parts: Part) -> list[Part]:
    checksum = isal_zlib.crc32(kind)
    for part in parts:
        checksum = isal_zlib.crc32(part, checksum)
    return [struct.pack(">I", sum(map(len, parts))), kind, *parts, struct.pack(">I", checksum)]


def _filtered(rows: Bytes, *, up: bool) -> Bytes:
    """The filter byte before each row, then the row itself or its difference from the row above."""
    out = np.empty((rows.shape[0], rows.shape[1] + 1), dtype=np.uint8)
    out[:, 0] = 2 if up else 0
    out[:, 1:] = rows
    if up:
        out[1:, 1:] -= rows[:-1]
    return out


def _stored(data: memoryview) -> list[Part]:
    """Deflate without compression: blocks of at most 65,535 bytes."""
    parts: list[Part] = []
    for start in range(0, len(data), _BLOCK):
        part = data[start : start + _BLOCK]
        last = start + _BLOCK >= len(data)
        parts += [struct.pack("<BHH", last, len(part), len(part) ^ 0xFFFF), part]
    return parts


def _runs(data: Bytes) -> bytes:
    """One fixed-Huffman block: each run of equal bytes is a literal and matches at distance 1."""
    change = np.flatnonzero(data[1:] != data[:-1]) + 1
    starts = np.concatenate(([0], change)).astype(np.int64)
    follow = np.diff(np.concatenate((starts, [data.size]))) - 1
    values = data[starts]
    if (bits := int(_LITERAL_BITS[values].sum())) // 8 > data.size:
        return bytes(bits // 8)  # it would grow; the caller stores the bytes instead
    return _pack(*_symbols(values, follow))


def _symbols(values: Bytes, follow: NDArray[np.int64]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Codes and bit counts: block header, then per run its literal, full matches, one rest, end of block."""
    full, rest = np.divmod(follow, _LONGEST)
    short = np.where(rest < 3, rest, 0)  # a match has at least three bytes; shorter rests are literals
    match = rest >= 3
    per_run = 1 + full + short + match
    ends = np.cumsum(per_run)
    begin = ends - per_run
    code = np.repeat(_LITERAL_CODE[values], per_run)
    count = np.repeat(_LITERAL_BITS[values], per_run)
    inside = np.arange(code.size) - np.repeat(begin, per_run)
    is_full = (inside >= 1) & (inside <= np.repeat(full, per_run))
    code[is_full], count[is_full] = _MATCH_CODE[_LONGEST], _MATCH_BITS[_LONGEST]
    last = ends[match] - 1
    code[last], count[last] = _MATCH_CODE[rest[match]], _MATCH_BITS[rest[match]]
    head, end = (np.uint32(0b011), 3), (np.uint32(0), 7)  # last block with fixed codes; symbol 256
    return np.concatenate(([head[0]], code, [end[0]])), np.concatenate(([head[1]], count, [end[1]]))


def _pack(code: NDArray[np.uint32], count: NDArray[np.int64]) -> bytes:
    """Codes (at most 18 bits each, first bit lowest) one after the other, lowest bit of a byte first."""
    offset = np.cumsum(count) - count
    words = np.zeros(int(offset[-1] + count[-1]) // 32 + 2, dtype=np.uint64)
    shifted = code.astype(np.uint64) << (offset & 31).astype(np.uint64)
    index = offset >> 5
    np.bitwise_or.at(words, index, shifted & np.uint64(0xFFFFFFFF))
    np.bitwise_or.at(words, index + 1, shifted >> np.uint64(32))
    total = int(offset[-1] + count[-1] + 7) // 8
    return words.astype("<u4").tobytes()[:total]


def _reversed(value: int, bits: int) -> int:
    return int(f"{value:0{bits}b}"[::-1], 2)


def _literal_table() -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """RFC 1951, 3.2.6: 0-143 take 8 bits from 00110000, 144-255 take 9 bits from 110010000."""
    codes = [_reversed(0x30 + v, 8) if v < 144 else _reversed(0x190 + v - 144, 9) for v in range(256)]
    return np.array(codes, dtype=np.uint32), np.array([8 if v < 144 else 9 for v in range(256)])


def _match_table() -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Length symbol, its extra bits, and distance 1 (five zero bits), for lengths 0..258 (0-2 unused)."""
    codes, counts = [0, 0, 0], [0, 0, 0]
    for length in range(3, _LONGEST + 1):
        symbol, base, extra = _length_symbol(length)
        bits = 7 if symbol < 280 else 8
        start = _reversed(symbol - 256, 7) if symbol < 280 else _reversed(0xC0 + symbol - 280, 8)
        codes.append(start | (length - base) << bits)
        counts.append(bits + extra + 5)
    return np.array(codes, dtype=np.uint32), np.array(counts)


def _length_symbol(length: int) -> tuple[int, int, int]:
    """(symbol, its first length, its extra bits), RFC 1951, 3.2.5."""
    if length == _LONGEST:
        return 285, _LONGEST, 0
    if length < 11:
        return 254 + length, length, 0
    extra = (length - 3).bit_length() - 3
    group = (length - 3) >> extra
    return 257 + 4 * extra + group, (group << extra) + 3, extra


_LITERAL_CODE, _LITERAL_BITS = _literal_table()
_MATCH_CODE, _MATCH_BITS = _match_table()
