"""Recompute the metrics of an evaluation from its confusion matrices; verdicts are based on these.

Matrices per image (confusion.npz) give everything except boundary IoU. Matrices of the whole split
(confusion.csv, in git) give neither intervals nor means over images.

Shapes: C classes; a matrix is [C, C + 1] as in `confusion`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from repro.evaluation.bootstrap import Resampling, groups_of, over_images, resampling
from repro.evaluation.confusion import Counts
from repro.evaluation.metrics import chosen_classes, metrics, page_000_miou
from repro.evaluation.outputs import StoredConfusions, Totals
from repro.evaluation.summary import class_tables, or_none, summary
from repro.params.protocol import Protocol
from repro.published.page import QUIRK

TOLERANCE = 1e-3  # of a percentage; metrics.json is rounded to 1e-4
NAMES = ("mIoU", "aAcc", "mAcc", "fwIoU", "mPrecision", "mDice")
OF_OUTLINES = "boundary_mIoU"


def suffixes(protocol: Protocol) -> tuple[str, ...]:
    """Suffixes of metrics that have separate matrices under `protocol`."""
    own = tuple(protocol.variants())
    return own + tuple(suffix + QUIRK for suffix in own if protocol.zero_tile == "nan")


def metric_names(protocol: Protocol) -> frozenset[str]:
    """All metrics that an evaluation under `protocol` produces."""
    found = {name + suffix for suffix in suffixes(protocol) for name in NAMES}
    if protocol.union_bug:
        found |= {f"{name}{suffix}{QUIRK}" for suffix in suffixes(protocol) for name in ("mIoU", "aAcc")}
    return frozenset(found | ({OF_OUTLINES} if protocol.boundary_ratio > 0 else set()))


def determined(protocol: Protocol, matrices: Collection[str], *, by_image: bool) -> frozenset[str]:
    """Metrics that can be recomputed from matrices with these suffixes, per image or of the whole split."""
    found = {name + suffix for suffix in matrices for name in NAMES}
    if protocol.union_bug:  # the page's accuracy is a mean over images
        names = ("mIoU", "aAcc") if by_image else ("mIoU",)
        found |= {f"{name}{suffix}{QUIRK}" for suffix in matrices for name in names}
    return metric_names(protocol) & found


def compared_metric(name: str, protocol: Protocol) -> str:
    """Metric to compare with a published `name`: the page's formula if the protocol has it."""
    return name + QUIRK if name + QUIRK in metric_names(protocol) else name


def resampled(stored: StoredConfusions, dataset: str, kind: str) -> Resampling:
    """Units and strata of the intervals: by the data set's groups, or images for results without `kind`.

    Groups are taken from the data set's module, since the file of the matrices is not trusted.
    """
    images = len(stored.ids)
    return resampling(images, groups_of(dataset, stored.ids)) if kind else over_images(images)


def from_images(stored: StoredConfusions, protocol: Protocol, over: Resampling | None) -> dict[str, Any]:
    """Metrics and tables per class as in metrics.json, in percent; None if undefined.

    Without `over` the intervals, which take most of the time, are omitted.
    """
    if over is None:
        totals = {suffix: one.total() for suffix, one in stored.confusions.items()}
        return from_totals(Totals(classes=stored.classes, matrices=totals), protocol)
    found: dict[str, Any] = {}
    for suffix in suffixes(protocol):
        if suffix in stored.confusions:
            found |= summary(stored.confusions[suffix], suffix, stored.classes, protocol, over)
    tables = class_tables(stored.confusions[""].total(), stored.classes, ignored=protocol.ignore_index)
    return found | tables | {"interval": over.kind}


def from_totals(totals: Totals, protocol: Protocol) -> dict[str, Any]:
    """Like `from_images`, from matrices of the whole split: without intervals and means over images."""
    found: dict[str, Any] = {}
    for suffix in suffixes(protocol):
        if suffix in totals.matrices:
            found |= _of_total(totals.matrices[suffix], suffix, totals.classes, protocol)
    return found | class_tables(totals.matrices[""], totals.classes, ignored=protocol.ignore_index)


def _of_total(
    matrix: Counts, suffix: str, classes: tuple[str, ...], protocol: Protocol
) -> Mapping[str, float | None]:
    chosen = chosen_classes(classes, protocol.mean_over)
    found = {
        name + suffix: value for name, value in metrics(matrix, chosen=chosen, absent=protocol.absent).items()
    }
    if protocol.union_bug:
        page = page_000_miou(matrix, chosen=chosen)
        found |= {f"{name}{suffix}{QUIRK}": value for name, value in page.items()}
    return or_none(found)
