"""Run-length encoded masks of COCO and of the Detail annotations of PASCAL Context."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def decode_rle(counts: str, size_HW: tuple[int, int]) -> NDArray[np.bool_]:
    """Decode mask_HW from a compressed string: alternating runs of 0 and 1 in column-major order.

    Raises ValueError if the runs do not match the size.
    """
    runs = np.array(_runs(counts), dtype=np.int64)
    if (runs < 0).any() or int(runs.sum()) != size_HW[0] * size_HW[1]:
        raise ValueError(f"runs of {int(runs.sum())} pixels for a mask of {size_HW[1]}x{size_HW[0]}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.asarray(flat.reshape(size_HW, order="F"))


def _runs(counts: str) -> list[int]:
    """Base-32 digits from '0', lowest first, with a continuation bit; differences from the fourth run on."""
    runs: list[int] = []
    value = shift = 0
    for char in counts:
        digit = ord(char) - 48
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
