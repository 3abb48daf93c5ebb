"""`repro score` on two folders, outside any project."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import repro
from repro.cli.app import app
from repro.cli.console import guarded
from repro.evaluation.label_folder import class_names


@pytest.fixture
def maps(in_tmp: Path) -> list[np.ndarray]:
    """Three labels in labels/, one of them in a folder, and maps/ that differ from them."""
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 3, (8, 9), np.uint8) for _ in range(3)]
    labels[0][:2] = 255
    found = [np.where(rng.random((8, 9)) < 0.7, one % 3, 2).astype(np.uint8) for one in labels]
    for folder, arrays in (("labels", labels), ("maps", found)):
        for name, array in zip(("a", "b", "city/c"), arrays, strict=True):
            path = in_tmp / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    return [*labels, *found]


def score(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command on maps/."""
    line = ["score", "--predictions", "maps", *words]
    code = guarded(lambda: app(line, standalone_mode=False))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_two_folders_give_the_numbers_of_the_arrays(
    maps: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--labels", "labels", "--classes", "road,car,sky", "--json", "--out", "scored")
    code, out, err = score(capsys, *words)
    assert (code, err) == (0, "")
    found, wanted = json.loads(out), repro.score(maps[3:], maps[:3], classes=["road", "car", "sky"])
    assert {key: found[key] for key in ("mIoU", "aAcc", "IoU", "n_images")} == {
        key: wanted[key] for key in ("mIoU", "aAcc", "IoU", "n_images")
    }
    assert json.loads(Path("scored/metrics.json").read_text())["mIoU"] == found["mIoU"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "unclear what to score against"),
        (("--labels", "labels"), "--labels FOLDER --classes N"),
        (("--labels", "labels", "--classes", "3", "-d", "camvid"), "unclear"),
        (("-d", "camvid", "-s", "test"), "not inside a project"),
        (("--labels", "nowhere", "--classes", "3"), "no such folder of labels"),
        (("--labels", "maps/city/c.png", "--classes", "3"), "no such folder of labels"),
        (("--labels", "labels/city", "--classes", "3"), "3 not in the split"),
        (("--labels", "labels", "--classes", "2"), "of no class"),
        (("--labels", "labels", "--classes", "1"), "a number from 2 to 254"),
        (("--labels", "labels", "--classes", "a,a"), "different names"),
    ],
)
def test_what_cannot_be_scored_is_one_error(
    maps: list[np.ndarray], capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    code, out, err = score(capsys, *words)
    assert (code, out) == (2, "")
    assert said in err


def test_classes_are_a_number_or_names() -> None:
    assert class_names("3") == ("0", "1", "2")
    assert class_names("road,car") == ("road", "car")
