"""Paired bootstrap test of the difference between two results on the same images.

Both results are resampled with the same images, which removes the variance from the images' difficulty; see
`bootstrap` for dependent images. The p-value is the fraction of resampled differences, shifted to mean zero,
that are at least as large as the measured one. P-values per class are corrected by Holm's step-down method.

Shapes: R resamples, N images, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from repro.errors import IncomparableError
from repro.evaluation.bootstrap import RESAMPLES, Resampling, class_mean, counts, iou_draws, resampling
from repro.evaluation.metrics import Floats, ratio
from repro.evaluation.outputs import StoredConfusions

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Values of A and B, and B - A with its 95 % interval, in percent; p is two-sided.

    None if a class is in neither truth nor prediction of one result.
    """

    name: str
    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True, kw_only=True)
class Changed:
    """An image and its mIoU (over the classes in it) under A and B."""

    id: str
    a: float
    b: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Result of `compare`; `warnings` list differences in protocol or data."""

    mIoU: Difference
    classes: tuple[Difference, ...]  # p corrected by Holm
    changed: tuple[Changed, ...]  # most changed first
    n_images: int
    interval: str  # kind of the intervals: "95 % percentile bootstrap over 500 images"
    variant: str
    warnings: tuple[str, ...]


def compare(
    a: StoredConfusions,
    b: StoredConfusions,
    *,
    variant: str = "",
    union_bug: bool = False,
    force: bool = False,
    resamples: int = RESAMPLES,
    in_words: str = "",
) -> Comparison:
    """Compare B with A.

    Args:
        a, b: results with matrices per image.
        variant: suffix of the metrics, "" for the main evaluation.
        union_bug: compare the mIoU as page 000 computes it.
        force: compare despite different protocols or data.
        resamples: number of bootstrap resamples.
        in_words: how the protocols differ, if the caller knows; for the error.

    Raises:
        IncomparableError: no common image, other classes, no such variant, or (without `force`) different
            protocols or data.
    """
    warnings = incompatibilities(a, b, variant, in_words)
    if warnings and not force:
        raise IncomparableError("; ".join(warnings), hint="--force compares them with a warning")
    ids = common(a, b)
    places = [{name: i for i, name in enumerate(one.ids)} for one in (a, b)]
    pairs = [
        pick(counts(one.confusions[variant], a.chosen, union_bug=union_bug), [place[name] for name in ids])
        for one, place in zip((a, b), places, strict=True)
    ]
    over = paired_resampling(a, b, ids)
    first, second = (iou_matrix(pair, over, resamples) for pair in pairs)
    whole = [ratio(inter.sum(0), union.sum(0)) * 100 for inter, union in pairs]
    names = [a.classes[k] for k in a.chosen]
    classes = [
        difference(name, float(whole[0][k]), float(whole[1][k]), second[:, k] - first[:, k])
        for k, name in enumerate(names)
    ]
    means = [class_mean(values[None], a.absent)[0] for values in whole]
    drawn = class_mean(second, a.absent) - class_mean(first, a.absent)
    return Comparison(
        mIoU=difference("mIoU", float(means[0]), float(means[1]), drawn),
        classes=tuple(holm(classes)),
        changed=tuple(most_changed(ids, pairs[0], pairs[1])),
        n_images=len(ids),
        interval=over.kind,
        variant=variant,
        warnings=tuple(warnings),
    )


def incompatibilities(
    a: StoredConfusions, b: StoredConfusions, variant: str, in_words: str = ""
) -> list[str]:
    """Differences in images, protocol or data; IncomparableError if a comparison is impossible."""
    if a.classes != b.classes:
        raise IncomparableError("the two results have different classes")
    if not common(a, b):
        raise IncomparableError("the two results have no image in common")
    missing = [name for name, one in (("A", a), ("B", b)) if variant not in one.confusions]
    if missing:
        found = ", ".join(sorted(key or "main" for key in a.confusions.keys() & b.confusions.keys()))
        raise IncomparableError(f"{' and '.join(missing)} has no variant '{variant}'", allowed=found)
    differences = []
    if a.ids != b.ids:
        both = f"{len(common(a, b))} in common"
        differences.append(f"different images ({len(a.ids)} and {len(b.ids)}, {both})")
    if a.protocol != b.protocol:
        differences.append(f"different protocols ({in_words or f'{a.protocol} and {b.protocol}'})")
    if a.fingerprint != b.fingerprint:
        differences.append(f"different data ({a.fingerprint[:12]} and {b.fingerprint[:12]})")
    return differences


def common(a: StoredConfusions, b: StoredConfusions) -> list[str]:
    """Ids of the common images, in A's order."""
    of_b = set(b.ids)
    return [name for name in a.ids if name in of_b]


def pick(pair: tuple[Floats, Floats], images: Sequence[int]) -> tuple[Floats, Floats]:
    return pair[0][images], pair[1][images]


def paired_resampling(a: StoredConfusions, b: StoredConfusions, ids: Sequence[str]) -> Resampling:
    """Units and strata of the common images `ids`; files of older versions have no groups."""
    known = next((one for one in (a, b) if one.groups is not None), None)
    if known is None or known.groups is None:
        return resampling(len(ids), None)
    names = dict(zip(known.ids, known.groups.names, strict=True))
    return resampling(len(ids), replace(known.groups, names=tuple(names[name] for name in ids)))


def iou_matrix(pair: tuple[Floats, Floats], over: Resampling, resamples: int) -> Floats:
    """IoU per resample and class in percent, [R, C]; rows of two calls are paired."""
    return np.concatenate(list(iou_draws(pair, over, resamples=resamples)))


def difference(name: str, a: float, b: float, drawn: Floats) -> Difference:
    """A difference with its percentile interval and two-sided p-value."""
    if np.isnan(a) or np.isnan(b):
        return Difference(name=name, a=known(a), b=known(b), difference=None, low=None, high=None, p=None)
    drawn = drawn[~np.isnan(drawn)]
    measured = b - a
    if not drawn.size:  # no resample has the class in both
        return Difference(name=name, a=a, b=b, difference=measured, low=None, high=None, p=None)
    low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    # The measured sample counts as a resample, so p is never 0 (Davison and Hinkley, 1997, 4.2.1).
    extreme = np.abs(drawn - drawn.mean()) >= abs(measured) - 1e-12
    p = (1 + int(extreme.sum())) / (1 + len(drawn))
    return Difference(name=name, a=a, b=b, difference=measured, low=float(low), high=float(high), p=p)


def known(value: float) -> float | None:
    return None if np.isnan(value) else value


def holm(found: Sequence[Difference]) -> list[Difference]:
    """Differences with p corrected by Holm's method: step k of m multiplies by m - k, monotone."""
    tested = sorted((one for one in found if one.p is not None), key=lambda one: one.p or 0.0)
    corrected: dict[str, float] = {}
    largest = 0.0
    for step, one in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - step) * (one.p or 0.0)))
        corrected[one.name] = largest
    return [replace(one, p=corrected.get(one.name)) for one in found]


def most_changed(ids: Sequence[str], a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> list[Changed]:
    """Images sorted by the absolute difference of their mIoU, largest first."""
    own = [class_mean(100 * ratio(*pair), "skip") for pair in (a, b)]
    both = ~np.isnan(own[0]) & ~np.isnan(own[1])
    order = sorted(np.flatnonzero(both).tolist(), key=lambda i: (-abs(own[1][i] - own[0][i]), i))
    return [Changed(id=ids[i], a=float(own[0][i]), b=float(own[1][i])) for i in order]
