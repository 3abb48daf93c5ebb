"""Compute the metrics of an evaluation from counts per image.

Shapes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

import numpy as np
import numpy.typing as npt

from repro.errors import DataError, some_of
from repro.evaluation.bootstrap import Groups, Resampling, groups_of, interval, resampling
from repro.evaluation.confusion import Confusions, Counts, LabelMap, collect
from repro.evaluation.metrics import (
    Floats,
    chosen_classes,
    mean,
    metrics,
    page_000_metrics,
    per_class,
    percent,
    ratio,
)
from repro.params.protocol import Protocol, protocol_hash

if TYPE_CHECKING:  # they decode images, which stored counts do not need
    from repro.evaluation.image_counts import ImageCounts
    from repro.evaluation.tta import Image  # imports torch

Progress = Callable[[int, int], None]  # (images done, images in total)


class Images(Interface):
    """A split, as evaluation uses it."""

    @property
    def dataset(self) -> str: ...
    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def classes(self) -> Sequence[str]: ...
    @property
    def fingerprint(self) -> str: ...
    def __len__(self) -> int: ...
    def image(self, i: int) -> Image: ...
    def label(self, i: int) -> LabelMap: ...


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """Result of an evaluation on a split; `metrics` as in metrics.json."""

    metrics: dict[str, Any]
    confusions: dict[str, Confusions]  # suffix of the metrics -> matrices of all images
    ids: tuple[str, ...]
    groups: Groups | None  # of the images, if the data set defines groups
    classes: tuple[str, ...]
    protocol: Protocol
    protocol_hash: str
    fingerprint: str


def summarise(
    seen: Sequence[ImageCounts], split: Images, number: int, *, classes: tuple[str, ...], protocol: Protocol
) -> EvaluationResult:
    """Compute all metrics; `seen` must contain each of the first `number` images once, in order."""
    if [one.index for one in seen] != list(range(number)):
        raise DataError(f"{len(seen)} images were counted, the split has {number}")
    suffixes = seen[0].cells if seen else {"": None}
    confusions = {s: collect([one.cells[s] for one in seen], classes=len(classes)) for s in suffixes}
    code = protocol_hash(protocol, classes=classes)
    ids = tuple(split.ids[:number])
    groups = groups_of(split.dataset, ids)
    over = resampling(number, groups)
    found: dict[str, Any] = {}
    for suffix, confusion in confusions.items():
        found |= summary(confusion, suffix, classes, protocol, over)
    found |= boundary_summary(seen, chosen_classes(classes, protocol.mean_over))
    reasons = undefined(found, confusions[""].total(), classes, protocol)
    found |= class_summary(confusions[""], classes, ignored=protocol.ignore_index)
    found |= {"undefined": reasons} if reasons else {}
    return EvaluationResult(
        metrics=found | {"n_images": number, "protocol": code, "interval": over.kind},
        confusions=confusions,
        ids=ids,
        groups=groups,
        classes=classes,
        protocol=protocol,
        protocol_hash=code,
        fingerprint=split.fingerprint,
    )


def summary(
    confusion: Confusions, suffix: str, classes: tuple[str, ...], protocol: Protocol, over: Resampling
) -> dict[str, float | None]:
    """Metrics of one variant, its bootstrap interval and, if the protocol has one, the page's value.

    None means undefined (0/0).
    """
    chosen = chosen_classes(classes, protocol.mean_over)
    values = metrics(confusion.total(), chosen=chosen, absent=protocol.absent)
    low, high = interval(confusion, chosen=chosen, absent=protocol.absent, over=over)
    result = {name + suffix: value for name, value in values.items()}
    if np.isfinite(low):
        result |= {f"mIoU{suffix}_low": round(low, 4), f"mIoU{suffix}_high": round(high, 4)}
    if protocol.union_bug:
        page = page_000_metrics(confusion, chosen=chosen)
        result |= {f"{name}{suffix}_page": value for name, value in page.items()}
    return or_none(result)


def undefined(
    found: Mapping[str, float | None], matrix: Counts, classes: Sequence[str], protocol: Protocol
) -> dict[str, str]:
    """Metric -> reason, for every metric of `found` that is None (0/0)."""
    names = protocol.mean_over or tuple(classes)
    return {name: why_undefined(name, matrix, names) for name, value in found.items() if value is None}


def why_undefined(metric: str, matrix: Counts, names: Sequence[str]) -> str:
    """The reason: which classes are absent, and from what; `names` are the classes in the means."""
    if not matrix.any():
        return "no pixel has a label"
    which = f"class{'' if len(names) == 1 else 'es'} {some_of([*map(repr, names)])}"
    where = {"mAcc": "the truth", "mPrecision": "the prediction"}
    return f"no pixel of {which} in {where.get(metric.split('_')[0], 'truth or prediction')}"


def class_summary(confusion: Confusions, classes: tuple[str, ...], *, ignored: int) -> dict[str, Any]:
    """IoU, precision, recall and Dice per class; None for a class that is neither in truth nor prediction.

    Also None for the class `ignored`, which never occurs in the truth.
    """
    return class_tables(confusion.total(), classes, ignored=ignored)


def class_tables(matrix: Counts, classes: tuple[str, ...], *, ignored: int) -> dict[str, Any]:
    """Like `class_summary`, from the matrix of the whole split [C, C + 1]."""
    iou, recall, precision, dice = per_class(matrix)
    for values in (iou, recall, precision, dice):
        values[ignored : ignored + 1] = np.nan
    tables = {"IoU": iou, "recall": recall, "precision": precision, "Dice": dice}
    return {name: by_class(values, classes) for name, values in tables.items()}


def boundary_summary(seen: Sequence[ImageCounts], chosen: npt.NDArray[np.intp]) -> dict[str, float | None]:
    """Mean boundary IoU of the split, from sums over images."""
    pairs = [one.outlines for one in seen if one.outlines is not None]
    if not pairs:
        return {}
    inter, union = (np.sum([pair[k] for pair in pairs], axis=0) for k in (0, 1))
    return or_none(percent({"boundary_mIoU": mean(ratio(inter, union)[chosen], "skip")}))


def by_class(values: Floats, classes: Sequence[str]) -> dict[str, float | None]:
    return {
        name: None if np.isnan(value) else round(100 * float(value), 4)
        for name, value in zip(classes, values, strict=True)
    }


def or_none(values: Mapping[str, float]) -> dict[str, float | None]:
    """Replace non-finite metrics (0/0) by None."""
    return {name: value if np.isfinite(value) else None for name, value in values.items()}
