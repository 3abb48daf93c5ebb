"""ISPRS Vaihingen (infrared, red, green), eroded labels, 512 windows (rows 004-10 to 004-12)."""

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

TITLE = "ISPRS Vaihingen (512 windows)"
AREAS: Mapping[str, tuple[int, ...]] = {
    "train": (1, 3, 5, 7, 11, 13, 15, 17, 21, 23, 26, 28, 30, 32, 34, 37),
    "val": (2, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24, 27, 29, 31, 33, 35, 38),
}
SPLITS: Mapping[str, int] = {"train": 344, "val": 398}  # windows; the 33 images differ in size
IMAGES: Mapping[str, int] = {"train": 16, "val": 17}
PAGE = "www.isprs.org/education/benchmarks/UrbanSemLab"
LAYOUT = "top/top_mosaic_09cm_area*.tif and top_mosaic_09cm_area*_noBoundary.tif of the eroded ground truth"
DOWNLOADS: tuple[Download, ...] = (
    Download(name="ISPRS_semantic_labeling_Vaihingen.zip", page=PAGE, size_GB=1.2),
    Download(
        name="ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE.zip", page=PAGE, size_GB=0.01
    ),
)
MARKERS: tuple[str, ...] = ()


def pairs(source: Source, split: str) -> list[Pair]:
    """Return the pairs of a split. No pairs if all files are missing.

    Images are from the folder `top`, because the labels for participants have the same file names.
    """
    top = source.find("top/top_mosaic_09cm_area1.tif") or source.find("top/top_mosaic_09cm_area2.tif")
    labels = files_by_stem(source, "", "_noBoundary.tif", cut="_noBoundary")
    folder = "" if top is None else top.prefix
    if top is None and not {f"top_mosaic_09cm_area{area}" for area in AREAS[split]} & labels.keys():
        return []
    found = []
    for area in AREAS[split]:
        stem = f"top_mosaic_09cm_area{area}"
        label = labels.get(stem, f"{stem}_noBoundary.tif")
        pair = pairs_of_ids(source, [f"area{area}"], f"{folder}top/{stem}.tif", label)[0]
        found.append(pair)
    return found
