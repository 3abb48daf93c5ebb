"""A PNG encoder in plain Python: every bit depth, colour type, filter and interlacing."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
SAMPLES = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}
BITS = {GRAY: (1, 2, 4, 8, 16), PALETTE: (1, 2, 4, 8), RGB: (8, 16), RGBA: (8, 16), GRAY_ALPHA: (8, 16)}
# First row and column of each of Adam7's passes, and the steps between them.
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode(
    samples: NDArray[np.integer],
    kind: int,
    bits: int,
    *,
    interlaced: bool = False,
    palette: bytes | None = None,
    extra: bytes = b"",
    rows: int | None = None,
    size: tuple[int, int] | None = None,
) -> bytes:
    """Encode `samples` as PNG; with `rows` only these rows are stored; `size` is the declared (W, H)."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", *(size or (width, height)), bits, kind, 0, 0, int(interlaced))
    plain = filtered(samples.reshape(height, width, -1)[:rows], bits, interlaced)
    parts = [chunk(b"IHDR", header), extra, chunk(b"PLTE", palette) if palette is not None else b""]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [*parts, chunk(b"IDAT", zlib.compress(plain)), chunk(b"IEND", b"")]
    )


def filtered(samples_HWC: NDArray[np.integer], bits: int, interlaced: bool) -> bytes:
    """All rows of all passes, with alternating filters."""
    out, pixel = b"", max(1, samples_HWC.shape[2] * bits // 8)
    for top, left, down, right in ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = samples_HWC[top::down, left::right]
        above = None
        for i, row in enumerate(part if part.size else ()):
            raw = packed(row.reshape(-1), bits)
            out += filtered_row(raw, above or bytes(len(raw)), pixel, i % 5)
            above = raw
    return out


def packed(row: NDArray[np.integer], bits: int) -> bytes:
    """Samples as bytes, the first one in the highest bits."""
    if bits == 16:
        return row.astype(">u2").tobytes()
    text = "".join(f"{value:0{bits}b}" for value in row.tolist())
    return bytes(int(text[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(text), 8))


def filtered_row(raw: bytes, above: bytes, pixel: int, number: int) -> bytes:
    out = bytearray([number])
    for i, value in enumerate(raw):
        left, corner = (raw[i - pixel], above[i - pixel]) if i >= pixel else (0, 0)
        out.append(
            value - (0, left, above[i], (left + above[i]) // 2, paeth(left, above[i], corner))[number] & 255
        )
    return bytes(out)


def paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda value: abs(guess - value))
