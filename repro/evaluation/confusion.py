"""Confusion matrices: counted exactly, kept for every image, stored compactly.

Shapes: N images, C classes. A matrix is [C, C + 1]: row = true class, column = predicted class; the last
column counts pixels that were given to no class (a void output, a colour of no class). Pixels whose
truth is ignored are not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repro.errors import DataError

LabelMap = npt.NDArray[np.uint8]  # [H, W]
Counts = npt.NDArray[np.int64]
Cells = tuple[npt.NDArray[np.int32], Counts]
EXACT = 1 << 24  # the histogram below is float32: one call may count no more pixels than it can hold exactly


def count(truth_HW: LabelMap, prediction_HW: LabelMap, *, classes: int) -> Counts:
    """The confusion matrix of one image, int64 [classes, classes + 1].

    Truth values of `classes` and above are ignored; predicted ones count as no class. The two-dimensional
    histogram of OpenCV reads each byte once: 20 times as fast as torch.histc over the classes.
    """
    if truth_HW.shape != prediction_HW.shape:
        raise DataError(f"prediction is {prediction_HW.shape}, truth is {truth_HW.shape}")
    rows = max(1, EXACT // max(1, truth_HW.shape[1]))
    matrix = np.zeros((classes, classes + 1), np.int64)
    for top in range(0, truth_HW.shape[0], rows):
        matrix += _histogram(truth_HW[top : top + rows], prediction_HW[top : top + rows], classes)
    return matrix


def _histogram(truth_HW: LabelMap, prediction_HW: LabelMap, classes: int) -> Counts:
    import cv2  # whoever adds up stored matrices counts no pixels

    if classes > 255:
        raise DataError(f"{classes} classes do not fit into one byte", allowed="at most 255")
    edges = [0, classes, 0, 256]
    table = cv2.calcHist([truth_HW, prediction_HW], [0, 1], None, [classes, 256], edges)
    full = table.astype(np.int64)
    return np.concatenate([full[:, :classes], full[:, classes:].sum(1, keepdims=True)], axis=1)


@dataclass(frozen=True, kw_only=True)
class Confusions:
    """The confusion matrices of all images of a split, without their zeros.

    Entry k says: in image `image[k]`, `pixels[k]` pixels lie in cell `cell[k]` = row * (C + 1) + column.
    """

    images: int
    classes: int
    image: npt.NDArray[np.int32]
    cell: npt.NDArray[np.int32]
    pixels: Counts

    def total(self) -> Counts:
        """The matrix of the whole split, [C, C + 1]."""
        return self._add(self.cell, (self.classes, self.classes + 1))

    def of(self, image: int) -> Counts:
        """The matrix of one image, [C, C + 1]."""
        return self._add(self.cell, (self.classes, self.classes + 1), self.image == image)

    def by_image(self) -> tuple[Counts, Counts, Counts]:
        """Per image and class: pixels that are right, that are truly of the class, that were given to it.

        Three arrays [N, C]; IoU is right / (true + given - right).
        """
        row, column = self.cell // (self.classes + 1), self.cell % (self.classes + 1)
        shape, of_image = (self.images, self.classes), self.image.astype(np.int64) * self.classes
        return (
            self._add(of_image + row, shape, row == column),
            self._add(of_image + row, shape),
            self._add(of_image + column, shape, column < self.classes),
        )

    def dropped(self) -> Counts:
        """Per image and true class: pixels that were given to no class, [N, C]."""
        row, column = self.cell // (self.classes + 1), self.cell % (self.classes + 1)
        of_image = self.image.astype(np.int64) * self.classes
        return self._add(of_image + row, (self.images, self.classes), column == self.classes)

    def _add(
        self,
        key: npt.NDArray[np.integer],
        shape: tuple[int, int],
        chosen: npt.NDArray[np.bool_] | None = None,
    ) -> Counts:
        """Sum of `pixels` by `key`, as an array of `shape`; float64 in bincount is exact up to 2**53."""
        chosen = np.ones(len(key), bool) if chosen is None else chosen
        sums = np.bincount(key[chosen], weights=self.pixels[chosen], minlength=shape[0] * shape[1])
        return sums.astype(np.int64).reshape(shape)


def squeeze(matrix: Counts) -> Cells:
    """A matrix without its zeros: (cell int32 [k], pixels int64 [k])."""
    cell = matrix.ravel().nonzero()[0]
    return cell.astype(np.int32), matrix.ravel()[cell]


def collect(matrices: Sequence[Cells], *, classes: int) -> Confusions:
    """Squeezed matrices of all images in the order of the split."""
    return Confusions(
        images=len(matrices),
        classes=classes,
        image=np.repeat(np.arange(len(matrices), dtype=np.int32), [len(cell) for cell, _ in matrices]),
        cell=np.concatenate([np.zeros(0, np.int32), *(cell for cell, _ in matrices)]),
        pixels=np.concatenate([np.zeros(0, np.int64), *(pixels for _, pixels in matrices)]),
    )
