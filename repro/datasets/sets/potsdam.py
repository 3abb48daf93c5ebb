"""ISPRS Potsdam, RGB, labels without boundaries, 512 windows (rows 004-07 to 004-09)."""

from __future__ import annotations

from collections.abc import Mapping

from repro.datasets.raw.match_files import files_by_stem, pairs_of_ids
from repro.datasets.raw.source import Source
from repro.datasets.sets.isprs import CLASSES as CLASSES
from repro.datasets.sets.isprs import GROUP as GROUP
from repro.datasets.sets.isprs import LICENCE as LICENCE
from repro.datasets.sets.isprs import PALETTE as PALETTE
from repro.datasets.sets.isprs import group as group
from repro.datasets.sets.isprs import read_label as read_label
from repro.datasets.sets.isprs import windows as windows
from repro.datasets.sets.spec import Download, Pair

TITLE = "ISPRS Potsdam (512 windows)"
AREAS: Mapping[str, tuple[str, ...]] = {
    "train": (
        *("2_10", "2_11", "2_12", "3_10", "3_11", "3_12", "4_10", "4_11", "4_12", "5_10", "5_11", "5_12"),
        *("6_7", "6_8", "6_9", "6_10", "6_11", "6_12", "7_7", "7_8", "7_9", "7_10", "7_11", "7_12"),
    ),
    "val": (
        *("2_13", "2_14", "3_13", "3_14", "4_13", "4_14", "4_15", "5_13", "5_14", "5_15"),
        *("6_13", "6_14", "6_15", "7_13"),
    ),
}
SPLITS: Mapping[str, int] = {"train": 3456, "val": 2016}  # windows, 144 per image
IMAGES: Mapping[str, int] = {"train": 24, "val": 14}
PAGE = "www.isprs.org/education/benchmarks/UrbanSemLab"
LAYOUT = "2_Ortho_RGB/top_potsdam_*_RGB.tif and 5_Labels_all_noBoundary/top_potsdam_*_label_noBoundary.tif"
DOWNLOADS: tuple[Download, ...] = (
    Download(name="2_Ortho_RGB.zip", page=PAGE, size_GB=3.6),
    Download(name="5_Labels_all_noBoundary.zip", page=PAGE, size_GB=0.02),
)
MARKERS: tuple[str, ...] = ()


def pairs(source: Source, split: str) -> list[Pair]:
    """Return the pairs of a split from any folder or archive. No pairs if all files are missing."""
    images = files_by_stem(source, "", "_RGB.tif", cut="_RGB")
    labels = files_by_stem(source, "", "_label_noBoundary.tif", cut="_label_noBoundary")
    if not {f"top_potsdam_{area}" for area in AREAS[split]} & (images.keys() | labels.keys()):
        return []
    found = []
    for area in AREAS[split]:
        stem = f"top_potsdam_{area}"
        image = images.get(stem, f"2_Ortho_RGB/{stem}_RGB.tif")
        label = labels.get(stem, f"5_Labels_all_noBoundary/{stem}_label_noBoundary.tif")
        found += [
            Pair(id=area, image=pair.image, label=pair.label)
            for pair in pairs_of_ids(source, [area], image, label)
        ]
    return found
