"""Cutting large aerial images into windows, as the converters behind page 004 cut them."""

from __future__ import annotations

import re

from repro.datasets.spec import Window

_WINDOW = re.compile(r"(_\d+){4}$")


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


def source_image(image_id: str) -> str:
    """The image that a window was cut from: `P0003` of `P0003_0_0_896_896`; a whole image is its own."""
    return _WINDOW.sub("", image_id)
