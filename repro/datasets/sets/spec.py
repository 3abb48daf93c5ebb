"""What a data set module says: facts as constants, two functions that find and read its pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from repro.datasets.formats.image_io import Pixels as Pixels
from repro.datasets.raw.source import Source
from repro.datasets.sets.palettes import Colour as Colour
from repro.errors import DataError

IGNORE = 255  # void, unlabelled, eroded borders: never trained, never counted


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One image and its label: names inside the source, and the id it gets in the prepared split."""

    id: str
    image: str
    label: str | None  # None: a test split whose labels the owner keeps


@dataclass(frozen=True, kw_only=True)
class Window:
    """A tile of a large image: rows top..bottom, columns left..right, the ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def name(self) -> str:
        """x before y, as the converters of page 004 name tiles."""
        return f"{self.left}_{self.top}_{self.right}_{self.bottom}"


@dataclass(frozen=True, kw_only=True)
class Download:
    """One file of the owner: its name, its published checksum if there is one, where to get it."""

    name: str
    page: str  # where a person downloads it
    size_GB: float
    url: str | None = None  # only where the licence allows an anonymous download
    checksum: str | None = None  # "md5:..." or "sha256:...", as the owner publishes it


class SplitAbsent(DataError):
    """A split of which nothing is here: not a mistake as long as nobody asks for it."""

    def __init__(self, what: str, *, where: object, allowed: object | None = None) -> None:
        hint = "complete the data, or take the split out of datasets: in params.yaml"
        super().__init__(what, where=where, allowed=allowed, hint=hint)


class DatasetModule(Protocol):
    """The contract of every module in `DATASETS`; plain constants and functions, no base class.

    A module whose large images are cut has besides `windows(height, width, split)`, the tiles of an image in
    order (none: keep it whole), and `IMAGES`, the official numbers before cutting; its SPLITS count windows.
    A module whose file names say which images belong together has `group(id)`, `GROUP` and, for sequences in
    time, `BLOCK`: see `groups`.
    """

    TITLE: str
    CLASSES: tuple[str, ...]
    PALETTE: tuple[Colour, ...]
    SPLITS: Mapping[str, int]  # official sizes
    LICENCE: str
    PAGE: str
    LAYOUT: str  # what `repro data link` expects, one line a part
    DOWNLOADS: tuple[Download, ...]
    MARKERS: tuple[str, ...]  # files or folders that tell where the layout begins

    def pairs(self, source: Source, split: str) -> list[Pair]:
        """The official pairs of a split, in a fixed order; DataError when one half is missing."""
        ...

    def read_label(self, source: Source, pair: Pair) -> Pixels:
        """label_HW uint8: train ids from 0, 255 = ignore."""
        ...
