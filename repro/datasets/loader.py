"""Batches of training samples, and the cache of decoded images.

Workers are threads: decoding, resizing and colour conversion release the GIL, nothing is copied between
processes, and exceptions keep their type. A sample is determined by (seed, epoch, index), independent of the
number of workers, the rank, the point of resume and the cache.

The cache is a file per split, `.repro/cache/<dataset>_<split>_<fingerprint>.u8`, with image (HWC) and label
(HW) of each sample. The fingerprint in the name prevents the use of a stale cache. It is built under a lock
and renamed when complete, so several processes can share it.
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
from repro.datasets.augment.rng import Rng
from repro.datasets.formats.image_io import Pixels
from repro.datasets.prepare.prepared_split import Split
from repro.errors import DataError, StorageError
from repro.io.threads import in_order
from repro.params import Augmentation
from repro.records import locked

AHEAD = 2  # batches prepared in advance
_ORDER, _SAMPLE = 0, 1  # first seed of the generators, to keep orders and samples independent


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A training batch; image_NCHW has channels-last memory format."""

    image_NCHW: torch.Tensor  # uint8 RGB
    label_NHW: torch.Tensor  # uint8, 255 = ignore
    ids: tuple[str, ...]


def batches_per_epoch(n_images: int, batch: int) -> int:
    """Return the number of full batches per epoch. Raises DataError if there is none."""
    if n_images < batch:
        raise DataError(f"batch size {batch} exceeds {n_images} images", allowed=f"at most {n_images}")
    return n_images // batch


@lru_cache(maxsize=4)
def epoch_order(n_images: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of the images in an epoch."""
    return Rng(_ORDER, seed, epoch).permutation(n_images)


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
    """Iterate over the batches of iterations start..stop-1; a resumed run gets the same batches.

    Args:
        split: The prepared split.
        augmentation: Parameters of the augmentation.
        batch: Total batch size over all processes, a multiple of `world`.
        seed: Seed of orders and samples.
        start: First iteration, counted over all epochs from 0.
        stop: Iteration to stop before.
        workers: Number of threads; 0 uses the caller's thread.
        rank: Rank of this process; it gets samples rank, rank + world, ... of each batch.
        world: Number of processes.
        epoch_images: Samples per epoch (default: the split's); if larger, the first images are repeated.
    """
    if batch % world:
        raise DataError(f"batch size {batch} over {world} processes", allowed=f"a multiple of {world}")
    counted = epoch_images or len(split)
    per_epoch = batches_per_epoch(counted, batch)
    make = _sample_function(split, augmentation, seed)

    def wanted(iteration: int) -> list[tuple[int, int]]:
        epoch, position = divmod(iteration, per_epoch)
        order = np.resize(epoch_order(len(split), seed=seed, epoch=epoch), counted)
        chosen = order[position * batch : (position + 1) * batch]
        return [(epoch, int(i)) for i in chosen[rank::world]]

    share = batch // world
    work = (want for iteration in range(start, stop) for want in wanted(iteration))
    samples = in_order(make, work, workers=workers, ahead=AHEAD * share, name="samples")
    return _batched(samples, share)


Sample = tuple[Pixels, Pixels, str]  # image_HWC, label_HW, id


def _sample_function(
    split: Split, augmentation: Augmentation, seed: int
) -> Callable[[tuple[int, int]], Sample]:
    """A function from (epoch, index) to an augmented sample."""
    crop, rest = steps(augmentation, classes=len(split.classes))
    pixels = open_cache(split) if augmentation.cache else split
    ids = split.ids

    def make(wanted: tuple[int, int]) -> Sample:
        epoch, i = wanted
        rng = Rng(_SAMPLE, seed, epoch, i)
        image_HWC, label_HW = crop(pixels.lazy_image(i), pixels.label(i), rng)
        for step in rest:
            image_HWC, label_HW = step(image_HWC, label_HW, rng)
        return image_HWC, label_HW, ids[i]

    return make


def _batched(samples: Generator[Sample], batch: int) -> Iterator[Batch]:
    with closing(samples):
        while group := list(islice(samples, batch)):
            yield _collate(group)


def _collate(samples: list[Sample]) -> Batch:
    images_NHWC = np.stack([image for image, _, _ in samples])
    labels_NHW = np.stack([label for _, label, _ in samples])
    return Batch(
        image_NCHW=torch.from_numpy(images_NHWC).permute(0, 3, 1, 2),
        label_NHW=torch.from_numpy(labels_NHW),
        ids=tuple(name for _, _, name in samples),
    )


BUILD_TIMEOUT = 24 * 3600.0  # seconds, for a large split on a slow disk; the builder sends heartbeats


class CachedPixels:
    """Read-only views of images and labels in the memory map."""

    def __init__(self, path: Path, split: Split) -> None:
        self._sizes = [(s.height, s.width) for s in split.samples]
        self._offsets = _offsets(split)
        self._data: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)

    def image(self, i: int) -> Pixels:
        """Return image_HWC, uint8 RGB."""
        height, width = self._sizes[i]
        start = self._offsets[2 * i]
        return self._data[start : start + height * width * 3].reshape(height, width, 3)

    lazy_image = image  # it is decoded already

    def label(self, i: int) -> Pixels:
        """Return label_HW, uint8."""
        height, width = self._sizes[i]
        start = self._offsets[2 * i + 1]
        return self._data[start : start + height * width].reshape(height, width)


def cache_bytes(split: Split) -> int:
    """Return the size of a split's cache: 4 bytes per pixel."""
    return sum(4 * s.height * s.width for s in split.samples)


def cache_path(split: Split) -> Path:
    """Return the path of a split's cache: in the project's .repro/cache, or else next to the split."""
    homes = [parent for parent in split.path.resolve().parents if (parent / "params.yaml").is_file()]
    folder = homes[0] / ".repro" / "cache" if homes else split.path.resolve().parent / ".cache"
    name = f"{split.facts['dataset']}_{split.facts['split']}_{split.fingerprint[:16]}.u8"
    return folder / name


def open_cache(split: Split) -> CachedPixels:
    """Open the cache of a split and build it if necessary. Raises StorageError if the disk is too small."""
    path = cache_path(split)
    if not _is_complete(path, split):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(
            path.with_name(f"{path.name}.lock"), "the pixels are being decoded", timeout=BUILD_TIMEOUT
        ):
            if not _is_complete(path, split):
                _build(path, split)
    return CachedPixels(path, split)


def _is_complete(path: Path, split: Split) -> bool:
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
