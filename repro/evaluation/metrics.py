"""Metrics of one confusion matrix, in percent.

IoU is right / (true + given - right), where a pixel given to no class counts as true and not right. A class
that is neither in the truth nor in the prediction has no IoU (0/0); `absent` says what a mean does with it:
pages 000, 001, 002 and 004 leave it out, page 003 stops there, so it never happened in its numbers.

Shapes: C classes; a matrix is [C, C + 1] as in `confusion`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from repro.errors import ParamsError
from repro.evaluation.confusion import Confusions, Counts

Floats = npt.NDArray[np.float64]
DIGITS = 4  # of a percentage; 0.0001 is one pixel in a million
Absent = Literal["skip", "zero"]


def metrics(matrix: Counts, *, chosen: npt.NDArray[np.intp], absent: Absent) -> dict[str, float]:
    """mIoU, aAcc, mAcc, fwIoU, mPrecision and mDice of a split; means run over the `chosen` classes.

    mAcc is the mean recall. Accuracies and frequencies count every valid pixel, chosen class or not.
    """
    iou, recall, precision, dice = per_class(matrix)
    right, true, _ = parts(matrix)
    frequency = ratio(true, np.full_like(true, true.sum()))
    return percent(
        {
            "mIoU": mean(iou[chosen], absent),
            "aAcc": float(ratio(right.sum(keepdims=True), true.sum(keepdims=True))[0]),
            "mAcc": mean(recall[chosen], absent),
            "fwIoU": float(np.sum(frequency[true > 0] * iou[true > 0])) if true.any() else float("nan"),
            "mPrecision": mean(precision[chosen], absent),
            "mDice": mean(dice[chosen], absent),
        }
    )


def per_class(matrix: Counts) -> tuple[Floats, Floats, Floats, Floats]:
    """IoU, recall, precision and Dice of every class, in 0..1; NaN where it is 0/0."""
    right, true, given = parts(matrix)
    return (
        ratio(right, true + given - right),
        ratio(right, true),
        ratio(right, given),
        ratio(2 * right, true + given),
    )


def parts(matrix: Counts) -> tuple[Counts, Counts, Counts]:
    """Pixels of every class that are right, that are truly of it, that were given to it."""
    classes = matrix.shape[0]
    return np.diagonal(matrix), matrix.sum(1), matrix[:, :classes].sum(0)


def page_000_metrics(confusions: Confusions, *, chosen: npt.NDArray[np.intp]) -> dict[str, float]:
    """mIoU and aAcc as page 000's TensorFlow rows have them (000-04, 000-05).

    The union takes the row sum twice, TP / (2 GT - TP), and pixels given to the void output have left the
    matrix before; the accuracy is a mean of the images' accuracies.
    """
    of_image = [confusions.of(image)[:, : confusions.classes] for image in range(confusions.images)]
    accuracy = ratio(np.array([np.trace(one) for one in of_image]), np.array([one.sum() for one in of_image]))
    return page_000_miou(confusions.total(), chosen=chosen) | percent({"aAcc": mean(accuracy, "skip")})


def page_000_miou(matrix: Counts, *, chosen: npt.NDArray[np.intp]) -> dict[str, float]:
    """mIoU as page 000's TensorFlow rows have it, from the matrix of the whole split."""
    square = matrix[:, : len(matrix)]
    right, true = np.diagonal(square), square.sum(1)
    return percent({"mIoU": mean(ratio(right, 2 * true - right)[chosen], "skip")})


def chosen_classes(classes: Sequence[str], names: Sequence[str]) -> npt.NDArray[np.intp]:
    """Indices of `names` in `classes`; no names means all."""
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise ParamsError(
            f"protocol: mean_over names no class: {', '.join(unknown)}", allowed=", ".join(classes)
        )
    return np.array([i for i, name in enumerate(classes) if not names or name in names], dtype=np.intp)


def ratio(over: npt.NDArray[np.integer], under: npt.NDArray[np.integer]) -> Floats:
    """over / under, NaN for 0/0."""
    result: Floats = np.full(over.shape, np.nan)
    np.divide(over, under, out=result, where=under > 0)
    return result


def mean(values: Floats, absent: Absent) -> float:
    """Mean without the NaN (`skip`) or with 0 for them (`zero`); NaN when nothing is left."""
    known = np.nan_to_num(values) if absent == "zero" else values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def percent(values: dict[str, float]) -> dict[str, float]:
    return {name: round(100 * value, DIGITS) for name, value in values.items()}
