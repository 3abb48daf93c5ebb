"""A window of a resized image, without resizing what lies outside of it.

Shapes: image_HWC and label_HW, uint8; sizes are (height, width), frames (width, height).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from repro.datasets.formats.image_io import Pixels

Size = tuple[int, int]  # height, width


class Cuttable(Protocol):
    """image_HWC, or something like it that decodes no more than is cut out of it (`image_io.Picture`)."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, part: tuple[slice, slice], /) -> Pixels: ...


def fitted(size_HW: Size, base_WH: Size | None, factor: float) -> Size:
    """The size of an image scaled by `factor`, or fitted with its ratio kept into `base` times `factor`.

    Keeping the ratio means: the long side within the long side of the frame, the short within the short
    (mmcv's rule; frame sides are truncated, image sides rounded).
    """
    height, width = size_HW
    if base_WH is None:
        return max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))
    frame = sorted(int(side * factor) for side in base_WH)
    ratio = min(frame[1] / max(height, width), frame[0] / min(height, width))
    return max(1, int(height * ratio + 0.5)), max(1, int(width * ratio + 0.5))


def take_window(image_HWC: Cuttable, size_HW: Size, top: int, left: int, window_HW: Size) -> Pixels:
    """Rows top.. and columns left.. of the image resized bilinearly to `size_HW`.

    Equal to resizing everything and slicing, up to 1/50 of a source pixel in position: one or two gray
    levels at edges. The fastest way is a resize of the part of the image that the window shows, widened to
    where its borders fall on whole source pixels; where they do not, an affine warp (exact, 3 x slower).
    """
    if size_HW == image_HWC.shape[:2]:
        return image_HWC[top : top + window_HW[0], left : left + window_HW[1]]
    rows = _span(image_HWC.shape[0], size_HW[0], top, window_HW[0])
    columns = _span(image_HWC.shape[1], size_HW[1], left, window_HW[1])
    if rows is None or columns is None:
        return _warped(image_HWC[:, :], size_HW, top, left, window_HW)
    part_HWC = image_HWC[rows.source, columns.source]
    wide_HWC = cv2.resize(part_HWC, (columns.target, rows.target), interpolation=cv2.INTER_LINEAR)
    return np.asarray(wide_HWC[rows.inside, columns.inside])


class _Span(NamedTuple):
    """Along one axis: the source pixels to take, the length to resize them to, the window inside of that."""

    source: slice
    target: int
    inside: slice


_WIDER, _CLOSE, _MARGIN = 48, 0.02, 2  # candidates on each side, error in source pixels, pixels cut away


def _span(source: int, target: int, start: int, count: int) -> _Span | None:
    """A widened window whose two ends lie within _CLOSE of whole source pixels; None when there is none."""
    ratio, stop = source / target, start + count
    first = _whole(ratio, np.arange(max(0, start - _MARGIN), max(-1, start - _MARGIN - _WIDER), -1))
    last = _whole(ratio, np.arange(min(target, stop + _MARGIN), min(target + 1, stop + _MARGIN + _WIDER)))
    if first is None or last is None:
        return None
    begin, end = round(first * ratio), round(last * ratio)
    return _Span(slice(begin, end), last - first, slice(start - first, stop - first))


def _whole(ratio: float, candidates: NDArray[np.int64]) -> int | None:
    """The first of the candidates that comes close enough to a whole source pixel."""
    off = np.abs(candidates * ratio - np.rint(candidates * ratio))
    close = np.flatnonzero(off < _CLOSE)
    return int(candidates[close[0]]) if close.size else None


def _warped(image_HWC: Pixels, size_HW: Size, top: int, left: int, window_HW: Size) -> Pixels:
    down, across = image_HWC.shape[0] / size_HW[0], image_HWC.shape[1] / size_HW[1]
    matrix = np.array([[across, 0, (left + 0.5) * across - 0.5], [0, down, (top + 0.5) * down - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(image_HWC, matrix, window_HW[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    )


def take_label_window(label_HW: Pixels, size_HW: Size, top: int, left: int, window_HW: Size) -> Pixels:
    """The same window of the label resized to the nearest neighbour (cv2's rule: the floor)."""
    if size_HW == label_HW.shape:
        return label_HW[top : top + window_HW[0], left : left + window_HW[1]]
    rows = _nearest(label_HW.shape[0], size_HW[0], top, window_HW[0])
    columns = _nearest(label_HW.shape[1], size_HW[1], left, window_HW[1])
    shown_HW = label_HW[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    rows, columns = rows - rows[0], columns - columns[0]
    if len(rows) > len(shown_HW):  # columns cost more than rows: take them where there are fewer of them
        return np.asarray(shown_HW.take(columns, 1).take(rows, 0))
    return np.asarray(shown_HW.take(rows, 0).take(columns, 1))


def _nearest(source: int, target: int, start: int, count: int) -> NDArray[np.int64]:
    """OpenCV divides twice, 1 / (target / source): other roundings differ for 8 % of the sizes."""
    positions = np.floor(np.arange(start, start + count) * (1 / (target / source))).astype(np.int64)
    return np.asarray(np.minimum(positions, source - 1))
