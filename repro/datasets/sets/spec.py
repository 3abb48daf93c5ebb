"""The protocol of data set modules, and the types they use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from repro.datasets.formats.image_io import Pixels as Pixels
from repro.datasets.raw.source import Source
from repro.datasets.sets.palettes import Colour as Colour
from repro.errors import DataError

IGNORE = 255  # void, unlabelled, eroded borders: neither trained nor evaluated


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An image and its label: names inside the source, and the id in the prepared split."""

    id: str
    image: str
    label: str | None  # None: a test split without published labels


@dataclass(frozen=True, kw_only=True)
class Window:
    """A tile of a large image: rows top..bottom-1, columns left..right-1."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def name(self) -> str:
        """x before y, as in the tile names of page 004's converters."""
        return f"{self.left}_{self.top}_{self.right}_{self.bottom}"


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file to download: name, page, size, and published checksum if there is one."""

    name: str
    page: str  # for a manual download
    size_GB: float
    url: str | None = None  # only if the licence allows an anonymous download
    checksum: str | None = None  # "md5:..." or "sha256:...", as published


class SplitAbsent(DataError):
    """All files of a split are missing; an error only if the split is required."""

    def __init__(self, what: str, *, where: object, allowed: object | None = None) -> None:
        hint = "complete the data, or remove the split from datasets: in params.yaml"
        super().__init__(what, where=where, allowed=allowed, hint=hint)


class DatasetModule(Protocol):
    """The interface of the modules in `DATASETS`: constants and functions.

    Optional: `windows(height, width, split)` returns the tiles of an image in order (none: do not cut it),
    with `IMAGES`, the official number of images, while SPLITS counts tiles. `group(id)` returns the group of
    related images, such as frames of a video, with `GROUP`, the name of the groups, and `BLOCK`, the block
    length of time sequences, for bootstrap intervals. In a module of a project, `draw(folder)` writes a few
    small images of its layout for smoke runs, and returns the number of samples of each split.
    """

    TITLE: str
    CLASSES: tuple[str, ...]
    PALETTE: tuple[Colour, ...]
    SPLITS: Mapping[str, int]  # official sizes
    LICENCE: str
    PAGE: str
    LAYOUT: str  # the files that `repro data link` expects
    DOWNLOADS: tuple[Download, ...]
    MARKERS: tuple[str, ...]  # files or folders at the top of the layout

    def pairs(self, source: Source, split: str) -> list[Pair]:
        """Return the official pairs of a split in a fixed order. Raises DataError for missing files."""
        ...

    def read_label(self, source: Source, pair: Pair) -> Pixels:
        """Read label_HW, uint8: train ids from 0, 255 = ignore."""
        ...
