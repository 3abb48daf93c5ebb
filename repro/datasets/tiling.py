"""Cutting large aerial images into windows, as the converters behind page 004 cut them."""

from __future__ import annotations

from repro.datasets.spec import Window


def grid(height: int, width: int, *, size: int, step: int) -> list[Window]:
    """Windows of `size`, `step` apart, row by row; the last of a row or column is moved back to the border.

    An image smaller than `size` gets one window that reaches beyond it.
    """
    return [
        Window(top=top, left=left, bottom=top + size, right=left + size)
        for top in _starts(height, size, step)
        for left in _starts(width, size, step)
    ]


def _starts(length: int, size: int, step: int) -> list[int]:
    return sorted({max(0, min(start, length - size)) for start in range(0, length, step)})
