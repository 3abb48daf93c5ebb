"""Every data set in its official layout: counts, names and label values; official lists and numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from repro.datasets import DATASETS, built_in, prepare_dataset
from repro.datasets.lists import official
from repro.datasets.prepare.inspect import inspect
from repro.datasets.prepare.prepared_split import Split
from repro.datasets.sets import camvid_original as original
from repro.datasets.sets.inria_aerial import VAL
from repro.datasets.sets.isaid import windows as isaid_windows
from repro.datasets.sets.isprs import windows as isprs_windows
from repro.datasets.sets.potsdam import AREAS as POTSDAM
from repro.datasets.sets.spec import DatasetModule
from repro.datasets.sets.vaihingen import AREAS as VAIHINGEN
from repro.errors import DataError, UnknownNameError
from repro.params import DatasetFacts
from tests.datasets import kit

TEN = {"voc2012", "ade20k", "cityscapes", "pascal_context", "pascal_context59", "camvid", "camvid_original"}
TEN |= {"inria_aerial", "loveda", "loveda_r2u", "loveda_u2r", "potsdam", "vaihingen", "isaid", "synthetic"}


def values(split: Split) -> set[int]:
    return {int(v) for i in range(len(split)) for v in np.unique(split.label(i))}


def test_all_data_sets_are_there() -> None:
    assert set(DATASETS) >= TEN


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_facts_of_a_module_agree(name: str) -> None:
    module: DatasetModule = DATASETS[name]
    assert len(module.PALETTE) == len(module.CLASSES) == len(set(module.CLASSES)) == len(set(module.PALETTE))
    assert all(count > 0 for count in module.SPLITS.values())
    assert all((module.LICENCE, module.PAGE, module.LAYOUT, module.TITLE))
    for download in module.DOWNLOADS:
        assert download.url is None or download.url.startswith(("https://", "http://"))


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cityscapes'"):
        built_in("cityscape")


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("voc2012_trainaug", 10582),
        ("voc2012_val", 1449),
        ("camvid_train", 367),
        ("camvid_val", 101),
        ("camvid_test", 233),
        ("ade20k_classes", 150),
    ],
)
def test_shipped_lists_have_the_official_length(name: str, count: int) -> None:
    assert len(official(name)) == len(set(official(name))) == count


def test_shipped_lists_are_disjoint_and_match_the_modules() -> None:
    assert not set(official("voc2012_trainaug")) & set(official("voc2012_val"))
    camvid = [set(official(f"camvid_{split}")) for split in ("train", "val", "test")]
    assert len(set.union(*camvid)) == 701
    assert DATASETS["voc2012"].SPLITS["trainaug"] == len(official("voc2012_trainaug"))
    assert DATASETS["camvid"].SPLITS["trainval"] == 367 + 101


def test_official_windows_of_potsdam() -> None:
    """144 windows per 6000x6000 image: 24 x 144 = 3456 and 14 x 144 = 2016 (recipes of page 004)."""
    per_image = len(isprs_windows(6000, 6000, "train"))
    assert per_image == 144
    for split, areas in POTSDAM.items():
        assert len(areas) * per_image == DATASETS["potsdam"].SPLITS[split]


# Width and height of the 33 areas, as the owners ship them.
VAIHINGEN_SIZES = {
    1: (1919, 2569),
    2: (2428, 2767),
    3: (2006, 3007),
    4: (1887, 2557),
    5: (1887, 2557),
    6: (1887, 2557),
    7: (1887, 2557),
    8: (1887, 2557),
    10: (1887, 2557),
    11: (1893, 2566),
    12: (1922, 2575),
    13: (2818, 2558),
    14: (1919, 2565),
    15: (1919, 2565),
    16: (1919, 2565),
    17: (2336, 1281),
    20: (1866, 2315),
    21: (1903, 2546),
    22: (1903, 2546),
    23: (1903, 2546),
    24: (1903, 2546),
    26: (2995, 1783),
    27: (1917, 3313),
    28: (1917, 2567),
    29: (1917, 2563),
    30: (1934, 2563),
    31: (1980, 2555),
    32: (1980, 2555),
    33: (1581, 2555),
    34: (1388, 2555),
    35: (2805, 1884),
    37: (1996, 1995),
    38: (3816, 2550),
}


@pytest.mark.parametrize("split", ["train", "val"])
def test_official_windows_of_vaihingen(split: str) -> None:
    sizes = [VAIHINGEN_SIZES[area] for area in VAIHINGEN[split]]
    count = sum(len(isprs_windows(height, width, split)) for width, height in sizes)
    assert count == DATASETS["vaihingen"].SPLITS[split]


def test_official_split_of_inria() -> None:
    """18 of 180; 162 x 25 windows (page 003's own split)."""
    module = DATASETS["inria_aerial"]
    assert len(VAL) == module.SPLITS["val"] == 18
    assert module.SPLITS["train"] == (180 - 18) * 25
    assert {name.rstrip("0123456789") for name in VAL} == {"austin", "chicago", "kitsap", "tyrol-w", "vienna"}


@pytest.mark.parametrize(
    ("size_HW", "tops"),
    [((896, 896), [0]), ((897, 896), [0, 1]), ((2000, 896), [0, 512, 1024, 1104]), ((500, 896), [0])],
)
def test_isaid_windows_cover_the_image(size_HW: tuple[int, int], tops: list[int]) -> None:
    assert [w.top for w in isaid_windows(*size_HW, "train")] == tops
    assert all(w.bottom - w.top == w.right - w.left == 896 for w in isaid_windows(*size_HW, "train"))


def test_camvid(tmp_path: Path) -> None:
    raw = kit.camvid(tmp_path / "raw")
    splits = kit.prepared("camvid", raw, tmp_path / "out", train=2, val=2, trainval=4, test=2)
    assert splits["trainval"].ids == ["train0", "train1", "val0", "val1"]
    assert values(splits["test"]) == {*range(11), 255}
    assert np.array_equal(splits["train"].image(1), kit.photo(1))
    expected = kit.blocks(1, range(12))
    assert np.array_equal(splits["train"].label(1), np.where(expected == 11, 255, expected))


def test_camvid12_has_void_as_a_class(tmp_path: Path) -> None:
    raw = kit.camvid(tmp_path / "raw")
    splits = kit.prepared("camvid12", raw, tmp_path / "out", train=2, val=2, trainval=4, test=2)
    assert values(splits["test"]) == {*range(12)}
    assert np.array_equal(splits["train"].label(1), kit.blocks(1, range(12)))
    assert splits["train"].classes[11] == "void"


def test_camvid_original(tmp_path: Path) -> None:
    """32 colours: the first colour of each class, and all the colours that are merged into it."""
    colours = [(colour, original._COLOURS[colour]) for colour in original._COLOURS]
    assert len(colours) == 32
    table = [colour for colour, _ in colours]
    for name in (n for split in ("train", "val", "test") for n in official(f"camvid_{split}")):
        kit.save(tmp_path / "raw/701_StillsRaw_full" / f"{name}.png", np.zeros((1, 32, 3), np.uint8))
        label = kit.coloured(np.arange(32, dtype=np.uint8)[None], table)
        kit.save(tmp_path / "raw/LabeledApproved_full" / f"{name}_L.png", label)
    splits = kit.prepared("camvid_original", tmp_path / "raw", tmp_path / "out", train=367, val=101, test=233)
    assert splits["train"].label(0)[0].tolist() == [train_id for _, train_id in colours]
    assert splits["test"].ids == list(official("camvid_test"))


def test_voc2012(tmp_path: Path) -> None:
    raw = kit.voc2012(tmp_path / "raw")
    splits = kit.prepared("voc2012", raw, tmp_path / "out", train=2, trainaug=3, trainval=4, val=2)
    assert values(splits["val"]) == {*range(21), 255}
    trainaug = splits["trainaug"]
    assert trainaug.ids == ["t1", "a1", "s1"]
    assert np.array_equal(trainaug.label(2), kit.blocks(5, range(21))), "from SBD's .mat file"
    assert np.array_equal(trainaug.label(0), kit.blocks(2, (*range(21), 255))), "from VOC itself"


def test_ade20k(tmp_path: Path) -> None:
    splits = kit.prepared("ade20k", kit.ade20k(tmp_path / "raw"), tmp_path / "out", train=2, val=2)
    assert values(splits["train"]) == {*range(150), 255}
    raw = kit.blocks(0, range(151), (20, 20))
    assert np.array_equal(splits["val"].label(0), (raw.astype(int) - 1).astype(np.uint8)), "0 wraps to 255"


def test_cityscapes(tmp_path: Path) -> None:
    raw = kit.cityscapes(tmp_path / "raw")
    splits = kit.prepared("cityscapes", raw, tmp_path / "out", train=1, val=1, test=1)
    assert values(splits["val"]) == {*range(19), 255}
    raw_HW, label_HW = kit.blocks(1, range(34)), splits["train"].label(0)
    assert label_HW[raw_HW == 7].max() == 0, "road"
    assert set(label_HW[raw_HW == 33]) == {18}, "bicycle"
    assert set(label_HW[raw_HW == 29]) == {255}, "caravan is not evaluated"
    assert not splits["test"].labelled
    with pytest.raises(DataError, match="no labels"):
        splits["test"].label(0)


def test_loveda_and_its_domains(tmp_path: Path) -> None:
    raw = kit.loveda(tmp_path / "raw")
    both = kit.prepared("loveda", raw, tmp_path / "both", train=3, val=2, test=1, train_rural=2, val_urban=1)
    assert both["train"].ids == ["rural_0", "rural_1", "urban_0"]
    assert values(both["val"]) == {*range(7), 255}
    assert both["val_urban"].ids == ["urban_0"]
    there = kit.prepared("loveda_r2u", raw, tmp_path / "r2u", train=2, val=1)
    back = kit.prepared("loveda_u2r", raw, tmp_path / "u2r", train=1, val=1)
    assert (there["train"].ids, there["val"].ids) == (["rural_0", "rural_1"], ["urban_0"])
    assert (back["train"].ids, back["val"].ids) == (["urban_0"], ["rural_0"])


@pytest.mark.parametrize("kind", ["json", "mat"])
def test_pascal_context_from_both_originals(tmp_path: Path, kind: str) -> None:
    """aeroplane 2 -> 1, grass 187 -> 29, wood 458 -> 59, any of the other 400 numbers -> background."""
    raw = kit.context(tmp_path / "raw", kind)
    with_background = kit.prepared("pascal_context", raw, tmp_path / "60", train=1, val=1)
    without = kit.prepared("pascal_context59", raw, tmp_path / "59", train=1, val=1)
    numbers_HW, label_HW = kit.context_numbers(), with_background["val"].label(0)
    classes = DATASETS["pascal_context"].CLASSES
    for number, name in ((2, "aeroplane"), (187, "grass"), (458, "wood"), (300, "background")):
        assert {classes[i] for i in label_HW[numbers_HW == number]} == {name}
    assert np.array_equal(without["val"].label(0), (label_HW.astype(int) - 1).astype(np.uint8))


def test_pascal_context_from_ready_labels(tmp_path: Path) -> None:
    raw = kit.context(tmp_path / "raw", "png")
    assert values(kit.prepared("pascal_context", raw, tmp_path / "out", train=1, val=1)["train"]) == {59}


def test_pascal_context_without_labels(tmp_path: Path) -> None:
    raw = kit.context(tmp_path / "raw", "none")
    with pytest.raises(DataError, match="no label for '2008_00000"):
        kit.prepared("pascal_context", raw, tmp_path / "out", train=1, val=1)


def _aerial(root: Path, size: int) -> None:
    """Inria's 18 val images, a training image and a test image, `size` x `size` pixels each."""
    for name in (*VAL, "austin2"):
        kit.save(root / "train/images" / f"{name}.tif", kit.photo(1, (size, size)))
        kit.save(root / "train/gt" / f"{name}.tif", (kit.blocks(1, (0, 1), (size, size)) * 255))
    kit.save(root / "test/images/bellingham1.tif", kit.photo(2, (8, 8)))


def test_inria(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DATASETS["inria_aerial"], "WINDOW", 10)
    _aerial(tmp_path / "raw/AerialImageDataset", 50)
    splits = kit.prepared("inria_aerial", tmp_path / "raw", tmp_path / "out", train=25, val=18, test=1)
    assert values(splits["val"]) == {0, 1}
    assert splits["val"].image(0).shape == (50, 50, 3)
    assert splits["train"].image(0).shape == (10, 10, 3)
    whole = np.block([[splits["train"].label(5 * y + x) for x in range(5)] for y in range(5)])
    assert np.array_equal(whole, kit.blocks(1, (0, 1), (50, 50)))


def _isprs(root: Path, image: str, label: str, areas: tuple[object, ...]) -> None:
    colours = (*DATASETS["potsdam"].PALETTE, (0, 0, 0))
    for area in areas:
        kit.save(root / image.format(area), kit.photo(3, (30, 40)))
        kit.save(root / label.format(area), kit.coloured(kit.blocks(3, range(7), (30, 40)), colours))


@pytest.mark.parametrize("name", ["potsdam", "vaihingen"])
def test_isprs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """30x40 in windows of 16: 2 x 3, the last ones shifted back to the border."""
    monkeypatch.setattr("repro.datasets.sets.isprs.TILE", 16)
    if name == "potsdam":
        image, label = "2_Ortho_RGB/top_potsdam_{}_RGB.tif", "5_Labels/top_potsdam_{}_label_noBoundary.tif"
    else:
        image, label = "top/top_mosaic_09cm_area{}.tif", "gt/top_mosaic_09cm_area{}_noBoundary.tif"
    areas = POTSDAM if name == "potsdam" else VAIHINGEN
    _isprs(tmp_path / "raw", image, label, (*areas["train"], *areas["val"]))
    counts = {split: 6 * len(areas[split]) for split in ("train", "val")}
    splits = kit.prepared(name, tmp_path / "raw", tmp_path / "out", **counts)
    assert values(splits["val"]) == {*range(6), 255}
    last = splits["train"].samples[5]
    assert last.id.endswith("_24_14_40_30"), "left, top, right, bottom"
    whole = kit.blocks(3, range(7), (30, 40))
    assert np.array_equal(splits["train"].label(5), np.where(whole == 6, 255, whole)[14:30, 24:40])
    assert np.array_equal(splits["train"].image(5), kit.photo(3, (30, 40))[14:30, 24:40])


@pytest.mark.parametrize("name", ["potsdam", "vaihingen", "camvid_original"])
def test_a_wrong_folder_is_reported_with_the_layout(tmp_path: Path, name: str) -> None:
    """Not the first missing file; these three data sets have no marker folders."""
    raw = kit.camvid(tmp_path / "raw")
    for run in (partial(inspect, name, raw), partial(kit.prepared, name, raw, tmp_path / "out", val=1)):
        with pytest.raises(DataError, match=r"no split of|no images for split val") as caught:
            run()
        assert caught.value.allowed == DATASETS[name].LAYOUT
        assert caught.value.hint


def test_a_few_wrong_colours_of_isprs_are_ignored_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repro.datasets.sets.isprs.TILE", 64)
    label = kit.coloured(np.zeros((20, 20), np.uint8), DATASETS["potsdam"].PALETTE)
    label[3, 5] = (252, 255, 0)
    for area in (*POTSDAM["train"], *POTSDAM["val"]):
        kit.save(tmp_path / f"raw/top_potsdam_{area}_RGB.tif", kit.photo(1, (20, 20)))
        kit.save(tmp_path / f"raw/top_potsdam_{area}_label_noBoundary.tif", label)
    facts = DatasetFacts(classes=6, splits={"val": 14})
    report = prepare_dataset("potsdam", tmp_path / "raw", tmp_path / "out", facts)
    assert len(report.notes) == 14
    assert (
        "top_potsdam_2_13_label_noBoundary.tif: ignored 1 pixel with colours outside the palette"
        in report.notes[0]
    )
    split = Split.open(tmp_path / "out/val.zip")
    assert split.label(0)[3, 5] == 255
    assert split.label(0).shape == (64, 64)
    assert set(np.unique(split.label(0)[20:])) == {255}, "beyond the image"
    assert split.image(0)[20:].max() == 0


def test_isaid_from_the_zips_of_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The official layout: images/part1.zip and Semantic_masks/images.zip inside train/ and val/."""
    monkeypatch.setattr(DATASETS["isaid"], "SIZE", 20)
    monkeypatch.setattr(DATASETS["isaid"], "OVERLAP", 10)
    colours = DATASETS["isaid"].PALETTE
    for split, size_HW in (("train", (30, 25)), ("val", (12, 25))):
        images, masks = tmp_path / "a" / split, tmp_path / "b" / split
        kit.save(images / "images/P0000.png", kit.photo(1, size_HW))
        label = kit.coloured(kit.blocks(1, range(16), size_HW), colours)
        kit.save(masks / "images/P0000_instance_color_RGB.png", label)
        (tmp_path / "raw" / split / "images").mkdir(parents=True)
        (tmp_path / "raw" / split / "Semantic_masks").mkdir()
        kit.zipped(images, tmp_path / "raw" / split / "images/part1.zip")
        kit.zipped(masks, tmp_path / "raw" / split / "Semantic_masks/images.zip")
    splits = kit.prepared("isaid", tmp_path / "raw", tmp_path / "out", train=4, val=2)
    assert [s.id for s in splits["train"].samples] == [
        *("P0000_0_0_20_20", "P0000_5_0_25_20", "P0000_0_10_20_30", "P0000_5_10_25_30")
    ]
    assert values(splits["train"]) == set(range(16))
    assert set(np.unique(splits["val"].label(0)[12:])) == {255}


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "camvid": kit.camvid,
    "voc2012": kit.voc2012,
    "ade20k": kit.ade20k,
    "cityscapes": kit.cityscapes,
    "loveda": kit.loveda,
}
COUNTS = {
    "camvid": {"train": 2},
    "voc2012": {"trainaug": 3},
    "ade20k": {"val": 2},
    "cityscapes": {"val": 1},
    "loveda": {"train": 3},
}


@pytest.mark.parametrize("name", sorted(LAYOUTS))
@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_an_archive_gives_the_same_bytes_as_a_folder(tmp_path: Path, name: str, kind: str) -> None:
    folder = LAYOUTS[name](tmp_path / "raw")
    target = kit.packed(folder, tmp_path / f"owner.{kind}")
    kit.prepared(name, folder, tmp_path / "a", **COUNTS[name])
    kit.prepared(name, target, tmp_path / "b", **COUNTS[name])
    for split in COUNTS[name]:
        left, right = tmp_path / f"a/{split}.zip", tmp_path / f"b/{split}.zip"
        assert left.read_bytes() == right.read_bytes()


@pytest.mark.parametrize("name", sorted(DATASETS))
@pytest.mark.slow
def test_every_data_set_has_a_stand_in_that_is_prepared(tmp_path: Path, name: str) -> None:
    """Smoke fixtures are prepared like real data, and have several classes."""
    from repro.datasets.prepare.smoke_fixtures import write_fixture

    counts = write_fixture(name, tmp_path / "raw")
    splits = kit.prepared(name, tmp_path / "raw", tmp_path / "out", **counts)
    assert {split: len(found) for split, found in splits.items()} == counts
    found = splits["val"]
    assert len({int(c) for i in range(2) for c in np.unique(found.label(i))} - {255}) > 1
