"""Inria Aerial Image Labeling, building or not (rows 003-070 to 003-077). Maggiori et al., IGARSS 2017.

180 labelled images of 5000x5000 are published. Page 003 evaluated on 18 of them, listed here, and trained on
25 windows of 1000x1000 from each of the other 162. Values 0 and 255 become 0 and 1.
"""

from __future__ import annotations

from collections.abc import Mapping

from repro.datasets.formats.label_maps import value_table
from repro.datasets.prepare.convert import grid, source_image
from repro.datasets.raw.match_files import RETRY, files_by_stem, match_pairs, read_values, unlabelled_pairs
from repro.datasets.raw.source import Source
from repro.datasets.sets.spec import Colour, Download, Pair, Pixels, Window
from repro.errors import DataError

TITLE = "Inria Aerial Image Labeling (split of page 003)"
CLASSES: tuple[str, ...] = ("background", "building")
PALETTE: tuple[Colour, ...] = ((0, 0, 0), (255, 255, 255))
SPLITS: Mapping[str, int] = {"train": 4050, "val": 18, "test": 180}  # train: windows
IMAGES: Mapping[str, int] = {"train": 162, "val": 18, "test": 180}
VAL = frozenset(
    {
        *("vienna13", "vienna14", "vienna27", "vienna29", "tyrol-w3", "tyrol-w12", "tyrol-w25"),
        *("austin1", "austin6", "austin35", "kitsap24"),
        *("chicago5", "chicago7", "chicago11", "chicago16", "chicago17", "chicago34", "chicago36"),
    }
)
LICENCE = "open for research, see the official page"
PAGE = "project.inria.fr/aerialimagelabeling"
LAYOUT = "AerialImageDataset/{train/{images,gt},test/images}/*.tif"
DOWNLOADS: tuple[Download, ...] = (Download(name="NEW2-AerialImageDataset.zip", page=PAGE, size_GB=20.7),)
MARKERS: tuple[str, ...] = ("train/images", "train/gt")
WINDOW = 1000
GROUP, group = "source image", source_image
_VALUES = value_table({0: 0, 255: 1})
_COLOURS: Mapping[int, Colour] = dict(zip((0, 255), PALETTE, strict=True))


def pairs(source: Source, split: str) -> list[Pair]:
    """Return the 18 images of VAL, the other labelled ones (train), or the unlabelled test images."""
    if split == "test":
        return unlabelled_pairs(files_by_stem(source, "test/images"))
    images, labels = files_by_stem(source, "train/images"), files_by_stem(source, "train/gt")
    missing = sorted(VAL - images.keys())
    if split == "val" and missing:
        where = source.place(f"train/images/{missing[0]}.tif")
        raise DataError("missing image of the val split", where=where, hint=RETRY)
    return [pair for pair in match_pairs(source, images, labels) if (pair.id in VAL) == (split == "val")]


def read_label(source: Source, pair: Pair) -> Pixels:
    """Read label_HW: 255 (building) becomes 1."""
    return read_values(source, pair, _VALUES, _COLOURS)


def windows(height: int, width: int, split: str) -> list[Window]:
    """Return 25 windows of 1000x1000 for training; val and test images are not cut."""
    return grid(height, width, size=WINDOW, step=WINDOW) if split == "train" else []
