"""Smoke fixtures: a few small synthetic scenes in the raw layout of every data set.

With them every stage of every experiment runs in seconds without the data (`repro run --smoke`). Images are
built-in scenes, label values those of the original files. Numbers measured on fixtures are not results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from repro.datasets.augment.rng import Rng
from repro.datasets.formats.image_io import Pixels
from repro.datasets.lists import official
from repro.datasets.sets import (
    camvid_original,
    cityscapes,
    inria_aerial,
    isaid,
    isprs,
    potsdam,
    synthetic,
    vaihingen,
)
from repro.datasets.sets.folder import FolderDataset
from repro.errors import UnknownNameError
from repro.params import DatasetFacts

TRAIN, VAL = 4, 2  # images per split
HEIGHT, WIDTH = 64, 96
Any8 = NDArray[np.uint8]


def write_fixture(name: str, root: Path, facts: DatasetFacts | None = None) -> dict[str, int]:
    """Write the fixture of data set `name` below `root`; return the number of samples per split.

    With `facts`, the data set is one that a project declares with `folder:`.
    """
    if facts is not None and facts.folder is not None:
        return _declared(FolderDataset(name=name, facts=facts), root)
    if name not in _WRITERS:
        raise UnknownNameError("data set with a smoke fixture", name, _WRITERS)
    return _WRITERS[name](root)


def _scenes(count: int, first: int = 0) -> Iterator[tuple[int, Pixels, Any8]]:
    """Yield (number, image_HWC, label_HW with values 0-11)."""
    for i in range(first, first + count):
        image_HWC, label_HW = synthetic.scene(Rng(synthetic.VERSION, 99, i))
        yield i, image_HWC[40 : 40 + HEIGHT, 32 : 32 + WIDTH], label_HW[40 : 40 + HEIGHT, 32 : 32 + WIDTH]


def _valued(label_HW: Any8, values: Sequence[int], shift: int = 0) -> Any8:
    """Map the 12 values of a scene to the original label values."""
    table = np.array([values[(12 * shift + k) % len(values)] for k in range(12)], dtype=np.uint8)
    return np.asarray(table[label_HW])


def _coloured(label_HW: Any8, colours: Sequence[tuple[int, int, int]]) -> Any8:
    return np.array(colours, dtype=np.uint8)[label_HW % len(colours)]


def _save(path: Path, pixels: Any8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = pixels if pixels.ndim == 2 else pixels[:, :, ::-1]
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(ordered))
    assert done
    path.write_bytes(data.tobytes())


def _lines(path: Path, names: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names) + "\n", encoding="utf-8")


def _camvid(root: Path) -> dict[str, int]:
    counts = {"train": TRAIN, "val": VAL, "test": VAL}
    for part, (split, count) in enumerate(counts.items()):
        for i, image, label in _scenes(count, 10 * part):
            _save(root / split / f"{split}{i}.png", image)
            _save(root / f"{split}annot" / f"{split}{i}.png", label)
    return {**counts, "trainval": TRAIN + VAL}


def _camvid_original(root: Path) -> dict[str, int]:
    """The ids are fixed, so every one needs its files; the scenes repeat."""
    colours = [*(first for first, *_ in camvid_original._MERGED.values()), (0, 0, 0)]
    for split in ("train", "val", "test"):
        for (_, image, label), name in zip(cycle(_scenes(TRAIN)), official(f"camvid_{split}")):
            _save(root / "701_StillsRaw_full" / f"{name}.png", image)
            _save(root / "LabeledApproved_full" / f"{name}_L.png", _coloured(label, colours))
    return dict(camvid_original.SPLITS)


def _synthetic(root: Path) -> dict[str, int]:
    return {split: count for split, count in _camvid(root).items() if split in synthetic.SPLITS}


def _voc2012(root: Path) -> dict[str, int]:
    base = root / "VOCdevkit" / "VOC2012"
    lists = base / "ImageSets" / "Segmentation"
    train, val = _voc_like(base, "SegmentationClass", [*range(21), 255])
    for split, names in {"train": train, "trainaug": train, "val": val, "trainval": train + val}.items():
        _lines(lists / f"{split}.txt", names)
    return {"train": TRAIN, "trainaug": TRAIN, "val": VAL, "trainval": TRAIN + VAL}


def _context(root: Path) -> dict[str, int]:
    base = root / "VOCdevkit" / "VOC2010"
    train, val = _voc_like(base, "SegmentationClassContext", range(60))
    _lines(base / "ImageSets" / "Main" / "train.txt", train)
    _lines(base / "ImageSets" / "Main" / "val.txt", val)
    return {"train": TRAIN, "val": VAL}


def _voc_like(base: Path, labels: str, values: Sequence[int]) -> tuple[list[str], list[str]]:
    names = []
    for i, image, label in _scenes(TRAIN + VAL):
        names.append(f"2008_{i:06d}")
        _save(base / "JPEGImages" / f"{names[-1]}.jpg", image)
        _save(base / labels / f"{names[-1]}.png", _valued(label, values, i))
    return names[:TRAIN], names[TRAIN:]


def _ade20k(root: Path) -> dict[str, int]:
    base = root / "ADEChallengeData2016"
    for folder, kind, count, first in (("training", "train", TRAIN, 0), ("validation", "val", VAL, 10)):
        for i, image, label in _scenes(count, first):
            name = f"ADE_{kind}_{i:08d}"
            _save(base / "images" / folder / f"{name}.jpg", image)
            _save(base / "annotations" / folder / f"{name}.png", _valued(label, range(151), i))
    return {"train": TRAIN, "val": VAL}


def _cityscapes(root: Path) -> dict[str, int]:
    ids = [value for _, value, _ in cityscapes._TABLE]
    for split, city, count, first in (("train", "aachen", TRAIN, 0), ("val", "frankfurt", VAL, 10)):
        for i, image, label in _scenes(count, first):
            stem = f"{city}_{i:06d}_000019"
            _save(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", image)
            path = root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png"
            _save(path, _valued(label, [*ids, 0], i))
    return {"train": TRAIN, "val": VAL}


def _loveda(root: Path) -> dict[str, int]:
    for number, (part, scene) in enumerate((p, s) for p in ("Train", "Val") for s in ("Rural", "Urban")):
        count = TRAIN if part == "Train" else VAL
        for i, image, label in _scenes(count, 10 * number):
            _save(root / part / scene / "images_png" / f"{i}.png", image)
            _save(root / part / scene / "masks_png" / f"{i}.png", _valued(label, range(8), i))
    parts = {"train": 2 * TRAIN, "train_rural": TRAIN, "train_urban": TRAIN}
    return parts | {"val": 2 * VAL, "val_rural": VAL, "val_urban": VAL}


def _loveda_across(root: Path) -> dict[str, int]:
    _loveda(root)
    return {"train": TRAIN, "val": VAL}


def _potsdam(root: Path) -> dict[str, int]:
    return _isprs(
        potsdam.AREAS,
        root / "2_Ortho_RGB" / "top_potsdam_{}_RGB.tif",
        root / "5_Labels_all_noBoundary" / "top_potsdam_{}_label_noBoundary.tif",
    )


def _vaihingen(root: Path) -> dict[str, int]:
    return _isprs(
        vaihingen.AREAS,
        root / "top" / "top_mosaic_09cm_area{}.tif",
        root / "ground_truth" / "top_mosaic_09cm_area{}_noBoundary.tif",
    )


def _isprs(areas: Mapping[str, Sequence[object]], image_path: Path, label_path: Path) -> dict[str, int]:
    """Every official area; {} in the paths is replaced by its name."""
    colours = [*isprs.PALETTE, (0, 0, 0)]
    for names in areas.values():
        for (_, image, label), name in zip(_scenes(len(names)), names, strict=True):
            _save(Path(str(image_path).format(name)), image)
            _save(Path(str(label_path).format(name)), _coloured(label, colours))
    return {split: len(names) for split, names in areas.items()}


def _isaid(root: Path) -> dict[str, int]:
    for split, count, first in (("train", TRAIN, 0), ("val", VAL, 10)):
        for i, image, label in _scenes(count, first):
            _save(root / split / "images" / f"P{i:04d}.png", image)
            masks = root / split / "Semantic_masks" / "images"
            _save(masks / f"P{i:04d}_instance_color_RGB.png", _coloured(label + 4 * i % 5, isaid.PALETTE))
    return {"train": TRAIN, "val": VAL}


def _inria(root: Path) -> dict[str, int]:
    names = [f"austin{20 + k}" for k in range(TRAIN)] + sorted(inria_aerial.VAL)
    for (_, image, label), name in zip(_scenes(len(names)), names, strict=True):
        _save(root / "AerialImageDataset" / "train" / "images" / f"{name}.tif", image)
        _save(root / "AerialImageDataset" / "train" / "gt" / f"{name}.tif", _valued(label, [0, 255]))
    return {"train": TRAIN, "val": len(inria_aerial.VAL)}


def _declared(dataset: FolderDataset, root: Path) -> dict[str, int]:
    """Files at the first of the declared patterns; labels in colours if there is a palette."""
    tiles, counts = dataset.windows, dict[str, int]()
    for number, split in enumerate(dataset.SPLITS):
        ids = [f"smoke{number}_{i}" for i in range(TRAIN if split.startswith("train") else VAL)]
        for (i, image, label), name in zip(_scenes(len(ids), 10 * number), ids, strict=True):
            _save(root / dataset.file("images", name, split), image)
            if split not in dataset.folder.unlabelled:
                _save(root / dataset.file("labels", name, split), _stored(dataset, label, i))
        if dataset.folder.lists is not None:
            _lines(root / dataset.folder.lists.replace("{split}", split), ids)
        counts[split] = len(ids) * len(tiles(HEIGHT, WIDTH, split) if tiles else [""])
    return counts


def _stored(dataset: FolderDataset, label_HW: Any8, shift: int) -> Any8:
    """A label as the files of a declared data set have it."""
    values = dataset.label_values
    if dataset.facts.palette:
        return _coloured(label_HW + shift, dataset.facts.palette)
    return _valued(label_HW, values, shift)


_WRITERS: dict[str, Callable[[Path], dict[str, int]]] = {
    "synthetic": _synthetic,
    "camvid": _camvid,
    "camvid12": _camvid,
    "camvid_original": _camvid_original,
    "voc2012": _voc2012,
    "ade20k": _ade20k,
    "cityscapes": _cityscapes,
    "pascal_context": _context,
    "pascal_context59": _context,
    "inria_aerial": _inria,
    "loveda": _loveda,
    "loveda_r2u": _loveda_across,
    "loveda_u2r": _loveda_across,
    "potsdam": _potsdam,
    "vaihingen": _vaihingen,
    "isaid": _isaid,
}
