"""Bootstrap intervals of mean IoU over images, groups of images, or blocks of consecutive images.

Frames of a video or tiles of an aerial image are not independent, so resampling single images would give
intervals that are too narrow. The module of a data set can define

    group(id)   the name of an image's group
    GROUP       what a group is, in the singular: "video", "source image"
    BLOCK       images per block, if a group is a sequence in time

With enough groups, whole groups are resampled (cluster bootstrap). With few groups that are sequences in
time, blocks of consecutive images are resampled within each group; a block that reaches the end of its group
continues at its beginning (circular block bootstrap, Politis and Romano 1992). Otherwise single images are.

All three resample blocks of consecutive units within strata: units are images or groups in a single stratum,
with blocks of 1, or images with one stratum per group. A resample is a vector of weights over units, so that
all resampled sums are one matrix product: weights [R, U] x counts [U, 2C]. Intervals are percentile
intervals, not BCa: docs/decisions/2026-11-29-intervals.md.

Shapes: R resamples, N images, U units, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repro.errors import counted
from repro.evaluation.confusion import Confusions
from repro.evaluation.metrics import Absent, Floats, ratio


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Group names per image, in the order of the images; `block` is 0 for groups without an order."""

    names: tuple[str, ...]
    noun: str
    block: int = 0


def groups_of(dataset: str, ids: Sequence[str]) -> Groups | None:
    """Groups of the images `ids` of a data set; None if there are none.

    A data set that a zoo declares has groups where its images are tiles: the ids contain their windows.
    """
    from repro.datasets import DATASETS  # imports OpenCV, which reading matrices does not need
    from repro.datasets.prepare.convert import is_tile, source_image

    if dataset not in DATASETS:
        tiles = bool(ids) and all(map(is_tile, ids))
        return Groups(names=tuple(map(source_image, ids)), noun="source image") if tiles else None
    module = DATASETS[dataset]
    group = getattr(module, "group", None)
    if group is None:
        return None
    return Groups(
        names=tuple(group(name) for name in ids),
        noun=str(getattr(module, "GROUP", "group")),
        block=int(getattr(module, "BLOCK", 0)),
    )


# With fewer independent units a percentile interval is too narrow. Measured coverage of a nominal 95 %: 84 %
# with 5 groups, 89 % with 10, 91 % with 20, 93 % with 40 (docs/decisions/2026-11-29-intervals.md).
ENOUGH = 20
CHUNK = 1_000  # resamples per chunk: 1,000 x 2,000 weights are 16 MB
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """Units and strata of a bootstrap; `kind` describes the interval."""

    kind: str
    unit: npt.NDArray[np.intp]  # [N] unit of each image; the units of a stratum are consecutive
    strata: tuple[int, ...]  # number of units per stratum
    block: int = 1  # consecutive units drawn together

    def sums(self, counts: Floats) -> Floats:
        """Sum counts per image [N, K] to counts per unit [U, K]."""
        result = np.zeros((sum(self.strata), counts.shape[1]))
        np.add.at(result, self.unit, counts)
        return result

    def weights(self, resamples: int) -> Iterator[Floats]:
        """Yield how often each unit is drawn, in chunks [R', U]; deterministic."""
        generator = np.random.default_rng(SEED)
        for start in range(0, resamples, CHUNK):
            size = min(CHUNK, resamples - start)
            yield np.concatenate([_drawn(generator, size, n, self.block) for n in self.strata], axis=1)


def _drawn(generator: np.random.Generator, size: int, units: int, block: int) -> Floats:
    """Weights [size, units] of `size` resamples of one stratum, each of `units` draws."""
    length = min(block, units)
    starts = generator.integers(0, units, (size, -(-units // length)), dtype=np.int32)
    drawn = (starts[:, :, None] + np.arange(length, dtype=np.int32)).reshape(size, -1)[:, :units] % units
    drawn += np.arange(size, dtype=np.int32)[:, None] * np.int32(units)
    return np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)


def resampling(images: int, groups: Groups | None) -> Resampling:
    """Choose units and strata for `images` images with the given groups."""
    if groups is None or len(set(groups.names)) == images:
        return over_images(images)
    sizes = Counter(groups.names)  # in the order of their first images
    place = {name: number for number, name in enumerate(sizes)}
    of_image = np.array([place[name] for name in groups.names], dtype=np.intp)
    if groups.block and effective(tuple(sizes.values())) < ENOUGH:
        return _over_blocks(of_image, tuple(sizes.values()), groups)
    if len(sizes) == 1:
        return over_images(images, f"of 1 {groups.noun}")
    return Resampling(
        kind=_kind(counted(len(sizes), groups.noun), len(sizes)), unit=of_image, strata=(len(sizes),)
    )


def over_images(images: int, of: str = "") -> Resampling:
    """Resampling of single images; `of` describes the one group that all belong to, if there is one."""
    what = f"{counted(images, 'image')} {of}".strip()
    return Resampling(kind=_kind(what, 1 if of else images), unit=np.arange(images), strata=(images,))


def _over_blocks(of_image: npt.NDArray[np.intp], sizes: tuple[int, ...], groups: Groups) -> Resampling:
    """Resampling of blocks within groups, whose images need not be consecutive in the split."""
    unit = np.empty(len(of_image), dtype=np.intp)
    unit[np.argsort(of_image, kind="stable")] = np.arange(len(of_image))
    blocks = sum(-(-size // groups.block) for size in sizes)
    what = f"blocks of {groups.block} consecutive frames of {counted(len(sizes), groups.noun)}"
    return Resampling(kind=_kind(what, blocks), unit=unit, strata=sizes, block=groups.block)


def effective(sizes: tuple[int, ...]) -> float:
    """Kish's effective number of groups: 3 for three of one size, near 1 if one has nearly all images."""
    return sum(sizes) ** 2 / sum(size**2 for size in sizes)


def _kind(what: str, units: int) -> str:
    few = f" (fewer than {ENOUGH} independent units: likely too narrow)" if units < ENOUGH else ""
    return f"95 % percentile bootstrap over {what}{few}"


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
    """Percentile bootstrap interval of the mIoU; deterministic.

    Args:
        confusions: matrices per image.
        chosen: indices of the classes in the mean.
        absent: treatment of classes that a resample does not contain.
        over: units and strata (default: single images).
        level: nominal coverage.
        resamples: number of resamples.

    Returns:
        (low, high) in percent; NaN if the mIoU of every resample is undefined.
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
    """Intersections and unions of the chosen classes per image, float64 [N, C].

    `union_bug` computes the unions of page 000, which count the row sum twice and omit pixels without class.
    """
    right, true, given = (part[:, chosen].astype(np.float64) for part in confusions.by_image())
    if union_bug:
        return right, 2 * (true - confusions.dropped()[:, chosen]) - right
    return right, true + given - right


def miou_draws(pair: tuple[Floats, Floats], over: Resampling, *, resamples: int, absent: Absent) -> Floats:
    """mIoU per resample in percent, [R]; deterministic."""
    return np.concatenate([class_mean(iou, absent) for iou in iou_draws(pair, over, resamples=resamples)])


def iou_draws(pair: tuple[Floats, Floats], over: Resampling, *, resamples: int) -> Iterator[Floats]:
    """IoU per resample and class in percent, in chunks [R', C]; NaN for classes that are not drawn."""
    inter_union = over.sums(np.concatenate(pair, axis=1))
    classes = pair[0].shape[1]
    for weights in over.weights(resamples):
        sums = weights @ inter_union
        yield 100 * ratio(sums[:, :classes], sums[:, classes:])


def class_mean(iou: Floats, absent: Absent) -> Floats:
    """Mean over classes per row; NaN is skipped or counts as 0."""
    known = ~np.isnan(iou)
    number = np.full(len(iou), iou.shape[1]) if absent == "zero" else known.sum(1)
    total = np.where(known, iou, 0).sum(1)
    result: Floats = np.full(len(iou), np.nan)
    np.divide(total, number, out=result, where=number > 0)
    return result
