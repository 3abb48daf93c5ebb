"""What the bootstrap resamples: images, whole groups of images, or blocks of consecutive images.

Images of one group (frames of a video, tiles of an aerial image) are not independent. With enough groups a
group is drawn with all its images (a cluster bootstrap). With few and long groups that are sequences in time,
blocks of consecutive images are drawn within each group; a block that reaches the end of its group continues
at its beginning (the circular block bootstrap of Politis and Romano, 1992). Else each image is drawn alone.

All three draw blocks of units within strata. An image is a unit in a single stratum, in blocks of 1, and so
is a group; with blocks the units are images, the strata groups. Shapes: N images, U units, R resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repro.evaluation.groups import Groups

Floats = npt.NDArray[np.float64]
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
