"""PASCAL Context, 59 classes and background (rows 002-13, 002-14). Mottaghi et al., CVPR 2014.

Images are from VOC 2010. Labels are read from SegmentationClassContext/*.png (ids 0-59) if that folder
exists, else from the Detail annotations (trainval_merged.json), else from the original .mat files with 459
classes. In the last two, classes other than the 59 are background.
"""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repro.datasets.formats.label_maps import value_table
from repro.datasets.raw.match_files import files_by_stem, pairs_of_ids, read_values
from repro.datasets.raw.source import Source
from repro.datasets.raw.split_lists import Entry, read_ids
from repro.datasets.sets.palettes import voc_colours
from repro.datasets.sets.spec import Colour, Download, Pair, Pixels, SplitAbsent
from repro.errors import DataError

# The 59 classes in alphabetical order, with their number among the 459 of the .mat files and Detail.
_TABLE: Mapping[str, int] = {
    "aeroplane": 2,
    "bag": 9,
    "bed": 18,
    "bedclothes": 19,
    "bench": 22,
    "bicycle": 23,
    "bird": 25,
    "boat": 31,
    "book": 33,
    "bottle": 34,
    "building": 44,
    "bus": 45,
    "cabinet": 46,
    "car": 59,
    "cat": 65,
    "ceiling": 68,
    "chair": 72,
    "cloth": 80,
    "computer": 85,
    "cow": 98,
    "cup": 104,
    "curtain": 105,
    "dog": 113,
    "door": 115,
    "fence": 144,
    "floor": 158,
    "flower": 159,
    "food": 162,
    "grass": 187,
    "ground": 189,
    "horse": 207,
    "keyboard": 220,
    "light": 232,
    "motorbike": 258,
    "mountain": 259,
    "mouse": 260,
    "person": 284,
    "plate": 295,
    "platform": 296,
    "pottedplant": 308,
    "road": 324,
    "rock": 326,
    "sheep": 347,
    "shelves": 349,
    "sidewalk": 354,
    "sign": 355,
    "sky": 360,
    "snow": 366,
    "sofa": 368,
    "diningtable": 397,
    "track": 415,
    "train": 416,
    "tree": 420,
    "truck": 424,
    "tvmonitor": 427,
    "wall": 440,
    "water": 445,
    "window": 454,
    "wood": 458,
}
TITLE = "PASCAL Context (60 with background)"
CLASSES: tuple[str, ...] = ("background", *_TABLE)
PALETTE: tuple[Colour, ...] = voc_colours(60)
SPLITS: Mapping[str, int] = {"train": 4998, "val": 5105}
LICENCE = "Flickr terms, research use"
PAGE = "cs.stanford.edu/~roozbeh/pascal-context"
LAYOUT = (
    "VOCdevkit/VOC2010/{JPEGImages,ImageSets/Main}, and one of SegmentationClassContext/*.png, "
    "trainval_merged.json, trainval/*.mat"
)
DOWNLOADS: tuple[Download, ...] = (
    Download(
        name="VOCtrainval_03-May-2010.tar",
        page="host.robots.ox.ac.uk/pascal/VOC/voc2010",
        size_GB=1.3,
        url="http://host.robots.ox.ac.uk/pascal/VOC/voc2010/VOCtrainval_03-May-2010.tar",
        checksum="md5:da459979d0c395079b5c75ee67908abb",
    ),
    Download(name="trainval.tar.gz (459 labels)", page=PAGE, size_GB=0.03),
    Download(
        name="trainval_merged.json (Detail)", page="codalabuser.blob.core.windows.net/public", size_GB=0.6
    ),
)
MARKERS: tuple[str, ...] = ("JPEGImages",)
_KEEP = value_table({i: i for i in range(60)})
_COLOURS = dict(enumerate(PALETTE))
_NUMBERS = np.zeros(1 << 16, dtype=np.uint8)  # number among the 459 -> train id, 0 for other classes
_NUMBERS[list(_TABLE.values())] = np.arange(1, 60)
_DETAIL = "trainval_merged.json"


def pairs(source: Source, split: str) -> list[Pair]:
    """Return the pairs of the official split, with labels from the first available source."""
    if files_by_stem(source, "SegmentationClassContext", ".png"):
        return pairs_of_ids(
            source, _ids(source, split), "JPEGImages/{}.jpg", "SegmentationClassContext/{}.png"
        )
    if (detail := source.root().find(_DETAIL)) is not None:
        names = [image["file_name"].removesuffix(".jpg") for image in _detail(detail)[split]]
        found = pairs_of_ids(source, sorted(names), "JPEGImages/{}.jpg", None)
        return [Pair(id=pair.id, image=pair.image, label=_DETAIL) for pair in found]
    mats = _mats(source)
    ids = _ids(source, split)
    labels = {entry: mats.resolve_name(f"{entry.id}.mat") if mats else None for entry in ids}
    missing = [entry for entry, label in labels.items() if not label]
    if missing:
        what = f"no label for '{missing[0].id}' ({missing[0].place})"
        raise DataError(what, where=source.where, allowed=LAYOUT)
    found = pairs_of_ids(source, ids, "JPEGImages/{}.jpg", None)
    return [
        Pair(id=pair.id, image=pair.image, label=label)
        for pair, label in zip(found, labels.values(), strict=True)
    ]


def read_label(source: Source, pair: Pair) -> Pixels:
    """Read label_HW of train ids 0-59, 0 = background."""
    assert pair.label is not None
    if pair.label.lower().endswith(".png"):
        return read_values(source, pair, _KEEP, _COLOURS)
    if pair.label == _DETAIL:
        return _read_detail(source, pair)
    mats = _mats(source)
    assert mats is not None
    return _read_mat(mats.read(pair.label), mats.place(pair.label))


def _ids(source: Source, split: str) -> list[Entry]:
    for folder in ("SegmentationContext", "Main"):
        name = f"ImageSets/{folder}/{split}.txt"
        if source.has(name):
            return read_ids(source, name)
    raise SplitAbsent(
        f"the list of split {split} is missing", where=source.place(f"ImageSets/Main/{split}.txt")
    )


def _mats(source: Source) -> Source | None:
    """The folder of the .mat files."""
    root = source.root()
    folder = root.find("trainval/2008_000002.mat") or root.find("trainval")
    return None if folder is None else folder.under_prefix("trainval/")


def _read_mat(data: bytes, where: str) -> Pixels:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        numbers_HW = loadmat(io.BytesIO(data))["LabelMap"].astype(np.uint16)
        return np.asarray(_NUMBERS[numbers_HW])
    except (MatReadError, KeyError, ValueError, TypeError) as error:
        raise DataError(f"not a label file of PASCAL Context: {error}", where=where) from error


def _read_detail(source: Source, pair: Pair) -> Pixels:
    """Paint the masks of an image over each other in order."""
    detail = source.root().find(_DETAIL)
    assert detail is not None
    image, masks = _detail(detail)["by name"][pair.id]
    label_HW = np.zeros((image["height"], image["width"]), dtype=np.uint8)
    for mask in masks:
        rle = mask["segmentation"]
        try:
            label_HW[decode_rle(rle["counts"], (rle["size"][0], rle["size"][1]))] = _NUMBERS[
                mask["category_id"]
            ]
        except (ValueError, IndexError) as error:
            where = f"{detail.place(_DETAIL)}: image {pair.id}"
            raise DataError(f"damaged mask: {error}", where=where) from error
    return label_HW


def _detail(detail: Source) -> dict[str, Any]:
    """The annotations: images by split, and (image, masks) by name."""
    return detail.parse_once(_DETAIL, _index_detail)


def _index_detail(data: bytes) -> dict[str, Any]:
    content = json.loads(data)
    masks = defaultdict(list)
    for mask in content["annos_segmentation"]:
        masks[mask["image_id"]].append(mask)
    images = content["images"]
    phases = {phase: [image for image in images if image["phase"] == phase] for phase in ("train", "val")}
    named = {image["file_name"].removesuffix(".jpg"): (image, masks[image["image_id"]]) for image in images}
    return {**phases, "by name": named}


def decode_rle(counts: str, size_HW: tuple[int, int]) -> NDArray[np.bool_]:
    """Decode mask_HW from a compressed string: alternating runs of 0 and 1 in column-major order.

    Raises ValueError if the runs do not match the size.
    """
    runs = np.array(_runs(counts), dtype=np.int64)
    if (runs < 0).any() or int(runs.sum()) != size_HW[0] * size_HW[1]:
        raise ValueError(f"runs of {int(runs.sum())} pixels for a mask of {size_HW[1]}x{size_HW[0]}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.asarray(flat.reshape(size_HW, order="F"))


def _runs(counts: str) -> list[int]:
    """Base-32 digits from '0', lowest first, with a continuation bit; differences from the fourth run on."""
    runs: list[int] = []
    value = shift = 0
    for char in counts:
        digit = ord(char) - 48
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
