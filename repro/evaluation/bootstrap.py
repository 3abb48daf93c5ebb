"""Bootstrap intervals of mean IoU over images, groups of images, or blocks of consecutive images.

Such images are not independent, so an interval that resamples them one by one is too narrow. A data set whose
file names say which images belong together has in its module

    group(id)   the name of an image's group
    GROUP       what a group is, in the singular: "video", "source image"
    BLOCK       images in a block, where a group is a sequence in time; without it a group has no order

Data sets without these have independent images, or names that do not say.

Images of one group (frames of a video, tiles of an aerial image) are not independent. With enough groups a
group is drawn with all its images (a cluster bootstrap). With few and long groups that are sequences in time,
blocks of consecutive images are drawn within each group; a block that reaches the end of its group continues
at its beginning (the circular block bootstrap of Politis and Romano, 1992). Else each image is drawn alone.

All three draw blocks of units within strata. An image is a unit in a single stratum, in blocks of 1, and so
is a group; with blocks the units are images, the strata groups. Shapes: N images, U units, R resamples.

An image is drawn with all its pixels, because neighbouring pixels are not independent, and images that belong
together are drawn together: `resampling` says which. A resample is a weight for every unit; with all weights
in one matrix the resampled sums are one matrix product: weights [R, U] x counts [U, 2C]. Percentile, not BCa:
docs/decisions/2026-11-29-intervals.md. Shapes: R resamples, N images, U units, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repro.evaluation.confusion import Confusions
from repro.evaluation.metrics import Absent, Floats


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The group of every image, in the order of the images; `block` is 0 where groups have no order."""

    names: tuple[str, ...]
    noun: str
    block: int = 0


def groups_of(dataset: str, ids: Sequence[str]) -> Groups | None:
    """The groups of the images `ids` of a data set; None where its module says none."""
    from repro.datasets import (
        DATASETS,  # here, for its modules import OpenCV, which reading matrices need not
    )

    module = DATASETS.get(dataset)
    group = getattr(module, "group", None)
    if group is None:
        return None
    return Groups(
        names=tuple(group(name) for name in ids),
        noun=str(getattr(module, "GROUP", "group")),
        block=int(getattr(module, "BLOCK", 0)),
    )


# With fewer independent units a percentile interval is clearly too narrow. Measured coverage of a
# nominal 95 %: 84 % with 5 groups, 89 % with 10, 91 % with 20, 93 % with 40 (docs/decisions/
# 2026-11-29-intervals.md).
ENOUGH = 20
CHUNK = 1_000  # resamples at a time: 1,000 x 2,000 weights are 16 MB
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """Units and strata of a bootstrap; `kind` names the interval that it gives."""

    kind: str
    unit: npt.NDArray[np.intp]  # [N] the unit of every image; the units of a stratum are consecutive
    strata: tuple[int, ...]  # number of units in each
    block: int = 1  # consecutive units drawn together

    def sums(self, counts: Floats) -> Floats:
        """Counts of images [N, K] as counts of units [U, K]."""
        result = np.zeros((sum(self.strata), counts.shape[1]))
        np.add.at(result, self.unit, counts)
        return result

    def weights(self, resamples: int) -> Iterator[Floats]:
        """How often every unit is drawn: chunks [R', U], the same for every call."""
        generator = np.random.default_rng(SEED)
        for start in range(0, resamples, CHUNK):
            size = min(CHUNK, resamples - start)
            yield np.concatenate([_drawn(generator, size, n, self.block) for n in self.strata], axis=1)


def _drawn(generator: np.random.Generator, size: int, units: int, block: int) -> Floats:
    """Weights [size, units] of `size` resamples of one stratum: as many draws as it has units."""
    length = min(block, units)
    starts = generator.integers(0, units, (size, -(-units // length)), dtype=np.int32)
    drawn = (starts[:, :, None] + np.arange(length, dtype=np.int32)).reshape(size, -1)[:, :units] % units
    drawn += np.arange(size, dtype=np.int32)[:, None] * np.int32(units)
    return np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)


def resampling(images: int, groups: Groups | None) -> Resampling:
    """What to resample of a split of `images`, of which `groups` belong together."""
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
    """Every image by itself; `of` names what they are all part of, if they are."""
    what = f"{counted(images, 'image')} {of}".strip()
    return Resampling(kind=_kind(what, 1 if of else images), unit=np.arange(images), strata=(images,))


def _over_blocks(of_image: npt.NDArray[np.intp], sizes: tuple[int, ...], groups: Groups) -> Resampling:
    """Blocks within groups, whose images need not be consecutive in the split."""
    unit = np.empty(len(of_image), dtype=np.intp)
    unit[np.argsort(of_image, kind="stable")] = np.arange(len(of_image))
    blocks = sum(-(-size // groups.block) for size in sizes)
    what = f"blocks of {groups.block} consecutive frames of {counted(len(sizes), groups.noun)}"
    return Resampling(kind=_kind(what, blocks), unit=unit, strata=sizes, block=groups.block)


def effective(sizes: tuple[int, ...]) -> float:
    """Kish's effective number of groups: 3 for three of one size, near 1 where one has nearly all images."""
    return sum(sizes) ** 2 / sum(size**2 for size in sizes)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


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
