"""Batches of training samples, and the cache of decoded images.

Workers are threads: decoding, resizing and colour conversion release the interpreter lock, nothing is
copied between processes, and an error arrives as itself.

A sample depends on (seed, epoch, index) alone: never on the number of
workers, on the rank that draws it, on where a run was resumed, or on the cache.

One file a split, `.repro/cache/<dataset>_<split>_<fingerprint>.u8`: all images (HWC), then all labels (HW).
The fingerprint in the name makes a stale cache impossible to open. Several processes may ask for it at
once: one builds it under a lock, the others wait; a build that was killed leaves no file of that name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from repro.datasets.augment.pages import steps
from repro.datasets.augment.rng import Draw
from repro.datasets.formats.image_io import Pixels
from repro.datasets.prepare.prepared_split import Split
from repro.errors import DataError, StorageError
from repro.io.threads import in_order
from repro.params import Augmentation
from repro.records import locked

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
        raise DataError(f"batch size {batch} exceeds {n_images} images", allowed=f"at most {n_images}")
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
        raise DataError(f"batch size {batch} over {world} processes", allowed=f"a multiple of {world}")
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


HOURS = 24 * 3600.0  # of a large split on a slow disk; who decodes shows signs of life all the time


class CachedPixels:
    """image(i) and label(i) as views into the memory map; read-only."""

    def __init__(self, path: Path, split: Split) -> None:
        self._sizes = [(s.height, s.width) for s in split.samples]
        self._offsets = _offsets(split)
        self._data: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)

    def image(self, i: int) -> Pixels:
        """image_HWC uint8 RGB."""
        height, width = self._sizes[i]
        start = self._offsets[2 * i]
        return self._data[start : start + height * width * 3].reshape(height, width, 3)

    picture = image  # nothing is left to decode

    def label(self, i: int) -> Pixels:
        """label_HW uint8."""
        height, width = self._sizes[i]
        start = self._offsets[2 * i + 1]
        return self._data[start : start + height * width].reshape(height, width)


def cache_bytes(split: Split) -> int:
    """What the cache of a split takes on the disk: 4 bytes a pixel."""
    return sum(4 * s.height * s.width for s in split.samples)


def cache_path(split: Split) -> Path:
    """Under .repro/cache of the project that holds the split; beside the split when there is none."""
    homes = [parent for parent in split.path.resolve().parents if (parent / "params.yaml").is_file()]
    folder = homes[0] / ".repro" / "cache" if homes else split.path.resolve().parent / ".cache"
    name = f"{split.facts['dataset']}_{split.facts['split']}_{split.fingerprint[:16]}.u8"
    return folder / name


def open_cache(split: Split) -> CachedPixels:
    """The cache of a split, built first when it is not there. StorageError when it does not fit."""
    path = cache_path(split)
    if not _whole(path, split):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f"{path.name}.lock"), "the pixels are being decoded", timeout=HOURS):
            if not _whole(path, split):
                _build(path, split)
    return CachedPixels(path, split)


def _whole(path: Path, split: Split) -> bool:
    return path.exists() and path.stat().st_size == cache_bytes(split)


def _build(path: Path, split: Split) -> None:
    needed, free = cache_bytes(split), shutil.disk_usage(path.parent).free
    if needed > free:
        raise StorageError(
            f"the pixel cache needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            where=path,
            hint="free some space or set augmentation.cache to false",
        )
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as out:
            for i in range(len(split)):
                out.write(np.ascontiguousarray(split.image(i)).data)
                out.write(np.ascontiguousarray(split.label(i)).data)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _offsets(split: Split) -> list[int]:
    sizes = (size for s in split.samples for size in (3 * s.height * s.width, s.height * s.width))
    return [0, *accumulate(sizes)]
