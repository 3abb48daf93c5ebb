"""CamVid as first released: 960x720, 32 colours, merged into the 11 classes of the SegNet tutorial.

The official release has no split; lists/ contains the ids of SegNet's 367/101/233 split.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from repro.datasets.lists import official
from repro.datasets.raw.files import lower_extension
from repro.datasets.raw.match_files import RETRY, files_by_stem, read_colours
from repro.datasets.raw.source import Source
from repro.datasets.sets import camvid
from repro.datasets.sets.camvid import BLOCK as BLOCK
from repro.datasets.sets.camvid import CLASSES as CLASSES
from repro.datasets.sets.camvid import GROUP as GROUP
from repro.datasets.sets.camvid import LICENCE as LICENCE
from repro.datasets.sets.camvid import PAGE as PAGE
from repro.datasets.sets.camvid import PALETTE as PALETTE
from repro.datasets.sets.camvid import group as group
from repro.datasets.sets.spec import IGNORE, Colour, Download, Pair, Pixels
from repro.errors import DataError

TITLE = "CamVid (original, 960x720)"
SPLITS: Mapping[str, int] = camvid.SPLITS
LAYOUT = "701_StillsRaw_full/*.png and LabeledApproved_full/*_L.png"
DOWNLOADS: tuple[Download, ...] = (
    Download(name="701_StillsRaw_full.zip", page=PAGE, size_GB=0.56),
    Download(name="LabeledApproved_full.zip", page=PAGE, size_GB=0.02),
)
MARKERS: tuple[str, ...] = ()
# class -> colours of the release that are merged into it
_MERGED: Mapping[str, tuple[Colour, ...]] = {
    "sky": ((128, 128, 128),),
    # building, archway, bridge, tunnel, wall
    "building": ((128, 0, 0), (192, 0, 128), (0, 128, 64), (64, 0, 64), (64, 192, 0)),
    "pole": ((192, 192, 128), (0, 0, 64)),  # column or pole, traffic cone
    "road": ((128, 64, 128), (128, 0, 192), (192, 0, 64)),  # road, lane marks of both kinds
    "pavement": ((0, 0, 192), (64, 192, 128), (128, 128, 192)),  # sidewalk, parking block, shoulder
    "tree": ((128, 128, 0), (192, 192, 0)),  # tree, other vegetation
    "sign": ((192, 128, 128), (128, 128, 64), (0, 64, 64)),  # sign, text, traffic light
    "fence": ((64, 64, 128),),
    # car, SUV or pickup, truck or bus, train, other moving
    "car": ((64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)),
    # pedestrian, child, cart or pram, animal
    "pedestrian": ((64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)),
    "bicyclist": ((0, 128, 192), (192, 0, 192)),  # bicyclist, motorcycle or scooter
}
_COLOURS: dict[Colour, int] = {
    **{colour: CLASSES.index(name) for name, colours in _MERGED.items() for colour in colours},
    (0, 0, 0): IGNORE,
}


def pairs(source: Source, split: str) -> list[Pair]:
    """Return the pairs of SegNet's split; trainval is train, then val. No pairs if all files are missing."""
    labels = files_by_stem(source, "", "_L.png", cut="_L")
    names = [name for name in source.names() if lower_extension(name).endswith(".png")]
    images = {PurePosixPath(name).stem: name for name in names if not PurePosixPath(name).stem.endswith("_L")}
    parts = ("train", "val") if split == "trainval" else (split,)
    ids = [name for part in parts for name in official(f"camvid_{part}")]
    present = images.keys() | labels.keys()
    return [_pair(source, images, labels, name) for name in ids] if present & set(ids) else []


def _pair(source: Source, images: dict[str, str], labels: dict[str, str], name: str) -> Pair:
    for files, expected in (
        (images, f"701_StillsRaw_full/{name}.png"),
        (labels, f"LabeledApproved_full/{name}_L.png"),
    ):
        if name not in files:
            raise DataError(f"missing file for '{name}'", where=source.place(expected), hint=RETRY)
    return Pair(id=name, image=images[name], label=labels[name])


def read_label(source: Source, pair: Pair) -> Pixels:
    """Read label_HW of train ids 0-10; the void colour is ignored."""
    return read_colours(source, pair, _COLOURS)
