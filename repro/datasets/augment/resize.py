"""Windows of resized images and labels, without resizing the rest.

Shapes: image_HWC and label_HW, uint8; sizes are (height, width), `base` is (width, height).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from repro.datasets.formats.image_io import Pixels

Size = tuple[int, int]  # height, width


class Croppable(Protocol):
    """image_HWC, or a lazy image that decodes only the requested part (`image_io.LazyImage`)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, part: tuple[slice, slice], /) -> Pixels: ...


def fit_size(size_HW: Size, base_WH: Size | None, factor: float) -> Size:
    """Return the size of an image scaled by `factor`, or fitted into `base` times `factor`.

    Fitting keeps the aspect ratio: the long side fits into the long side of `base`, the short side into the
    short one (mmcv's rule; the sides of `base` are truncated, those of the image rounded).
    """
    height, width = size_HW
    if base_WH is None:
        return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))
    frame = sorted(int(side * factor) for side in base_WH)
    ratio = min(frame[1] / max(height, width), frame[0] / min(height, width))
    return max(1, int(height * ratio + 0.5)), max(1, int(width * ratio + 0.5))


def resize_window(image_HWC: Croppable, size_HW: Size, top: int, left: int, window_HW: Size) -> Pixels:
    """Return a window at (top, left) of the image after bilinear resizing to `size_HW`.

    Equal to resizing and slicing, up to a shift of 1/50 source pixel: one or two gray levels at edges. The
    fast path resizes only the visible part, widened until its borders coincide with source pixels; otherwise
    an affine warp is used (exact, 3 times slower).
    """
    if size_HW == image_HWC.shape[:2]:
        return image_HWC[top : top + window_HW[0], left : left + window_HW[1]]
    rows = _span(image_HWC.shape[0], size_HW[0], top, window_HW[0])
    columns = _span(image_HWC.shape[1], size_HW[1], left, window_HW[1])
    if rows is None or columns is None:
        return _warp(image_HWC[:, :], size_HW, top, left, window_HW)
    part_HWC = image_HWC[rows.source, columns.source]
    wide_HWC = cv2.resize(part_HWC, (columns.target, rows.target), interpolation=cv2.INTER_LINEAR)
    return np.asarray(wide_HWC[rows.inside, columns.inside])


class _Span(NamedTuple):
    """Along an axis: source pixels to take, their length after resizing, and the window within."""

    source: slice
    target: int
    inside: slice


_CANDIDATES, _CLOSE, _MARGIN = 48, 0.02, 2  # borders tried per side, error in source pixels, extra pixels


def _span(source: int, target: int, start: int, count: int) -> _Span | None:
    """A widened window whose borders are within _CLOSE of source pixels; None if there is none."""
    ratio, stop = source / target, start + count
    first = _whole(ratio, np.arange(max(0, start - _MARGIN), max(-1, start - _MARGIN - _CANDIDATES), -1))
    last = _whole(
        ratio, np.arange(min(target, stop + _MARGIN), min(target + 1, stop + _MARGIN + _CANDIDATES))
    )
    if first is None or last is None:
        return None
    begin, end = round(first * ratio), round(last * ratio)
    return _Span(slice(begin, end), last - first, slice(start - first, stop - first))


def _whole(ratio: float, candidates: NDArray[np.int64]) -> int | None:
    """The first candidate that is close to a source pixel."""
    off = np.abs(candidates * ratio - np.rint(candidates * ratio))
    close = np.flatnonzero(off < _CLOSE)
    return int(candidates[close[0]]) if close.size else None


def _warp(image_HWC: Pixels, size_HW: Size, top: int, left: int, window_HW: Size) -> Pixels:
    down, across = image_HWC.shape[0] / size_HW[0], image_HWC.shape[1] / size_HW[1]
    matrix = np.array([[across, 0, (left + 0.5) * across - 0.5], [0, down, (top + 0.5) * down - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(image_HWC, matrix, window_HW[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    )


def resize_label_window(label_HW: Pixels, size_HW: Size, top: int, left: int, window_HW: Size) -> Pixels:
    """Return a window of the label after nearest-neighbour resizing (OpenCV's rule: floor)."""
    if size_HW == label_HW.shape:
        return label_HW[top : top + window_HW[0], left : left + window_HW[1]]
    rows = _nearest(label_HW.shape[0], size_HW[0], top, window_HW[0])
    columns = _nearest(label_HW.shape[1], size_HW[1], left, window_HW[1])
    shown_HW = label_HW[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    rows, columns = rows - rows[0], columns - columns[0]
    if len(rows) > len(shown_HW):  # selecting columns is slower than rows: do it on the smaller array
        return np.asarray(shown_HW.take(columns, 1).take(rows, 0))
    return np.asarray(shown_HW.take(rows, 0).take(columns, 1))


def _nearest(source: int, target: int, start: int, count: int) -> NDArray[np.int64]:
    """Source positions; 1 / (target / source) as in OpenCV: other roundings differ for 8 % of the sizes."""
    positions = np.floor(np.arange(start, start + count) * (1 / (target / source))).astype(np.int64)
    return np.asarray(np.minimum(positions, source - 1))
