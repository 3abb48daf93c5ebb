"""PNG encoder with identical bytes on every machine.

zlib, zlib-ng and their copies in imaging libraries compress the same pixels to different bytes, so hashes of
their files differ between platforms. This encoder uses the PNG filter Up, then encodes runs of equal bytes as
deflate matches in the fixed Huffman code. Label maps shrink about 20-fold; images that would grow
(photographs) are stored uncompressed. The result is a standard PNG.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Part = bytes | memoryview
SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KIND = {1: 0, 3: 2, 4: 6}  # channels -> colour type
_LONGEST = 258  # longest deflate match
_BLOCK = 65535  # longest uncompressed deflate block


def encode_png(pixels: Bytes) -> bytes:
    """Encode pixels_HW (gray) or pixels_HWC with C = 3 (RGB), uint8, as a PNG file."""
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(f"expected uint8 HW or HW3, got {pixels.dtype} {pixels.shape}")
    channels = 1 if pixels.ndim == 2 else 3
    rows = pixels.reshape(pixels.shape[0], -1)
    differences_HB = _filtered(rows, up=True)
    compressed = _compress(differences_HB.reshape(-1))
    if compressed is not None:
        return _file(differences_HB, [compressed], channels)
    return stored_png(_filtered(rows, up=False), channels=channels)


def stored_png(filtered_HB: Bytes, *, channels: int, bits: int = 8) -> bytes:
    """Wrap filtered rows, which begin with their filter type, as an uncompressed PNG: gray, RGB or RGBA."""
    return _file(filtered_HB, _stored(filtered_HB.reshape(-1).data), channels, bits)


def _file(filtered_HB: Bytes, deflated: list[Part], channels: int, bits: int = 8) -> bytes:
    """`deflated` is `filtered_HB` after deflate, in parts to avoid copies."""
    width = (filtered_HB.shape[1] - 1) * 8 // (channels * bits)
    header = struct.pack(">IIBBBBB", width, filtered_HB.shape[0], bits, _KIND[channels], 0, 0, 0)
    checksum = struct.pack(">I", isal_zlib.adler32(filtered_HB.data))
    pixels = _chunk(b"IDAT", b"\x78\x01", *deflated, checksum)
    return b"".join([SIGNATURE, *_chunk(b"IHDR", header), *pixels, *_chunk(b"IEND")])


def _chunk(kind: bytes, *parts: Part) -> list[Part]:
    checksum = isal_zlib.crc32(kind)
    for part in parts:
        checksum = isal_zlib.crc32(part, checksum)
    return [struct.pack(">I", sum(map(len, parts))), kind, *parts, struct.pack(">I", checksum)]


def _filtered(rows: Bytes, *, up: bool) -> Bytes:
    """Filter type and row, or its difference from the row above."""
    out = np.empty((rows.shape[0], rows.shape[1] + 1), dtype=np.uint8)
    out[:, 0] = 2 if up else 0
    out[:, 1:] = rows
    if up:
        out[1:, 1:] -= rows[:-1]
    return out


def _stored(data: memoryview) -> list[Part]:
    """Uncompressed deflate blocks of at most 65,535 bytes."""
    parts: list[Part] = []
    for start in range(0, len(data), _BLOCK):
        part = data[start : start + _BLOCK]
        last = start + _BLOCK >= len(data)
        parts += [struct.pack("<BHH", last, len(part), len(part) ^ 0xFFFF), part]
    return parts


class _Runs(NamedTuple):
    """R runs of equal bytes, of which L are longer than a byte.

    After its first literal, a long run is encoded as `full_L` matches of 258 bytes, then a match of `rest_L`
    bytes if `match_L`, else `again_L` (0 to 2) literals, because a match has at least three bytes.
    """

    values_R: Bytes
    long_L: NDArray[np.int64]  # indices of long runs
    full_L: NDArray[np.int64]
    rest_L: NDArray[np.int64]
    match_L: NDArray[np.bool_]
    again_L: NDArray[np.int64]


def _compress(data: Bytes) -> bytes | None:
    """Deflate in a block of fixed codes; None if it would not be smaller, computed without encoding."""
    runs = _runs(data)
    size = (_HEAD + _bits(runs) + _END + 7) // 8
    return _join(*_codes(runs)) if size < data.size else None


_HEAD, _END = 3, 7  # bits before the codes (last block, fixed codes) and after them (symbol 256: all zero)


def _runs(data: Bytes) -> _Runs:
    starts = np.concatenate(([0], np.flatnonzero(data[1:] != data[:-1]) + 1))
    follow = np.diff(starts, append=data.size) - 1
    long_L = np.flatnonzero(follow)
    full_L, rest_L = np.divmod(follow[long_L], _LONGEST)
    match_L = rest_L >= 3
    return _Runs(data[starts], long_L, full_L, rest_L, match_L, np.where(match_L, 0, rest_L))


def _bits(runs: _Runs) -> int:
    literals = int(_LITERAL_BITS[runs.values_R].sum(dtype=np.int64))
    literals += int(_LITERAL_BITS[runs.values_R[runs.long_L]] @ runs.again_L)
    rests = int(_MATCH_BITS[runs.rest_L[runs.match_L]].sum(dtype=np.int64))
    return literals + int(runs.full_L.sum()) * int(_MATCH_BITS[_LONGEST]) + rests


def _codes(runs: _Runs) -> tuple[NDArray[np.uint32], Bytes]:
    """Codes and their lengths in bits: literals, full matches and the last match of each run."""
    codes_R = np.ones(runs.values_R.size, dtype=np.int64)
    codes_R[runs.long_L] += runs.full_L + runs.again_L + runs.match_L
    code = np.repeat(_LITERAL_CODE[runs.values_R], codes_R)
    count = np.repeat(_LITERAL_BITS[runs.values_R], codes_R)
    end_L = np.cumsum(codes_R)[runs.long_L]
    before_L = np.cumsum(runs.full_L) - runs.full_L  # full matches of earlier runs
    full = np.arange(runs.full_L.sum())
    full += np.repeat(end_L - codes_R[runs.long_L] + 1 - before_L, runs.full_L)
    last, rest = end_L[runs.match_L] - 1, runs.rest_L[runs.match_L]
    code[full], count[full] = _MATCH_CODE[_LONGEST], _MATCH_BITS[_LONGEST]
    code[last], count[last] = _MATCH_CODE[rest], _MATCH_BITS[rest]
    return code, count


def _join(code: NDArray[np.uint32], count: Bytes) -> bytes:
    """Concatenate codes of at most 18 bits, lowest bit first."""
    stop = np.cumsum(count, dtype=np.int64) + _HEAD
    offset = stop - count
    shifted = code.astype(np.uint64) << (offset & 31).astype(np.uint64)
    word = offset >> 5  # a code begins in every 32-bit word
    together = np.bitwise_or.reduceat(shifted, np.flatnonzero(np.diff(word, prepend=-1)))
    total = (int(stop[-1]) + _END + 7) // 8
    words = np.zeros(total // 4 + 2, dtype=np.uint64)
    words[: together.size] = together & np.uint64(0xFFFFFFFF)
    words[1 : together.size + 1] |= together >> np.uint64(32)
    words[0] |= np.uint64(0b011)
    return words.astype("<u4").tobytes()[:total]


def _reversed(value: int, bits: int) -> int:
    return int(f"{value:0{bits}b}"[::-1], 2)


def _literal_table() -> tuple[NDArray[np.uint32], Bytes]:
    """RFC 1951, 3.2.6: 0-143 take 8 bits from 00110000, 144-255 take 9 bits from 110010000."""
    codes = [_reversed(0x30 + v, 8) if v < 144 else _reversed(0x190 + v - 144, 9) for v in range(256)]
    return np.array(codes, dtype=np.uint32), np.array(
        [8 if v < 144 else 9 for v in range(256)], dtype=np.uint8
    )


def _match_table() -> tuple[NDArray[np.uint32], Bytes]:
    """Length symbol, extra bits and distance 1 (five zero bits) for lengths 0..258 (0-2 unused)."""
    codes, counts = [0, 0, 0], [0, 0, 0]
    for length in range(3, _LONGEST + 1):
        symbol, base, extra = _length_symbol(length)
        bits = 7 if symbol < 280 else 8
        start = _reversed(symbol - 256, 7) if symbol < 280 else _reversed(0xC0 + symbol - 280, 8)
        codes.append(start | (length - base) << bits)
        counts.append(bits + extra + 5)
    return np.array(codes, dtype=np.uint32), np.array(counts, dtype=np.uint8)


def _length_symbol(length: int) -> tuple[int, int, int]:
    """(symbol, first length, number of extra bits), RFC 1951, 3.2.5."""
    if length == _LONGEST:
        return 285, _LONGEST, 0
    if length < 11:
        return 254 + length, length, 0
    extra = (length - 3).bit_length() - 3
    group = (length - 3) >> extra
    return 257 + 4 * extra + group, (group << extra) + 3, extra


_LITERAL_CODE, _LITERAL_BITS = _literal_table()
_MATCH_CODE, _MATCH_BITS = _match_table()
