"""Label maps of any program, found by image id and read as PNG, NPY or NPZ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from repro.errors import DataError
from repro.evaluation.map_files import Legend, MapFile, match, read_map

SIZE = (4, 6)
LABEL = np.arange(24).reshape(SIZE) % 3
LEGEND = Legend.of([(0, 0, 0), (255, 0, 0), (0, 255, 0)])


def png(path: Path, label: Any = LABEL) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(label, np.uint8)).save(path)


def read(found: MapFile) -> Any:
    return read_map(found, LEGEND, SIZE)


def test_every_form_gives_the_same_map(tmp_path: Path) -> None:
    png(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", LABEL)  # int64
    np.save(tmp_path / "c_d.npy", LABEL[None].astype(np.int16))
    np.savez_compressed(tmp_path / "e.npz", LABEL)
    np.savez(tmp_path / "rest.npz", **{"f": LABEL.astype(np.uint8), "g/h": LABEL})  # type: ignore[arg-type]
    (tmp_path / "log.txt").write_text("no map")
    ids = ["a", "b", "c/d", "e", "f", "g/h"]
    found = match(tmp_path, ids)
    assert all(np.array_equal(read(one), LABEL) for one in found)
    assert [one.name for one in found] == [
        "a.png",
        "b.npy",
        "c_d.npy",
        "e.npz:arr_0",
        "rest.npz:f",
        "rest.npz:g/h",
    ]


def test_ids_without_a_map_with_several_and_maps_without_an_id(tmp_path: Path) -> None:
    png(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", LABEL)
    png(tmp_path / "b" / "c.png")
    png(tmp_path / "b_c.png")
    png(tmp_path / "stray.png")
    png(tmp_path / "later.png")
    with pytest.raises(DataError) as caught:
        match(tmp_path, ["a", "b/c", "missing"], unused=["later"])
    what = caught.value.what
    assert "1 missing: missing" in what
    assert "2 with several maps: a (a.npy, a.png), b/c (c.png, b_c.png)" in what
    assert "1 not in the split: stray" in what


def too_large(folder: Path) -> None:
    np.save(folder / "a.npy", np.zeros((5, 6), np.uint8))


def not_integers(folder: Path) -> None:
    np.save(folder / "a.npy", LABEL / 2)


def out_of_range(folder: Path) -> None:
    np.save(folder / "a.npy", np.where(LABEL == 2, -1, LABEL))


def objects(folder: Path) -> None:
    np.save(folder / "a.npy", np.full(SIZE, None), allow_pickle=True)


def three_channels(folder: Path) -> None:
    np.save(folder / "a.npy", np.zeros((*SIZE, 3), np.uint8))


def cut_off(folder: Path) -> None:
    np.save(folder / "a.npy", LABEL)
    (folder / "a.npy").write_bytes((folder / "a.npy").read_bytes()[:-9])


def text(folder: Path) -> None:
    (folder / "a.npy").write_text("no array")


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (too_large, "6x5 pixels, the image has 6x4"),
        (not_integers, "array of float64"),
        (out_of_range, "values of no class: -1"),
        (objects, "array of object"),
        (three_channels, r"shape \(4, 6, 3\) pixels"),
        (cut_off, "not an array"),
        (text, "not an array"),
    ],
)
def test_a_wrong_array_is_one_clear_error(tmp_path: Path, write: Callable[[Path], None], words: str) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match=words):
        read(match(tmp_path, ["a"])[0])


def test_a_file_that_is_not_an_npz(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_text("no archive")
    with pytest.raises(DataError, match="not an NPZ file"):
        match(tmp_path, ["a"])
