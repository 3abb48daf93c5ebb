"""Data sets that a project declares: `folder:` with patterns of files, `module:` with a module of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import yaml

from repro.cli.data.findings_view import expected
from repro.datasets import built_in, dataset_module, described, prepare_dataset
from repro.datasets.prepare.inspect import inspect
from repro.datasets.prepare.prepared_split import Split
from repro.datasets.prepare.smoke_fixtures import write_fixture
from repro.datasets.sets.palettes import voc_colours
from repro.errors import DataError, ParamsError, ReproError, UnknownNameError
from repro.evaluation.bootstrap import groups_of
from repro.params import DatasetFacts, Experiment, Project, dataset_facts, parse, to_plain
from repro.scaffold.dvc_files import drift
from repro.stages.smoke import drawn_by_module, small_facts, stand_in
from tests.datasets import kit
from tests.datasets.test_cli import repro

NAMES = ["background", "box", "square"]
TINY = {
    "folder": {"images": "images/{id}.png", "labels": "masks/{id}.png", "lists": "{split}.txt"},
    "classes": NAMES,
    "splits": {"train": 2, "val": 1},
}


def facts(block: Mapping[str, Any]) -> DatasetFacts:
    return parse(DatasetFacts, block, "params.yaml: datasets.tiny")


def declared(name: str = "tiny", **block: Any) -> dict[str, Any]:
    return {name: {**TINY, **block}}


def zoo(root: Path, datasets: Mapping[str, Any]) -> Project:
    """A project without experiments that declares these data sets."""
    (root / "experiments").mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump({"datasets": dict(datasets)}))
    return Project(root)


def tiny(root: Path) -> Path:
    """Three images with labels 0, 1, 2 and 255, and their lists."""
    for number, name in enumerate(("a", "b", "c")):
        kit.save(root / "images" / f"{name}.png", kit.photo(number))
        kit.save(root / "masks" / f"{name}.png", kit.blocks(number, (0, 1, 2, 255)))
    (root / "train.txt").write_text("b\na\n")
    (root / "val.txt").write_text("c\n")
    return root


def prepared(block: Mapping[str, Any], raw: Path, out: Path) -> dict[str, Split]:
    """Prepare `raw` as the block declares, and open every split."""
    module = dataset_module(zoo(out / "zoo", {"tiny": block}), "tiny")
    prepare_dataset("tiny", raw, out / "made", facts(block), module=module, workers=1)
    return {split: Split.open(out / "made" / f"{split}.zip") for split in block["splits"]}


def test_a_declared_folder_gives_the_samples_of_the_module_of_the_same_data(tmp_path: Path) -> None:
    """CamVid by declaration: ids, bytes of images and labels, and fingerprints are those of `camvid`."""
    raw, classes = kit.camvid(tmp_path / "raw"), list(built_in("camvid").CLASSES)
    block = {
        "folder": {"images": "{split}/{id}.png", "labels": "{split}annot/{id}.png"},
        "classes": classes,
        "ignore": [11],
        "splits": {"train": 2, "val": 2, "test": 2},
    }
    ours = kit.prepared("camvid", raw, tmp_path / "built_in", train=2, val=2, test=2)
    for split, found in prepared(block, raw, tmp_path).items():
        assert found.fingerprint == ours[split].fingerprint, split
        assert found.samples == ours[split].samples, split
        for sample in found.samples:
            for member in (sample.image, sample.label):
                assert member is not None
                assert bytes(found.read(member)) == bytes(ours[split].read(member)), member
        assert (found.classes, found.palette) == (tuple(classes), voc_colours(11))


def test_lists_give_the_order_and_labels_their_values(tmp_path: Path) -> None:
    found = prepared(TINY, tiny(tmp_path / "raw"), tmp_path)
    assert found["train"].ids == ["b", "a"]
    assert found["train"].classes == tuple(NAMES)
    assert np.array_equal(found["val"].label(0), kit.blocks(2, (0, 1, 2, 255)))


def _nested(root: Path) -> dict[str, Any]:
    """Ids with folders, photographs as JPEG and TIFF, labels with one of two suffixes beside them."""
    for number, name in enumerate(("bonn/1", "bonn/2", "ulm/1")):
        kit.save(root / f"{name}{('.jpg', '.tif', '.jpg')[number]}", kit.photo(number))
        kit.save(root / f"{name}{('_mask', '_mask', '_gt')[number]}.png", kit.blocks(number, (0, 1, 2)))
    folder = {"images": ["{id}.jpg", "{id}.tif"], "labels": ["{id}_mask.png", "{id}_gt.png"]}
    return {"folder": folder, "splits": {"train": 3}}


def _globs(root: Path) -> dict[str, Any]:
    """The split in the path, any extension of the images, a camera's number in the name of the label."""
    for number, name in enumerate(("bonn/1", "bonn/2", "ulm/1")):
        kit.save(root / "left" / "train" / f"{name}{('.png', '.jpg', '.png')[number]}", kit.photo(number))
        kit.save(root / "gt" / "train" / f"{name}_cam{number}.png", kit.blocks(number, (0, 1, 2)))
    (root / "left" / "train" / "bonn" / "1.json").write_text("{}")
    folder = {"images": "left/{split}/{id}.*", "labels": "gt/{split}/{id}_cam*.png"}
    return {"folder": folder, "splits": {"train": 3}}


def _paths(root: Path) -> dict[str, Any]:
    """Lists with the paths of image and label below a folder that is not here, as CamVid's and VOC's are."""
    tiny(root)
    (root / "train.txt").write_text(
        "/data/tiny/images/b.png /data/tiny/masks/b.png\nimages\\a.png,1\nc.png\n"
    )
    return {"splits": {"train": 3}}


def _colours(root: Path) -> dict[str, Any]:
    """Labels in colours, some of a colour to ignore."""
    tiny(root)
    palette = np.array([(0, 0, 0), (200, 0, 0), (0, 200, 0), (9, 9, 9)], np.uint8)
    for number, name in enumerate("abc"):
        kit.save(root / "masks" / f"{name}.png", palette[kit.blocks(number, (0, 1, 2, 3))])
    return {"palette": palette[:3].tolist(), "ignore": [palette[3].tolist()], "splits": {"train": 2}}


def _values(root: Path) -> dict[str, Any]:
    """Label values that are no class numbers, several for one class."""
    tiny(root)
    for number, name in enumerate("abc"):
        kit.save(root / "masks" / f"{name}.png", kit.blocks(number, (7, 8, 20, 30, 40)))
    values = {"background": 20, "box": [7, 8], "square": 30}
    return {"values": values, "ignore": [40], "splits": {"train": 2}}


def _from_one(root: Path) -> dict[str, Any]:
    """Label 1 is the first class, 0 is ignored."""
    tiny(root)
    for number, name in enumerate("abc"):
        kit.save(root / "masks" / f"{name}.png", kit.blocks(number, (0, 1, 2, 3)))
    return {"values": 1, "ignore": [0], "splits": {"train": 2}}


FORMS: dict[Callable[[Path], dict[str, Any]], tuple[list[str], set[int]]] = {
    _nested: (["bonn/1", "bonn/2", "ulm/1"], {0, 1, 2}),
    _globs: (["bonn/1", "bonn/2", "ulm/1"], {0, 1, 2}),
    _paths: (["b", "a", "c"], {0, 1, 2, 255}),
    _colours: (["b", "a"], {0, 1, 2, 255}),
    _values: (["b", "a"], {0, 1, 2, 255}),
    _from_one: (["b", "a"], {0, 1, 2, 255}),
}


def test_the_forms_of_a_folder(tmp_path: Path) -> None:
    for form, (ids, values) in FORMS.items():
        here = tmp_path / form.__name__
        block = {**TINY, **form(here / "raw")}
        found = prepared(block, here / "raw", here)["train"]
        assert found.ids == ids, form.__name__
        assert {int(value) for i in range(len(found)) for value in np.unique(found.label(i))} == values
        assert found.image(0).shape == (12, 16, 3), form.__name__


def test_a_split_without_labels_and_an_archive_with_an_inner_folder(tmp_path: Path) -> None:
    raw = tiny(tmp_path / "top" / "tiny-main")
    (raw / "masks" / "c.png").unlink()
    shutil.make_archive(str(tmp_path / "tiny"), "zip", tmp_path / "top")
    folder = {"images": "images/{id}.png", "labels": "masks/{id}.png", "lists": "{split}.txt"}
    block = {**TINY, "folder": folder | {"unlabelled": ["val"]}}
    found = prepared(block, tmp_path / "tiny.zip", tmp_path)
    assert (found["train"].labelled, found["val"].labelled) == (True, False)


def test_large_images_are_cut_into_tiles_which_are_counted_and_grouped(tmp_path: Path) -> None:
    """12x16 pixels in tiles of 8 with an overlap of 2: two rows of three, of which the image has groups."""
    raw, block = tiny(tmp_path / "raw"), {**TINY, "tile": {"size": 8, "overlap": 2}}
    project = zoo(tmp_path / "zoo", {"tiny": block})
    found = inspect("tiny", raw, module=dataset_module(project, "tiny"))
    counts = {split.split: split.images for split in found.splits}
    assert expected(project, found) == {"train": 2, "val": 1} != counts
    split = prepared(block | {"splits": counts}, raw, tmp_path)["train"]
    assert split.ids[0] == "b_0_0_8_8"
    assert {split.label(i).shape for i in range(len(split))} == {(8, 8)}
    groups = groups_of("tiny", split.ids)
    assert groups is not None
    assert (set(groups.names), groups.noun) == ({"a", "b"}, "source image")
    with pytest.raises(DataError, match=rf"split train has {counts['train']} tiles, params.yaml has 2"):
        prepared(block, raw, tmp_path / "again")


def test_what_is_wrong_with_the_files_names_file_value_and_what_is_allowed(tmp_path: Path) -> None:
    wrong: dict[str, tuple[Callable[[Path], object], str, str]] = {
        "no label": (lambda raw: (raw / "masks/a.png").unlink(), "no label for 'a'", "train.txt: line 2"),
        "no image": (lambda raw: (raw / "images/a.png").unlink(), "no image for 'a'", "train.txt: line 2"),
        "not listed": (
            lambda raw: (raw / "train.txt").write_text("b\nx/y\n"),
            "no image for 'x/y'",
            "line 2",
        ),
        "two ids": (lambda raw: (raw / "train.txt").write_text("b a\na\n"), "two ids", "train.txt: line 1"),
        "no list": (lambda raw: (raw / "train.txt").unlink(), "no list of split train", "train.txt"),
        "size": (
            lambda raw: kit.save(raw / "masks/a.png", kit.blocks(0, (0, 1), (6, 8))),
            "label is 8x6, image is 16x12",
            "masks/a.png",
        ),
        "value": (
            lambda raw: kit.save(raw / "masks/a.png", kit.blocks(0, (0, 7))),
            "[7] have no class",
            "a.png",
        ),
        "two files": (
            lambda raw: shutil.copy(raw / "images/a.png", raw / "images/a.PNG"),
            "duplicate id",
            "a.",
        ),
        "count": (lambda raw: (raw / "train.txt").write_text("b\n"), "split train has 1 images", "raw"),
    }
    for name, (spoil, what, where) in wrong.items():
        raw = tiny(tmp_path / name / "raw")
        spoil(raw)
        with pytest.raises(DataError) as caught:
            prepared(TINY, raw, tmp_path / name)
        assert what in caught.value.what, name
        assert where in str(caught.value.where), name
        assert caught.value.allowed or caught.value.hint, name


def test_what_is_wrong_with_a_declaration_names_the_key(tmp_path: Path) -> None:
    folder = TINY["folder"]
    wrong: dict[str, tuple[dict[str, Any], str]] = {
        "key": ({"folder": {"image": "x"}}, "unknown key 'folder.image'"),
        "no id": ({"folder": {"images": "x.png", "labels": "{id}.png"}}, "{id} in 'x.png'"),
        "placeholder": ({"folder": {"images": "{name}/{id}.png", "labels": "{id}"}}, "{name}"),
        "outside": ({"folder": {"images": "../{id}.png", "labels": "{id}.png"}}, "a path below data/NAME"),
        "no split": (
            {"folder": {"images": "i/{id}.png", "labels": "l/{id}.png"}},
            "{split} in images or lists",
        ),
        "lists": ({"folder": {**folder, "lists": "all.txt"}}, "{split} in 'all.txt'"),
        "one class": ({"classes": ["a"]}, "2 to 254 classes"),
        "number": ({"classes": 1}, "key 'classes': got 1"),
        "type": ({"classes": "abc"}, "allowed: a valid integer, or a list"),
        "twice": ({"classes": ["a", "a"]}, "class names that differ"),
        "palette": ({"palette": [[0, 0, 0]]}, "a colour for each of the 3 classes"),
        "colour": ({"palette": [[0, 0], [1, 1], [2, 2]]}, "key 'palette.0' has too few values"),
        "value": ({"values": {"sky": 1}}, "values of exactly these classes: background, box, square"),
        "value twice": ({"values": {"background": 0, "box": 1, "square": [1, 2]}}, "each label value once"),
        "range": ({"values": {"background": 300, "box": 1, "square": 2}}, "key 'values.background': got 300"),
        "high": ({"values": 254, "ignore": [0]}, "label values up to 255"),
        "ignored": ({"ignore": [2]}, "each label value once"),
        "overlap": ({"tile": {"size": 8, "overlap": 8}}, "an overlap smaller than the size"),
        "both": ({"module": "x"}, "one of folder and module"),
        "alone": ({"folder": None, "tile": {"size": 8}}, "together with folder"),
        "path": (
            {"folder": None, "module": "../x.py", "classes": 3},
            "a module as zoo/other.py or zoo.other",
        ),
    }
    for name, (block, message) in wrong.items():
        project = zoo(tmp_path, declared(**block))
        with pytest.raises(ParamsError) as caught:
            dataset_facts(project, "tiny")
        assert message in str(caught.value), f"{name}: {caught.value}"
        assert str(caught.value.where) == "params.yaml: datasets.tiny", name


def test_names(tmp_path: Path) -> None:
    project = zoo(
        tmp_path, declared("camvid") | declared("tiny") | {"mine": {"classes": 3, "splits": {"a": 1}}}
    )
    with pytest.raises(ParamsError, match="'camvid' is a built-in data set"):
        dataset_module(project, "camvid")
    with pytest.raises(UnknownNameError, match="unknown data set 'mine'") as caught:
        dataset_module(project, "mine")
    assert "declares a data set with `folder:` or `module:`" in str(caught.value.hint)
    with pytest.raises(UnknownNameError) as caught:
        dataset_module(project, "tinny")
    assert caught.value.hint == "did you mean 'tiny'?"
    assert dataset_module(project, "ade20k") is built_in("ade20k")
    zoo(
        tmp_path, {"ade20k": to_plain(DatasetFacts(classes=150, splits={"val": 2}))}
    )  # as smoke runs write it
    assert dataset_module(project, "ade20k") is built_in("ade20k")


MODULE = """
from pathlib import Path
from zoo.helper import SUFFIX
from repro.datasets.raw.match_files import files_by_stem, match_pairs, read_values
from repro.datasets.formats.label_maps import value_table
CLASSES = ("background", "box", "square")
Path(__file__).with_name("was_run").touch()
TABLE = value_table({0: 0, 1: 1, 2: 2, 255: 255})

def pairs(source, split):
    names = {line for _, line in source.numbered_lines(f"{split}{SUFFIX}")}
    found = match_pairs(source, files_by_stem(source, "images"), files_by_stem(source, "masks"))
    return [pair for pair in found if pair.id in names]

def read_label(source, pair):
    return read_values(source, pair, TABLE)
"""


@pytest.fixture
def with_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose data set is a module with a helper; data/other holds its files."""
    project = zoo(tmp_path / "zoo", {"other": {"module": "zoo/other.py", "splits": {"train": 2, "val": 1}}})
    (project.root / "zoo").mkdir()
    (project.root / "zoo" / "other.py").write_text(MODULE)
    (project.root / "zoo" / "helper.py").write_text('SUFFIX = ".txt"\n')
    tiny(project.data / "other")
    monkeypatch.chdir(project.root)
    return project


def test_a_module_of_the_zoo_is_run_only_where_its_data_is_read(with_module: Project) -> None:
    ran = with_module.root / "zoo" / "was_run"
    assert dataset_facts(with_module, "other").class_names == tuple(NAMES)
    assert tuple(NAMES) == described(with_module, "other").CLASSES
    assert "other: other, 3 classes" in repro("data", "list", "other")
    for command in (["list"], ["check"], ["table"], ["data", "list"], ["data", "require", "other"]):
        repro(*command)
    assert list(drift(with_module))
    assert not ran.exists()
    repro("prepare", "other")
    assert ran.exists()
    assert Split.open(with_module.prepared_split("other", "train")).ids == ["a", "b"]


def test_the_files_of_a_module_are_dependencies_of_its_preparation(with_module: Project) -> None:
    text = next(text for path, text in drift(with_module) if path == with_module.root / "dvc.yaml")
    stage = yaml.safe_load(text or "")["stages"]["prepare"]
    assert stage["foreach"]["other"] == {
        "raw": "data/other",
        "code0": "zoo/helper.py",
        "code1": "zoo/other.py",
    }
    assert stage["do"]["deps"][2:] == ["${item.code0}", "${item.code1}"]


def test_what_is_wrong_with_a_module_is_one_error(with_module: Project) -> None:
    path, params = with_module.root / "zoo" / "other.py", with_module.params.read_text()
    wrong = {
        MODULE.replace("def pairs", "def pears"): "the data set has no pairs",
        MODULE + "\n1 / 0\n": "cannot be imported: ZeroDivisionError",
        MODULE + "\ndef broken(:\n": "SyntaxError",
        MODULE.replace("zoo.helper", "zoo.nowhere"): "No module named 'zoo.nowhere'",
    }
    for number, (text, message) in enumerate(wrong.items()):
        renamed = path.with_name(f"other{number}.py")  # a module is imported once in a process
        renamed.write_text(text)
        block = {"module": f"zoo/other{number}.py", "classes": NAMES, "splits": {"train": 2, "val": 1}}
        zoo(with_module.root, {"other": block})
        with pytest.raises(DataError) as caught:
            dataset_module(with_module, "other")
        assert message in caught.value.what, message
        assert str(caught.value.where).endswith(renamed.name), message
    path.write_text(MODULE.replace("names = {", "source.nothing\n    names = {"))
    zoo(with_module.root, {"other": {"module": "zoo/other.py", "splits": {"train": 2, "val": 1}}})
    said = repro("prepare", "other", code=DataError.exit_code)
    assert "pairs() failed: AttributeError: 'Source' object has no attribute 'nothing'" in said
    assert "zoo/other.py:11" in said
    path.write_text("CLASSES = tuple(open('x'))\n")
    with_module.params.write_text(params)
    with pytest.raises(ParamsError, match="missing key 'classes'"):
        dataset_facts(with_module, "other")


def test_every_declaration_has_a_stand_in_that_is_prepared(tmp_path: Path) -> None:
    """Drawn from the patterns, with the values or colours that the declaration allows."""
    forms = {form.__name__: {**TINY, **form(tmp_path / "unused" / form.__name__)} for form in FORMS}
    forms["tile"] = {**TINY, "tile": {"size": 512}}
    forms["module"] = {"module": "zoo/other.py", "classes": NAMES, "splits": TINY["splits"]}
    for name, block in forms.items():
        here, small = tmp_path / name, small_facts(facts(block))
        counts = write_fixture("tiny", here / "raw", small)
        plain = to_plain(small) | {"splits": counts}
        found = prepared(plain, here / "raw", here)["train"]
        assert len(found) == counts["train"] >= 4, name
        assert len({int(value) for value in np.unique(found.label(0))} - {255}) > 1, name


DRAW = """
def draw(folder):
    import numpy as np
    from PIL import Image
    for name, split in (("p", "train"), ("q", "train"), ("r", "val")):
        parts = {"images": np.full((12, 16, 3), 90, np.uint8), "masks": np.eye(12, 16, dtype=np.uint8)}
        for kind, pixels in parts.items():
            (folder / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / f"{name}.png")
        with (folder / f"{split}.txt").open("a") as lines:
            lines.write(f"{name}\\n")
    return {"train": 2, "val": 1}
"""


def test_a_module_draws_its_own_stand_ins(with_module: Project, tmp_path: Path) -> None:
    """In its own layout, and its own functions read them in the smoke project."""
    with_module.params.write_text(with_module.params.read_text().replace("other.py", "drawing.py"))
    path, small = with_module.root / "zoo" / "drawing.py", Project(tmp_path / "small")
    path.write_text(MODULE + DRAW)
    known = dataset_facts(with_module, "other")
    experiment = cast(Experiment, SimpleNamespace(dataset="other", facts=known))
    made, counts = stand_in(with_module, small, experiment)
    assert (made, counts) == (known, {"train": 2, "val": 1})
    zoo(small.root, {"other": to_plain(made) | {"splits": counts}})
    module = dataset_module(small, "other")
    prepare_dataset("other", small.data / "other", tmp_path / "made", made, module=module, workers=1)
    found = Split.open(tmp_path / "made" / "train.zip")
    assert (found.ids, set(np.unique(found.label(0)))) == (["p", "q"], {0, 1})
    wrong = {
        "return {}": "no samples of the split 'train'",
        "1 / 0": "draw.folder. failed: ZeroDivisionError",
    }
    for text, words in wrong.items():
        module = cast(Any, SimpleNamespace())
        exec(f"def draw(folder):\n    {text}", vars(module))
        with pytest.raises(DataError, match=words):
            drawn_by_module(module, known, tmp_path / words[:4])


def test_the_commands_of_data_know_a_declared_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = zoo(tmp_path / "zoo", declared(title="Tiny shapes", licence="CC0", page="tiny.example"))
    monkeypatch.chdir(project.root)
    out = repro("data", "link", "tiny", str(tiny(tmp_path / "raw")))
    assert "train: 2 images, 16x12, 2 decoded, 3 classes seen" in out
    assert "2 images" in repro("data", "verify")
    shown = repro("data", "list", "tiny")
    assert "tiny: Tiny shapes, 3 classes" in shown
    assert "images images/{id}.png; labels masks/{id}.png; lists {split}.txt" in shown
    assert "CC0" in repro("data", "list")
    assert "`repro data link tiny FOLDER`" in repro("data", "get", "tiny", code=2)
    repro("prepare", "tiny")
    assert "| box " in repro("data", "stats", "tiny")
    (project.data / "tiny").unlink()
    assert "repro data link tiny PATH" in repro("data", "require", "tiny", code=2)


def test_an_error_of_a_declaration_ends_the_commands_with_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(zoo(tmp_path, declared(classes=["a"])).root)
    for command in (
        ["data", "list"],
        ["data", "verify", "tiny"],
        ["prepare", "tiny"],
        ["data", "get", "tiny"],
    ):
        assert "2 to 254 classes" in repro(*command, code=ReproError.exit_code), command
