"""iSAID, 15 object classes and background in aerial images, 896 windows (rows 004-13, 004-14).

Zamir et al., CVPR workshops 2019; the images are from DOTA. Windows overlap by 384; beyond smaller images
they are black and ignored. The official layout has several zips in each folder.
"""

from __future__ import annotations

from collections.abc import Mapping

from repro.datasets.prepare.convert import grid, source_image
from repro.datasets.raw.match_files import files_by_stem, match_pairs, read_colours
from repro.datasets.raw.source import Source
from repro.datasets.sets.spec import Colour, Download, Pair, Pixels, Window

_TABLE: tuple[tuple[str, Colour], ...] = (
    ("background", (0, 0, 0)),
    ("ship", (0, 0, 63)),
    ("store_tank", (0, 63, 63)),
    ("baseball_diamond", (0, 63, 0)),
    ("tennis_court", (0, 63, 127)),
    ("basketball_court", (0, 63, 191)),
    ("ground_track_field", (0, 63, 255)),
    ("bridge", (0, 127, 63)),
    ("large_vehicle", (0, 127, 127)),
    ("small_vehicle", (0, 0, 127)),
    ("helicopter", (0, 0, 191)),
    ("swimming_pool", (0, 0, 255)),
    ("roundabout", (0, 191, 127)),
    ("soccer_ball_field", (0, 127, 191)),
    ("plane", (0, 127, 255)),
    ("harbor", (0, 100, 155)),
)
TITLE = "iSAID (896 windows)"
CLASSES: tuple[str, ...] = tuple(name for name, _ in _TABLE)
PALETTE: tuple[Colour, ...] = tuple(colour for _, colour in _TABLE)
SPLITS: Mapping[str, int] = {"train": 33978, "val": 11644}  # windows
IMAGES: Mapping[str, int] = {"train": 1411, "val": 458}
LICENCE = "academic use only"
PAGE = "captain-whu.github.io/iSAID/dataset.html"
LAYOUT = (
    "{train,val}/images/*.png and {train,val}/Semantic_masks/images/*_instance_color_RGB.png (or their zips)"
)
DOWNLOADS: tuple[Download, ...] = (
    Download(name="DOTA v1.0 train and val images", page="captain-whu.github.io/DOTA", size_GB=12.7),
    Download(name="train/Semantic_masks/images.zip, val/Semantic_masks/images.zip", page=PAGE, size_GB=0.2),
)
MARKERS: tuple[str, ...] = ("train", "val")
SIZE, OVERLAP = 896, 384
GROUP, group = "source image", source_image
_SUFFIX = "_instance_color_RGB"
_COLOURS = {colour: i for i, colour in enumerate(PALETTE)}


def pairs(source: Source, split: str) -> list[Pair]:
    """Pair images and colour masks by name."""
    images = files_by_stem(source, f"{split}/images", ".png")
    labels = files_by_stem(source, f"{split}/Semantic_masks", f"{_SUFFIX}.png", cut=_SUFFIX)
    return match_pairs(source, images, labels)


def read_label(source: Source, pair: Pair) -> Pixels:
    """Read label_HW of train ids 0-15."""
    return read_colours(source, pair, _COLOURS)


def windows(height: int, width: int, split: str) -> list[Window]:
    """Return windows of 896x896, 512 apart, the last ones shifted back to the border."""
    return grid(height, width, size=SIZE, step=SIZE - OVERLAP)
