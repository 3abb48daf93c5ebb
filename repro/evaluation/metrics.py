"""Metrics of one confusion matrix, in percent.

IoU is correct / (true + predicted - correct); a pixel predicted as no class counts as true and not correct. A
class that is neither in the truth nor in the prediction has no IoU (0/0). `absent` is how a mean treats it:
pages 000, 001, 002 and 004 skip it; page 003's code would fail, so its numbers contain no such class.

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
    """Compute mIoU, aAcc, mAcc (mean recall), fwIoU, mPrecision and mDice of a split, in percent.

    Args:
        matrix: confusion matrix of the split.
        chosen: indices of the classes in the means; aAcc and fwIoU use all classes.
        absent: skip absent classes, or count them as zero.
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
    """(IoU, recall, precision, Dice) per class, in 0..1; NaN for 0/0."""
    right, true, given = parts(matrix)
    return (
        ratio(right, true + given - right),
        ratio(right, true),
        ratio(right, given),
        ratio(2 * right, true + given),
    )


def parts(matrix: Counts) -> tuple[Counts, Counts, Counts]:
    """(correct, true, predicted) pixels per class."""
    classes = matrix.shape[0]
    return np.diagonal(matrix), matrix.sum(1), matrix[:, :classes].sum(0)


def page_000_metrics(confusions: Confusions, *, chosen: npt.NDArray[np.intp]) -> dict[str, float]:
    """mIoU and aAcc as computed for page 000's TensorFlow rows (000-04, 000-05).

    Their IoU is TP / (2 GT - TP), without pixels predicted as void; their accuracy is a mean over images.
    """
    of_image = [confusions.of(image)[:, : confusions.classes] for image in range(confusions.images)]
    accuracy = ratio(np.array([np.trace(one) for one in of_image]), np.array([one.sum() for one in of_image]))
    return page_000_miou(confusions.total(), chosen=chosen) | percent({"aAcc": mean(accuracy, "skip")})


def page_000_miou(matrix: Counts, *, chosen: npt.NDArray[np.intp]) -> dict[str, float]:
    """mIoU as computed for page 000's TensorFlow rows, from the matrix of the whole split."""
    square = matrix[:, : len(matrix)]
    right, true = np.diagonal(square), square.sum(1)
    return percent({"mIoU": mean(ratio(right, 2 * true - right)[chosen], "skip")})


def chosen_classes(classes: Sequence[str], names: Sequence[str]) -> npt.NDArray[np.intp]:
    """Indices of `names` in `classes`; all classes if there are no names. ParamsError for unknown names."""
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise ParamsError(
            f"protocol: unknown classes in mean_over: {', '.join(unknown)}", allowed=", ".join(classes)
        )
    return np.array([i for i, name in enumerate(classes) if not names or name in names], dtype=np.intp)


def ratio(over: Counts | Floats, under: Counts | Floats) -> Floats:
    """over / under, NaN for 0/0."""
    result: Floats = np.full(over.shape, np.nan)
    np.divide(over, under, out=result, where=under > 0)
    return result


def mean(values: Floats, absent: Absent) -> float:
    """Mean that skips NaN (`skip`) or counts it as 0 (`zero`); NaN if there are no values."""
    known = np.nan_to_num(values) if absent == "zero" else values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def percent(values: dict[str, float]) -> dict[str, float]:
    return {name: round(100 * value, DIGITS) for name, value in values.items()}
