"""Cityscapes, 19 classes (pages: 000, 001, 002, 003). Cordts et al., CVPR 2016.

The label files have 34 label ids; the 19 evaluated ones become train ids, the others are ignored. The labels
of the test split are not published (its files are empty), so it has none here.
"""

from __future__ import annotations

from collections.abc import Mapping

from repro.datasets.formats.label_maps import value_table
from repro.datasets.raw.match_files import files_by_stem, match_pairs, read_values, unlabelled_pairs
from repro.datasets.raw.source import Source
from repro.datasets.sets.spec import IGNORE, Colour, Download, Pair, Pixels

# name, label id in the files, colour: the 19 classes in the order of their train ids.
_TABLE: tuple[tuple[str, int, Colour], ...] = (
    ("road", 7, (128, 64, 128)),
    ("sidewalk", 8, (244, 35, 232)),
    ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)),
    ("fence", 13, (190, 153, 153)),
    ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)),
    ("traffic sign", 20, (220, 220, 0)),
    ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)),
    ("sky", 23, (70, 130, 180)),
    ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)),
    ("car", 26, (0, 0, 142)),
    ("truck", 27, (0, 0, 70)),
    ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)),
    ("motorcycle", 32, (0, 0, 230)),
    ("bicycle", 33, (119, 11, 32)),
)
TITLE = "Cityscapes (fine labels)"
CLASSES: tuple[str, ...] = tuple(name for name, _, _ in _TABLE)
PALETTE: tuple[Colour, ...] = tuple(colour for _, _, colour in _TABLE)
SPLITS: Mapping[str, int] = {"train": 2975, "val": 500, "test": 1525}
LICENCE = "research use, registration needed, no redistribution"
PAGE = "www.cityscapes-dataset.com"
LAYOUT = "leftImg8bit/<split>/<city>/*_leftImg8bit.png and gtFine/<split>/<city>/*_gtFine_labelIds.png"
DOWNLOADS: tuple[Download, ...] = (
    Download(
        name="leftImg8bit_trainvaltest.zip",
        page=PAGE,
        size_GB=11.6,
        checksum="md5:0a6e97e94b616a514066c9e2adb0c97f",
    ),
    Download(
        name="gtFine_trainvaltest.zip",
        page=PAGE,
        size_GB=0.25,
        checksum="md5:4237c19de34c8a376e9ba46b495d6f66",
    ),
)
MARKERS: tuple[str, ...] = ("leftImg8bit",)
GROUP = "city"
BLOCK = 10  # frames in the order of the drive, as for CamVid; their correlation is not measured
# Colours of the ids that are not evaluated; 0 to 4 are black. Pole and pole group (18) share a colour, which
# is therefore ambiguous. Source: cityscapesscripts/helpers/labels.py.
_OTHERS: Mapping[int, Colour] = {
    **dict.fromkeys(range(5), (0, 0, 0)),
    5: (111, 74, 0),
    6: (81, 0, 81),
    9: (250, 170, 160),
    10: (230, 150, 140),
    14: (180, 165, 180),
    15: (150, 100, 100),
    16: (150, 120, 90),
    18: (153, 153, 153),
    29: (0, 0, 90),
    30: (0, 0, 110),
}
_COLOURS: Mapping[int, Colour] = {**_OTHERS, **{value: colour for _, value, colour in _TABLE}}
# -1 (licence plate) is stored as 255.
_VALUES = value_table(
    {**dict.fromkeys((*range(34), 255), IGNORE), **{value: i for i, (_, value, _) in enumerate(_TABLE)}}
)


def pairs(source: Source, split: str) -> list[Pair]:
    """Pair images and labels by city, sequence and frame."""
    images = files_by_stem(source, f"leftImg8bit/{split}", "_leftImg8bit.png", cut="_leftImg8bit")
    if split == "test":
        return unlabelled_pairs(images)
    labels = files_by_stem(source, f"gtFine/{split}", "_gtFine_labelIds.png", cut="_gtFine_labelIds")
    return match_pairs(source, images, labels)


def read_label(source: Source, pair: Pair) -> Pixels:
    """Read label_HW: label ids become the 19 train ids, the others are ignored."""
    return read_values(source, pair, _VALUES, _COLOURS)


def group(image_id: str) -> str:
    """Return the city of a frame `<city>_<sequence>_<frame>`.

    Not the sequence: in most cities a sequence has a single labelled frame and continues the previous one on
    the same drive, but the 267 frames of Frankfurt in val are in two sequences.
    """
    return image_id.partition("_")[0]
