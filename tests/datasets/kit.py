"""Tiny generated data sets in their official layouts, and the folder of the real samples."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from repro.datasets import built_in, prepare_dataset
from repro.datasets.prepare.prepared_split import Split
from repro.datasets.sets.palettes import voc_colours
from repro.params import Augmentation, DatasetFacts
from repro.params.augmentation import Pipeline

ROOT = Path(__file__).parents[2]
REAL = Path(os.environ.get("REPRO_TEST_DATA", ROOT.parent / "shared" / "datasets"))
Pixels = NDArray[np.uint8]


def real(folder: str) -> Path:
    """A folder of real data; the test skips, saying what it needs, where it is absent."""
    path = REAL / folder
    if not path.is_dir():
        pytest.skip(f"REAL DATA ABSENT: {path} (set REPRO_TEST_DATA to the folder with camvid/ and samples/)")
    return path


def photo(seed: int, size_HW: tuple[int, int] = (12, 16)) -> Pixels:
    """image_HWC of soft random colours."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize(size_HW[::-1], Image.Resampling.BILINEAR))


def blocks(seed: int, values: Sequence[int], size_HW: tuple[int, int] = (12, 16)) -> Pixels:
    """label_HW of rectangles with all of `values`."""
    rng = np.random.default_rng(seed)
    small = rng.permutation(np.resize(np.array(values, dtype=np.uint8), max(12, len(values))))
    rows = np.array_split(np.resize(small, (3, -(-len(small) // 3))), 3)
    label_HW = np.zeros(size_HW, dtype=np.uint8)
    for y, row in enumerate(rows):
        for x, value in enumerate(row.reshape(-1)):
            top, left = y * size_HW[0] // 3, x * size_HW[1] // row.size
            label_HW[top:, left:] = value
    label_HW.reshape(-1)[: len(values)] = values
    return label_HW


def save(path: Path, pixels: NDArray[np.generic], palette: bool = False, **options: object) -> Path:
    """Write an image file, with the format of its suffix, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(pixels, path.suffix, palette=palette, **options))
    return path


def encoded(pixels: NDArray[np.generic], suffix: str, *, palette: bool = False, **options: object) -> bytes:
    image = Image.fromarray(np.asarray(pixels))
    if palette:
        image = image.convert("P") if image.mode != "L" else image
        image.putpalette([channel for colour in voc_colours(256) for channel in colour])
    kind = {".png": "PNG", ".jpg": "JPEG", ".tif": "TIFF"}[suffix]
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def camvid(root: Path, *, per_split: int = 2, size_HW: tuple[int, int] = (12, 16)) -> Path:
    """train/ trainannot/ ...: every label holds 0-10 and void."""
    for number, split in enumerate(("train", "val", "test")):
        for i in range(per_split):
            seed = 10 * number + i
            save(root / split / f"{split}{i}.png", photo(seed, size_HW))
            save(root / f"{split}annot" / f"{split}{i}.png", blocks(seed, range(12), size_HW))
    return root


def camvid_facts(per_split: int = 2) -> DatasetFacts:
    splits = {"train": per_split, "val": per_split, "trainval": 2 * per_split, "test": per_split}
    return DatasetFacts(classes=11, splits=splits)


def prepared(name: str, raw: Path, out: Path, **splits: int) -> dict[str, Split]:
    """Prepare `raw` with the given numbers and open every split."""
    facts = DatasetFacts(classes=len(built_in(name).CLASSES), splits=splits)
    prepare_dataset(name, raw, out, facts, workers=2)
    return {split: Split.open(out / f"{split}.zip") for split in splits}


def distorting(pipeline: Pipeline, *, crop: tuple[int, int], base: tuple[int, int]) -> Augmentation:
    """Scale, crop and photometric distortion with the numbers of pages 001, 002 and 004."""
    return Augmentation(
        pipeline=pipeline,
        crop=crop,
        scale=(0.5, 2.0),
        base=base,
        category_share=0.75,
        brightness=32,
        contrast=0.5,
        saturation=0.5,
        hue=18,
    )


def voc2012(root: Path) -> Path:
    """VOCdevkit with two val images, two of train, and three of trainaug from three kinds of labels."""
    base = root / "VOCdevkit" / "VOC2012"
    names = {"val": ["v1", "v2"], "train": ["t1", "t2"], "trainaug": ["t1", "a1", "s1"]}
    for i, name in enumerate(("v1", "v2", "t1", "t2", "a1", "s1")):
        save(base / "JPEGImages" / f"{name}.jpg", photo(i))
        if name[0] in "vt":
            save(base / "SegmentationClass" / f"{name}.png", blocks(i, (*range(21), 255)), palette=True)
    save(base / "SegmentationClassAug" / "a1.png", blocks(4, (*range(21), 255)))
    _sbd(root / "benchmark_RELEASE" / "dataset" / "cls" / "s1.mat", blocks(5, range(21)))
    for split, ids in {**names, "trainval": names["train"] + names["val"]}.items():
        path = base / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(ids) + "\n")
    return root


def _sbd(path: Path, label_HW: Pixels) -> None:
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"GTcls": {"Segmentation": label_HW, "Boundaries": np.zeros(3)}})


def ade20k(root: Path) -> Path:
    base = root / "ADEChallengeData2016"
    for folder, kind in (("training", "train"), ("validation", "val")):
        for i in range(2):
            name = f"ADE_{kind}_{i:08d}"
            save(base / "images" / folder / f"{name}.jpg", photo(i, (20, 20)))
            save(base / "annotations" / folder / f"{name}.png", blocks(i, range(151), (20, 20)))
    return root


def cityscapes(root: Path) -> Path:
    for split, city in (("train", "aachen"), ("val", "frankfurt"), ("test", "berlin")):
        stem = f"{city}_000000_000019"
        save(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", photo(1))
        label = root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png"
        save(label, blocks(1, range(34)) if split != "test" else np.zeros((12, 16), np.uint8))
    return root


def loveda(root: Path) -> Path:
    for part, scenes in (("Train", ("Rural", "Urban")), ("Val", ("Rural", "Urban")), ("Test", ("Rural",))):
        for scene in scenes:
            for i in range(2 if (part, scene) == ("Train", "Rural") else 1):
                save(root / part / scene / "images_png" / f"{i}.png", photo(i))
                if part != "Test":
                    save(root / part / scene / "masks_png" / f"{i}.png", blocks(i, range(8)))
    return root


def context(root: Path, kind: str) -> Path:
    """VOC2010 with an image per split and labels of one of three formats: png, json, mat."""
    base = root / "VOCdevkit" / "VOC2010"
    numbers_HW = context_numbers()
    entries: dict[str, list[dict[str, object]]] = {"images": [], "annos_segmentation": []}
    for split, name in (("train", "2008_000002"), ("val", "2008_000003")):
        save(base / "JPEGImages" / f"{name}.jpg", photo(3))
        lists = base / "ImageSets" / "Main"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{split}.txt").write_text(name + "\n")
        number = int(name.replace("_", ""))
        image = {"file_name": f"{name}.jpg", "image_id": number, "phase": split, "height": 12, "width": 16}
        entries["images"].append(image)
        for value in np.unique(numbers_HW):
            rle = {"size": [12, 16], "counts": encode_rle(numbers_HW == value)}
            entries["annos_segmentation"].append(
                {"image_id": number, "category_id": int(value), "segmentation": rle}
            )
        if kind == "mat":
            from scipy.io import savemat

            mat = root / "trainval" / f"{name}.mat"
            mat.parent.mkdir(exist_ok=True)
            savemat(mat, {"LabelMap": numbers_HW})
        if kind == "png":
            save(base / "SegmentationClassContext" / f"{name}.png", np.full((12, 16), 59, np.uint8))
    if kind == "json":
        (root / "trainval_merged.json").write_text(json.dumps(entries))
    return root


def context_numbers() -> NDArray[np.uint16]:
    """459-class numbers: aeroplane 2, grass 187, wood 458, and 300, which is not among the 59."""
    numbers_HW = np.full((12, 16), 2, dtype=np.uint16)
    numbers_HW[:4], numbers_HW[4:8, :8], numbers_HW[8:, 10:] = 187, 458, 300
    return numbers_HW


def coloured(label_HW: Pixels, colours: Sequence[tuple[int, int, int]]) -> Pixels:
    return np.array(colours, dtype=np.uint8)[label_HW]


def packed(root: Path, target: Path) -> Path:
    """Pack a folder as a zip or tar, compressed according to the suffix of `target`."""
    import tarfile

    if target.suffix == ".zip":
        return zipped(root, target)
    with tarfile.open(target, "w:gz" if target.suffix == ".tgz" else "w") as archive:
        archive.add(root, "./somewhere/deeper")
    return target


def zipped(root: Path, target: Path, change: Callable[[str], str] = lambda name: name) -> Path:
    """Pack a folder as a zip."""
    import zipfile

    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                archive.write(path, change(path.relative_to(root).as_posix()))
    return target


def encode_rle(mask_HW: NDArray[np.bool_]) -> str:
    """The inverse of `decode_rle`."""
    flat = mask_HW.reshape(-1, order="F")
    change = np.flatnonzero(np.diff(np.concatenate(([False], flat)).astype(np.int8)))
    runs = np.diff(np.concatenate(([0], change, [flat.size]))).tolist()
    return "".join(_digits(run - (runs[i - 2] if i > 2 else 0)) for i, run in enumerate(runs))


def _digits(value: int) -> str:
    text = ""
    while True:
        digit, value = value & 31, value >> 5
        more = value != (-1 if digit & 16 else 0)
        text += chr(48 + (digit | 32 if more else digit))
        if not more:
            return text
