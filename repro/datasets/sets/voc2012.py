"""PASCAL VOC 2012 with the extra labels of SBD (pages: 001, 002, 003): 20 classes and background.

Everingham et al., IJCV 2010. `trainaug` is the union of VOC train and SBD without VOC val: Hariharan et al.,
"Semantic contours from inverse detectors", ICCV 2011. Its labels are read from SegmentationClassAug/, else
from VOC's SegmentationClass/, else from SBD's .mat files.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from repro.datasets.formats.label_maps import to_train_ids, value_table
from repro.datasets.lists import official
from repro.datasets.raw.match_files import pairs_of_ids, read_values
from repro.datasets.raw.source import Source
from repro.datasets.raw.split_lists import Entry, read_ids
from repro.datasets.sets.palettes import voc_colours
from repro.datasets.sets.spec import IGNORE, Download, Pair, Pixels, SplitAbsent
from repro.errors import DataError

TITLE = "PASCAL VOC 2012 and SBD"
CLASSES: tuple[str, ...] = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
PALETTE = voc_colours(21)
SPLITS: Mapping[str, int] = {"train": 1464, "trainaug": 10582, "trainval": 2913, "val": 1449}
LICENCE = "Flickr terms, research use"
PAGE = "host.robots.ox.ac.uk/pascal/VOC/voc2012"
LAYOUT = (
    "VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}; for trainaug also "
    "SegmentationClassAug/ next to them or SBD's benchmark_RELEASE/dataset/cls/*.mat"
)
DOWNLOADS: tuple[Download, ...] = (
    Download(
        name="VOCtrainval_11-May-2012.tar",
        page=PAGE,
        size_GB=2.0,
        url="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        checksum="md5:6cd6e144f989b92b3379bac3b3de84fd",
    ),
    Download(
        name="benchmark.tgz",
        page="home.bharathh.info/pubs/codes/SBD/download.html",
        size_GB=1.4,
        checksum="md5:82b4d87ceb2ed10f6038a1cba92111cb",
    ),
)
MARKERS: tuple[str, ...] = ("JPEGImages",)
_VALUES = value_table({**{i: i for i in range(21)}, 255: IGNORE})
_COLOURS = {**dict(enumerate(PALETTE)), IGNORE: (224, 224, 192)}  # the devkit's map; 255: white border
_SBD = "dataset/cls"


def pairs(source: Source, split: str) -> list[Pair]:
    """Return the pairs of the list in ImageSets/Segmentation, or of a built-in list (trainaug, val)."""
    ids = _ids(source, split)
    if split == "trainaug":
        sbd = _sbd(source)
        return [_augmented(source, sbd, entry) for entry in ids]
    return pairs_of_ids(source, ids, "JPEGImages/{}.jpg", "SegmentationClass/{}.png")


def read_label(source: Source, pair: Pair) -> Pixels:
    """Read label_HW: 0-20 are kept, the white border 255 is ignored; also from .mat files of SBD."""
    assert pair.label is not None
    if pair.label.lower().endswith(".mat"):
        sbd = _sbd(source)
        assert sbd is not None
        where = sbd.place(pair.label)
        return to_train_ids(_read_mat(sbd.read(pair.label), where), _VALUES, where)
    return read_values(source, pair, _VALUES, _COLOURS)


def _ids(source: Source, split: str) -> list[Entry]:
    name = f"ImageSets/Segmentation/{split}.txt"
    if source.has(name):
        return read_ids(source, name)
    if split in ("trainaug", "val"):
        return [Entry(name, "the official list") for name in official(f"voc2012_{split}")]
    raise SplitAbsent(f"the list of split {split} is missing", where=source.place(name))


def _augmented(source: Source, sbd: Source | None, entry: Entry) -> Pair:
    for folder in ("SegmentationClassAug", "SegmentationClass"):
        if source.resolve_name(f"{folder}/{entry.id}.png"):
            return pairs_of_ids(source, [entry], "JPEGImages/{}.jpg", folder + "/{}.png")[0]
    if sbd is not None and (mat := sbd.resolve_name(f"{_SBD}/{entry.id}.mat")):
        image = pairs_of_ids(source, [entry], "JPEGImages/{}.jpg", None)[0].image
        return Pair(id=entry.id, image=image, label=mat)
    raise DataError(
        f"no label for '{entry.id}' of trainaug ({entry.place})",
        where=source.place(f"SegmentationClassAug/{entry.id}.png"),
        allowed="SegmentationClassAug/*.png, or SBD's dataset/cls/*.mat",
    )


def _sbd(source: Source) -> Source | None:
    """SBD next to VOCdevkit, as a folder or its benchmark.tgz."""
    return source.root().find(_SBD)


def _read_mat(data: bytes, where: str) -> Pixels:
    """GTcls.Segmentation of an SBD file."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(io.BytesIO(data), squeeze_me=True, struct_as_record=False)
        return np.asarray(content["GTcls"].Segmentation, dtype=np.uint8)
    except (MatReadError, KeyError, AttributeError, ValueError, TypeError) as error:
        raise DataError(f"not a label file of SBD: {error}", where=where) from error
