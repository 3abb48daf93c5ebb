"""How far a mean IoU would move if other images had been drawn: the percentile bootstrap.

An image is drawn with all its pixels, because neighbouring pixels are not independent, and images that belong
together are drawn together: `resampling` says which. A resample is a weight for every unit; with all weights
in one matrix the resampled sums are one matrix product: weights [R, U] x counts [U, 2C]. Percentile, not BCa:
docs/decisions/2026-11-29-intervals.md. Shapes: R resamples, N images, U units, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from repro.evaluation.confusion import Confusions
from repro.evaluation.metrics import Absent, Floats
from repro.evaluation.resampling import Resampling, over_images

RESAMPLES = 10_000


def interval(
    confusions: Confusions,
    *,
    chosen: npt.NDArray[np.intp],
    absent: Absent,
    over: Resampling | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """The percentile interval of the mIoU, in percent; deterministic.

    `over` says what is resampled (none: images). NaN, NaN where no resample has an mIoU.
    """
    over = over or over_images(confusions.images)
    draws = miou_draws(counts(confusions, chosen), over, resamples=resamples, absent=absent)
    if np.isnan(draws).all():
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.nanquantile(draws, (tail, 1 - tail))
    return float(low), float(high)


def counts(
    confusions: Confusions, chosen: npt.NDArray[np.intp], *, union_bug: bool = False
) -> tuple[Floats, Floats]:
    """Intersections and unions of the chosen classes in every image, float64 [N, C].

    `union_bug`: the unions of page 000, which take the row sum twice and leave out pixels of no class.
    """
    right, true, given = (part[:, chosen].astype(np.float64) for part in confusions.by_image())
    if union_bug:
        return right, 2 * (true - confusions.dropped()[:, chosen]) - right
    return right, true + given - right


def miou_draws(pair: tuple[Floats, Floats], over: Resampling, *, resamples: int, absent: Absent) -> Floats:
    """mIoU of every resample, percent, [R]; equal for every pair of equal counts."""
    return np.concatenate([class_mean(iou, absent) for iou in iou_draws(pair, over, resamples=resamples)])


def iou_draws(pair: tuple[Floats, Floats], over: Resampling, *, resamples: int) -> Iterator[Floats]:
    """IoU of every class in every resample, percent, in chunks [R', C]; NaN where a class is not drawn."""
    inter_union = over.sums(np.concatenate(pair, axis=1))
    classes = pair[0].shape[1]
    for weights in over.weights(resamples):
        sums = weights @ inter_union
        inter, union = sums[:, :classes], sums[:, classes:]
        yield 100 * np.divide(inter, union, out=np.full_like(inter, np.nan), where=union > 0)


def class_mean(iou: Floats, absent: Absent) -> Floats:
    """Mean over the classes of every row, NaN left out or taken as 0."""
    known = ~np.isnan(iou)
    number = np.full(len(iou), iou.shape[1]) if absent == "zero" else known.sum(1)
    total = np.where(known, iou, 0).sum(1)
    result: Floats = np.full(len(iou), np.nan)
    np.divide(total, number, out=result, where=number > 0)
    return result
