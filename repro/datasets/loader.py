"""Batches of training samples. A sample depends on (seed, epoch, index) alone: never on the number of
workers, on the rank that draws it, on where a run was resumed, or on the cache.

Workers are threads: decoding, resizing and colour conversion release the interpreter lock, nothing is
copied between processes, and an error arrives as itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from repro.datasets.archive import Split
from repro.datasets.cache import open_cache
from repro.datasets.draw import Draw
from repro.datasets.images import Pixels
from repro.datasets.pipelines import steps
from repro.errors import DataError
from repro.params import Augmentation
from repro.threads import in_order

AHEAD = 2  # batches that are being made while one is used
_ORDER, _SAMPLE = 0, 1  # the first seed number: orders and samples never share a stream


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one training step gets; image_NCHW is a channels-last view, ready for channels_last networks."""

    image_NCHW: torch.Tensor  # uint8 RGB
    label_NHW: torch.Tensor  # uint8, 255 = ignore
    ids: tuple[str, ...]


def batches_per_epoch(n_images: int, batch: int) -> int:
    """Full batches in one pass; the incomplete last one is dropped. DataError when there is not even one."""
    if n_images < batch:
        raise DataError(f"a batch of {batch} from {n_images} images", allowed=f"at most {n_images}")
    return n_images // batch


@lru_cache(maxsize=4)
def epoch_order(n_images: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of the images in one epoch."""
    return Draw(_ORDER, seed, epoch).permutation(n_images)


def batches(
    split: Split,
    augmentation: Augmentation,
    *,
    batch: int,
    seed: int,
    start: int,
    stop: int,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
    epoch_images: int | None = None,
) -> Iterator[Batch]:
    """The batches of global iterations start..stop-1, so that a resumed run sees what it would have seen.

    `batch` is the total over all processes and must be a multiple of `world`; rank r gets the samples
    r, r + world, ... of it. `workers` threads prepare ahead; 0 works in the caller's thread. An epoch has
    `epoch_images` samples (default: the split's); where that is more, its first images come once more.
    """
    if batch % world:
        raise DataError(f"a batch of {batch} over {world} processes", allowed=f"a multiple of {world}")
    counted = epoch_images or len(split)
    per_epoch = batches_per_epoch(counted, batch)
    make = _maker(split, augmentation, seed)

    def wanted(iteration: int) -> list[tuple[int, int]]:
        epoch, position = divmod(iteration, per_epoch)
        order = np.resize(epoch_order(len(split), seed=seed, epoch=epoch), counted)
        chosen = order[position * batch : (position + 1) * batch]
        return [(epoch, int(i)) for i in chosen[rank::world]]

    share = batch // world
    work = (want for iteration in range(start, stop) for want in wanted(iteration))
    samples = in_order(make, work, workers=workers, ahead=AHEAD * share, name="samples")
    return _collated(samples, share)


Made = tuple[Pixels, Pixels, str]


def _maker(split: Split, augmentation: Augmentation, seed: int) -> Callable[[tuple[int, int]], Made]:
    """A function of (epoch, index) that makes a finished sample."""
    crop, rest = steps(augmentation, classes=len(split.classes))
    pixels = open_cache(split) if augmentation.cache else split
    ids = split.ids

    def make(wanted: tuple[int, int]) -> Made:
        epoch, i = wanted
        draw = Draw(_SAMPLE, seed, epoch, i)
        image_HWC, label_HW = crop(pixels.picture(i), pixels.label(i), draw)
        for step in rest:
            image_HWC, label_HW = step(image_HWC, label_HW, draw)
        return image_HWC, label_HW, ids[i]

    return make


def _collated(samples: Generator[Made], batch: int) -> Iterator[Batch]:
    with closing(samples):
        while made := list(islice(samples, batch)):
            yield _collate(made)


def _collate(made: list[Made]) -> Batch:
    images_NHWC = np.stack([image for image, _, _ in made])
    labels_NHW = np.stack([label for _, label, _ in made])
    return Batch(
        image_NCHW=torch.from_numpy(images_NHWC).permute(0, 3, 1, 2),
        label_NHW=torch.from_numpy(labels_NHW),
        ids=tuple(name for _, _, name in made),
    )
