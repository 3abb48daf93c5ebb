"""`repro.score`: the metrics of label maps in memory, without a project."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repro.errors import DataError
from repro.evaluation.confusion import LabelMap
from repro.evaluation.image_counts import count_image, true_label
from repro.evaluation.label_folder import MOST_CLASSES
from repro.evaluation.map_files import require_classes, size_of
from repro.evaluation.summary import summarise
from repro.params.protocol import Protocol

Label = npt.NDArray[np.integer[Any]]


def score(
    maps: Iterable[Label], labels: Iterable[Label], *, classes: int | Sequence[str], ignore: int = 255
) -> dict[str, Any]:
    """Compare predicted label maps with the truth: one confusion matrix over all images, then the metrics.

    Counts like `repro evaluate` and `repro score`. Pixels whose label is `ignore` are not counted. A
    predicted value of 255 means no class, which is always wrong.

    Args:
        maps: predicted class ids, one [H, W] integer array per image; any iterable, read one by one.
        labels: true class ids, in the same order and of the same sizes.
        classes: names of the classes, or their number.
        ignore: the label of pixels that are not counted.

    Returns:
        Metrics in percent: mIoU with the bounds mIoU_low and mIoU_high of a 95 % bootstrap interval over
        images, aAcc (pixel accuracy), mAcc, fwIoU and others; IoU, recall, precision and Dice by class;
        n_images. None is an undefined value (0/0).

    Raises:
        DataError: the numbers of maps and labels differ, or an array is not a label map of these classes.

    Example:
        >>> import numpy as np, repro
        >>> label = np.array([[0, 0, 1, 255]])
        >>> repro.score([np.array([[0, 1, 1, 0]])], [label], classes=["road", "car"])["mIoU"]
        50.0
    """
    names = _names(classes)
    protocol = Protocol(mode="whole", ignore_index=_ignored(ignore))
    seen = []
    for i, (found, truth) in enumerate(_pairs(maps, labels)):
        where = f"image {i}"
        prediction, label = _label_map(found, where, "map"), _label_map(truth, where, "label")
        if prediction.shape != label.shape:
            what = f"the map has {size_of(prediction.shape)} pixels, the label {size_of(label.shape)}"
            raise DataError(what, where=where)
        counted = true_label(label, len(names), protocol, where=where)
        require_classes(prediction, names)
        seen.append(count_image(i, counted, {"": prediction}, len(names), protocol))
    if not seen:
        raise DataError("no images", allowed="at least one map and its label")
    result = summarise(seen, _Arrays(len(seen), names), len(seen), classes=names, protocol=protocol)
    return {name: value for name, value in result.metrics.items() if name != "protocol"}


@dataclass(frozen=True)
class _Arrays:
    """The split that `summarise` asks for its names."""

    size: int
    classes: Sequence[str]
    dataset: str = ""
    fingerprint: str = ""

    @property
    def ids(self) -> Sequence[str]:
        return [str(i) for i in range(self.size)]

    def __len__(self) -> int:
        return self.size

    def image(self, i: int) -> LabelMap:
        raise NotImplementedError("label maps are scored without images")

    def label(self, i: int) -> LabelMap:
        raise NotImplementedError("labels are counted as they are read")


def _names(classes: int | Sequence[str]) -> tuple[str, ...]:
    names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(map(str, classes))
    if not 0 < len(names) <= MOST_CLASSES or len(set(names)) < len(names):
        allowed = f"1 to {MOST_CLASSES} classes, each name once"
        raise DataError(f"classes: got {classes!r}"[:200], allowed=allowed)
    return names


def _ignored(ignore: int) -> int:
    if not 0 <= ignore <= 255:
        raise DataError(f"ignore: got {ignore!r}", allowed="0 to 255")
    return ignore


def _pairs(maps: Iterable[Label], labels: Iterable[Label]) -> Iterable[tuple[Label, Label]]:
    try:
        yield from zip(maps, labels, strict=True)
    except ValueError as error:
        if "argument 2" not in str(error):
            raise
        raise DataError("the numbers of maps and labels differ", allowed="one label per map") from None


def _label_map(array: Label, where: str, kind: str) -> LabelMap:
    """[H, W] integers of 0 to 255 as uint8."""
    found = np.asarray(array)
    if found.ndim != 2 or not np.issubdtype(found.dtype, np.integer) or not found.size:
        what = f"a {kind} of shape {found.shape} and dtype {found.dtype}"
        raise DataError(what, where=where, allowed="integers of shape [H, W]")
    if found.min() < 0 or found.max() > 255:
        what = f"a {kind} with values from {found.min()} to {found.max()}"
        raise DataError(what, where=where, allowed="class ids, and 255 for no class")
    return found.astype(np.uint8)
