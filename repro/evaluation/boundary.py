"""Boundary IoU (Cheng, Girshick, Dollar, Berg, Kirillov, CVPR 2021): IoU of the pixels near outlines.

The boundary of a class is what an erosion by `width` pixels removes; the border of the image counts as
outline. One erosion and one dilation of the label map compute it for all classes: a pixel is inside if there
is no other value and no border within `width`.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from repro.datasets.formats.image_io import count_values
from repro.datasets.sets.spec import IGNORE
from repro.evaluation.confusion import Counts, LabelMap


def band_width(size: tuple[int, int], ratio: float) -> int:
    """Width of the band in pixels: `ratio` of the diagonal (the paper: 0.02), at least 1."""
    return max(1, round(ratio * math.hypot(*size)))


def outline(label_HW: LabelMap, width: int) -> npt.NDArray[np.bool_]:
    """Pixels within `width` (square neighbourhood) of another class or of the border, bool [H, W]."""
    kernel = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    framed = cv2.copyMakeBorder(label_HW, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=IGNORE)
    most = cv2.dilate(framed, kernel, borderType=cv2.BORDER_REPLICATE)[1:-1, 1:-1]
    least = cv2.erode(framed, kernel, borderType=cv2.BORDER_REPLICATE)[1:-1, 1:-1]
    return np.asarray(most != least)


def count(truth_HW: LabelMap, prediction_HW: LabelMap, *, classes: int, width: int) -> tuple[Counts, Counts]:
    """Intersection and union of the boundaries per class in one image, int64 [C].

    Pixels ignored in the truth are ignored in both maps; their edge counts as outline in both.
    """
    prediction_HW = np.where(truth_HW == IGNORE, np.uint8(IGNORE), prediction_HW)
    in_truth, in_prediction = outline(truth_HW, width), outline(prediction_HW, width)
    both = in_truth & in_prediction & (truth_HW == prediction_HW)
    inter, true, given = (
        count_values(chosen)[:classes]
        for chosen in (truth_HW[both], truth_HW[in_truth], prediction_HW[in_prediction])
    )
    return inter, true + given - inter
