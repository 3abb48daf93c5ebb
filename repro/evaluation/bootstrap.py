"""How far a mean IoU would move if other images had been drawn: the bootstrap over images.

An image is drawn with all its pixels, because neighbouring pixels are not independent. A resample is a
weight for every image; with all weights in one matrix the resampled sums are one matrix product:
weights [R, N] x counts [N, 2C]. Shapes: R resamples, N images, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from repro.evaluation.confusion import Confusions
from repro.evaluation.metrics import Absent, Floats

RESAMPLES = 10_000
CHUNK = 1_000  # resamples at a time: 1,000 x 2,000 weights are 16 MB
SEED = 0


def interval(
    confusions: Confusions,
    *,
    chosen: npt.NDArray[np.intp],
    absent: Absent,
    level: float = 0.95,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """The percentile interval of the mIoU, in percent; deterministic."""
    draws = miou_draws(counts(confusions, chosen), resamples=resamples, absent=absent)
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


def miou_draws(pair: tuple[Floats, Floats], *, resamples: int, absent: Absent) -> Floats:
    """mIoU of every resample, percent, [R]; equal seeds give equal images to any pair of equal length."""
    return np.concatenate([class_mean(iou, absent) for iou in iou_draws(pair, resamples=resamples)])


def iou_draws(pair: tuple[Floats, Floats], *, resamples: int) -> Iterator[Floats]:
    """IoU of every class in every resample, percent, in chunks [R', C]; NaN where a class is not drawn."""
    inter_union = np.concatenate(pair, axis=1)
    classes = pair[0].shape[1]
    for weights in draw_weights(len(inter_union), resamples):
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


def draw_weights(images: int, resamples: int) -> Iterator[Floats]:
    """How often every image is drawn: chunks [R', N] of multinomial weights, the same for every call."""
    generator = np.random.default_rng(SEED)
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        drawn = generator.integers(0, images, (size, images), dtype=np.int32)
        drawn += np.arange(size, dtype=np.int32)[:, None] * images
        yield np.bincount(drawn.ravel(), minlength=size * images).reshape(size, images).astype(np.float64)
