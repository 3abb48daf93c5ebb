"""Real data: contents of labels, counted here and checked visually once.

The numbers were checked against overlays of labels on their images: road, cars and the rider of
Frankfurt, the house and lawn of ADE_val_00000001, the aeroplane of 2007_000033, the fish ponds of LoveDA.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from repro.datasets import DATASETS, prepare_dataset
from repro.datasets.lists import official
from repro.datasets.prepare.inspect import inspect
from repro.datasets.prepare.prepared_split import Split
from repro.params import DatasetFacts
from tests.datasets import kit

# (data set, split) -> train id -> pixels
HISTOGRAMS: dict[tuple[str, str], dict[int, int]] = {
    ("cityscapes", "train"): {
        0: 831082,
        1: 29195,
        2: 611938,
        5: 22846,
        7: 34863,
        8: 221654,
        9: 130185,
        10: 38722,
        11: 1588,
        12: 2270,
        13: 42659,
        18: 2309,
        255: 127841,
    },
    ("cityscapes", "val"): {
        0: 724654,
        1: 40102,
        2: 539220,
        4: 14684,
        5: 11196,
        7: 3691,
        8: 178722,
        10: 31328,
        12: 4712,
        13: 315554,
        18: 1330,
        255: 231959,
    },
    ("ade20k", "val"): {
        0: 22847,
        1: 172617,
        2: 220489,
        4: 29077,
        6: 1755,
        9: 53099,
        13: 341,
        17: 10578,
        255: 20893,
    },
    ("voc2012", "trainaug"): {
        0: 1653581,
        1: 22685,
        3: 54975,
        4: 7868,
        5: 7477,
        9: 78930,
        11: 70225,
        12: 27632,
        14: 53289,
        15: 90408,
        19: 46635,
        20: 114524,
        255: 83271,
    },
    ("voc2012", "val"): {
        0: 1194094,
        1: 30937,
        2: 34183,
        4: 10543,
        5: 14663,
        9: 2627,
        13: 22974,
        15: 254574,
        17: 51418,
        18: 30923,
        19: 167380,
        20: 51333,
        255: 88351,
    },
    ("loveda", "train"): {0: 142441, 1: 14427, 2: 19208, 3: 3888, 6: 868612},
    ("loveda", "val"): {0: 226400, 1: 3503, 2: 2485, 3: 244616, 5: 43126, 6: 528446},
}


@pytest.mark.parametrize("name", ["cityscapes", "ade20k", "voc2012", "loveda"])
def test_histograms_of_the_real_samples(name: str) -> None:
    found = inspect(name, kit.real(f"samples/{name}"), deep=True)
    classes = DATASETS[name].CLASSES
    checked = 0
    for finding in found.splits:
        counts = {i: int(n) for i, n in enumerate(finding.histogram) if n}
        named = {"ignored" if i == 255 else classes[i]: n for i, n in counts.items()}
        print(f"{name} {finding.split}: {finding.images} images, {named}")
        if (name, finding.split) in HISTOGRAMS:
            assert counts == HISTOGRAMS[name, finding.split]
            checked += 1
    assert checked == sum(key[0] == name for key in HISTOGRAMS)
    assert not found.shared


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [("cityscapes", "val", 1), ("ade20k", "val", 2), ("voc2012", "trainaug", 13), ("loveda", "val", 1)],
)
def test_real_samples_are_prepared_and_read(tmp_path: Path, name: str, split: str, count: int) -> None:
    folder = kit.real(f"samples/{name}")
    facts = DatasetFacts(classes=len(DATASETS[name].CLASSES), splits={split: count})
    prepare_dataset(name, folder, tmp_path, facts)
    prepared = Split.open(tmp_path / f"{split}.zip")
    histogram = sum(np.bincount(prepared.label(i).reshape(-1), minlength=256) for i in range(len(prepared)))
    assert {i: int(n) for i, n in enumerate(histogram) if n} == HISTOGRAMS[name, split]
    assert all(prepared.image(i).shape[:2] == prepared.label(i).shape for i in range(len(prepared)))


def test_real_isprs_tiles_have_six_classes() -> None:
    """The tiles are output of the converter (labels 0-5): the train ids must have the same range."""
    from repro.datasets.formats.label_files import read_label_file

    for name in ("potsdam", "vaihingen"):
        folder = kit.real(f"samples/{name}/tiles")
        for path in folder.glob("label_*.png"):
            label = read_label_file(path.read_bytes(), str(path)).values
            print(name, path.name, np.bincount(label.reshape(-1), minlength=6).tolist())
            assert label.shape == (512, 512)
            assert set(np.unique(label)) <= {*range(6), 255}


def test_real_camvid_is_the_official_one() -> None:
    """All 701 pairs: counts, sizes, no image in two splits, ids as in the built-in lists."""
    found = inspect("camvid", kit.real("camvid"))
    assert {f.split: f.images for f in found.splits} == dict(DATASETS["camvid"].SPLITS)
    assert all(set(f.sizes) == {(480, 360)} and f.complete for f in found.splits)
    assert not found.shared
    for split in ("train", "val", "test"):
        names = sorted(path.stem for path in kit.real(f"camvid/{split}").glob("*.png"))
        assert names == sorted(official(f"camvid_{split}"))


def test_real_voc_lists_are_those_that_are_shipped() -> None:
    for split in ("trainaug", "val"):
        lines = (kit.real("samples/voc2012") / f"{split}_official.txt").read_text().split()
        assert tuple(lines) == official(f"voc2012_{split}")
