"""Decoded pixels in a memory map: decode once, then a sample costs only its augmentation.

One file a split, `.repro/cache/<dataset>_<split>_<fingerprint>.u8`: all images (HWC), then all labels (HW).
The fingerprint in the name makes a stale cache impossible to open. Several processes may ask for it at
once: one builds it under a lock, the others wait; a build that was killed leaves no file of that name.
"""

from __future__ import annotations

import os
import shutil
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repro.datasets.archive import Split
from repro.datasets.images import Pixels
from repro.errors import StorageError
from repro.records import locked

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
        with locked(path.with_name(f"{path.name}.lock"), "the pixels are being decoded", patience=HOURS):
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
