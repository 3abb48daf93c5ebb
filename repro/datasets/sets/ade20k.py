"""ADE20K scene parsing, 150 classes (pages: 001, 002). Zhou et al., CVPR 2017.

Value 0 ("other") is ignored and 1-150 become 0-149, as in the evaluation of both pages.
"""

from __future__ import annotations

from collections.abc import Mapping

from repro.datasets.formats.label_maps import value_table
from repro.datasets.lists import official
from repro.datasets.raw.match_files import files_by_stem, match_pairs, read_values
from repro.datasets.raw.source import Source
from repro.datasets.sets.palettes import voc_colours
from repro.datasets.sets.spec import IGNORE, Download, Pair, Pixels

TITLE = "ADE20K (scene parsing challenge 2016)"
CLASSES: tuple[str, ...] = official("ade20k_classes")
PALETTE = voc_colours(151)[1:]
SPLITS: Mapping[str, int] = {"train": 20210, "val": 2000}
LICENCE = "images: research and education; labels: BSD-3-Clause"
PAGE = "sceneparsing.csail.mit.edu"
LAYOUT = "ADEChallengeData2016/{images,annotations}/{training,validation}"
DOWNLOADS: tuple[Download, ...] = (
    Download(
        name="ADEChallengeData2016.zip",
        page=PAGE,
        size_GB=0.97,
        url="http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    ),
)
MARKERS: tuple[str, ...] = ("images", "annotations")
_FOLDERS = {"train": "training", "val": "validation"}
_COLOURS = dict(enumerate(voc_colours(151)))  # the original files are gray
_VALUES = value_table({0: IGNORE, **{i: i - 1 for i in range(1, 151)}})


def pairs(source: Source, split: str) -> list[Pair]:
    """Pair images and annotations by name."""
    folder = _FOLDERS[split]
    images, labels = (
        files_by_stem(source, f"images/{folder}"),
        files_by_stem(source, f"annotations/{folder}", ".png"),
    )
    return match_pairs(source, images, labels)


def read_label(source: Source, pair: Pair) -> Pixels:
    """Read label_HW: 0 is ignored, 1-150 become 0-149."""
    return read_values(source, pair, _VALUES, _COLOURS)
