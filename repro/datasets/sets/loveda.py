"""LoveDA, land cover from 0.3 m aerial images, 7 classes (page 004). Wang et al., NeurIPS 2021.

Value 0 (no data) is ignored and 1-7 become 0-6. The images are tiles of larger ones, but their names are
plain numbers without the larger image, so there is no `group`. Ids contain the scene: `rural_0`,
`urban_1366`. The domain-adaptation rows are separate data sets: `loveda_r2u` trains on rural and evaluates on
urban images, `loveda_u2r` vice versa.
"""

from __future__ import annotations

from collections.abc import Mapping

from repro.datasets.formats.label_maps import value_table
from repro.datasets.raw.match_files import files_by_stem, match_pairs, read_values, unlabelled_pairs
from repro.datasets.raw.source import Source
from repro.datasets.sets.spec import IGNORE, Colour, Download, Pair, Pixels

TITLE = "LoveDA (rural and urban)"
CLASSES: tuple[str, ...] = ("background", "building", "road", "water", "barren", "forest", "agricultural")
PALETTE: tuple[Colour, ...] = (
    (255, 255, 255),
    (255, 0, 0),
    (255, 255, 0),
    (0, 0, 255),
    (159, 129, 183),
    (0, 255, 0),
    (255, 195, 128),
)
SPLITS: Mapping[str, int] = {
    "train": 2522,
    "val": 1669,
    "test": 1796,
    "train_rural": 1366,
    "train_urban": 1156,
    "val_rural": 992,
    "val_urban": 677,
}
LICENCE = "CC BY-NC-SA 4.0"
PAGE = "zenodo.org/records/5706578"
LAYOUT = "{Train,Val,Test}/{Rural,Urban}/{images_png,masks_png}"
_BASE = "https://zenodo.org/records/5706578/files"
DOWNLOADS: tuple[Download, ...] = (
    Download(
        name="Train.zip",
        page=PAGE,
        size_GB=4.02,
        url=f"{_BASE}/Train.zip?download=1",
        checksum="md5:de2b196043ed9b4af1690b3f9a7d558f",
    ),
    Download(
        name="Val.zip",
        page=PAGE,
        size_GB=2.43,
        url=f"{_BASE}/Val.zip?download=1",
        checksum="md5:84cae2577468ff0b5386758bb386d31d",
    ),
    Download(
        name="Test.zip",
        page=PAGE,
        size_GB=3.13,
        url=f"{_BASE}/Test.zip?download=1",
        checksum="md5:a489be0090465e01fb067795d24e6b47",
    ),
)
MARKERS: tuple[str, ...] = ("Val",)
_COLOURS: Mapping[int, Colour] = dict(enumerate(((0, 0, 0), *PALETTE)))
_VALUES = value_table({0: IGNORE, **{i: i - 1 for i in range(1, 8)}})


def pairs(source: Source, split: str) -> list[Pair]:
    """Return the pairs of a split, rural first, then urban."""
    part, _, only = split.partition("_")
    scenes = [only] if only else ["rural", "urban"]
    return [pair for scene in scenes for pair in scene_pairs(source, part, scene)]


def scene_pairs(source: Source, part: str, scene: str) -> list[Pair]:
    """Return the pairs of a scene of train, val or test."""
    folder = f"{part.capitalize()}/{scene.capitalize()}"
    images = files_by_stem(source, f"{folder}/images_png")
    if part == "test":
        return unlabelled_pairs(images, prefix=f"{scene}_")
    return match_pairs(source, images, files_by_stem(source, f"{folder}/masks_png"), prefix=f"{scene}_")


def read_label(source: Source, pair: Pair) -> Pixels:
    """Read label_HW: 0 is ignored, 1-7 become 0-6."""
    return read_values(source, pair, _VALUES, _COLOURS)
