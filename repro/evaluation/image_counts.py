"""Counts of one image under a protocol: its truth, its confusion matrices, its boundaries. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from repro.datasets.formats.image_io import present_values
from repro.datasets.sets.spec import IGNORE
from repro.errors import DataError
from repro.evaluation import boundary
from repro.evaluation.confusion import Cells, Counts, LabelMap, count, squeeze
from repro.params.protocol import Protocol


@dataclass(frozen=True, kw_only=True)
class ImageCounts:
    """Counts of one image: sparse confusion matrices by suffix, boundary intersection and union."""

    index: int
    cells: Mapping[str, Cells]
    outlines: tuple[Counts, Counts] | None


def evaluated_classes(classes: Sequence[str], protocol: Protocol) -> tuple[str, ...]:
    """Classes of the result: those of the split, without the first if label 0 is ignored."""
    return tuple(classes)[1:] if protocol.reduce_zero_label else tuple(classes)


def true_label(label_HW: LabelMap, classes: int, protocol: Protocol, *, where: object) -> LabelMap:
    """The truth with all ignored pixels set to 255; DataError for values that are not classes."""
    if protocol.reduce_zero_label:
        label_HW = label_HW - np.uint8(1)  # 0 becomes 255, and 255 (ignored) 254
        label_HW[label_HW == np.uint8(IGNORE - 1)] = IGNORE
    if protocol.ignore_index != IGNORE:
        label_HW = np.where(label_HW == protocol.ignore_index, np.uint8(IGNORE), label_HW)
    values = present_values(label_HW).tolist()
    wrong = [value for value in values if classes <= value != IGNORE]
    if wrong:
        raise DataError(
            f"label values of no class: {wrong[:5]}", where=where, allowed=f"0..{classes - 1}, 255"
        )
    return label_HW


def count_image(
    i: int, truth: LabelMap, prediction: Mapping[str, LabelMap], classes: int, protocol: Protocol
) -> ImageCounts:
    """Confusion matrices and boundaries of one image."""
    height, width = truth.shape
    band = boundary.band_width((height, width), protocol.boundary_ratio)
    counted = {suffix: squeeze(count(truth, label, classes=classes)) for suffix, label in prediction.items()}
    wanted = protocol.boundary_ratio > 0
    outlines = boundary.count(truth, prediction[""], classes=classes, width=band) if wanted else None
    return ImageCounts(index=i, cells=counted, outlines=outlines)
