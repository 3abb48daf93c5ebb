"""Params files become typed experiments; every mistake is an error that names the key."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from repro.errors import ParamsError, ReproError, UnknownNameError
from repro.params import (
    Project,
    experiment_name,
    find_project,
    load_experiment,
    matching,
    read_yaml,
    to_plain,
)
from repro.params.experiment import deep_merge, resolve

ROOT: dict[str, Any] = {
    "engine": {"data": 1, "training": 1, "evaluation": 1},
    "datasets": {"tiny": {"classes": 3, "splits": {"train": 4, "val": 2}}},
    "recipes": {
        "plain": {
            "model": {"family": "deeplabv3plus", "output_stride": 16},
            "augmentation": {"pipeline": "scale_crop"},
            "training": {"epochs": 2, "batch": 2, "lr": 0.1},
        }
    },
    "protocols": {"whole": {"mode": "whole"}},
}
OWN: dict[str, Any] = {
    "dataset": "tiny",
    "recipe": "plain",
    "seed": 3,
    "model": {"backbone": "resnet18"},
    "augmentation": {"crop": [32, 48]},
    "training": {"split": "train", "lr": 1},
    "evaluation": {"split": "val", "protocol": "whole"},
}
HERE = Path("experiments/tiny_resnet18_os16/params.yaml")


def changed(path: str, value: object) -> dict[str, Any]:
    """OWN with a changed key."""
    own = copy.deepcopy(OWN)
    *parents, last = path.split(".")
    block = own
    for key in parents:
        block = block[key]
    block[last] = value
    return own


def test_experiment_wins_over_recipe() -> None:
    experiment = resolve("tiny_resnet18_os16", OWN, ROOT, HERE)
    assert (experiment.training.lr, experiment.training.epochs) == (1.0, 2)
    assert experiment.augmentation.crop == (32, 48)
    assert experiment.facts.splits == {"train": 4, "val": 2}
    assert experiment.folder == "experiments/tiny_resnet18_os16"


def test_resolving_leaves_the_blocks_alone() -> None:
    own, root = copy.deepcopy(OWN), copy.deepcopy(ROOT)
    resolve("x", own, root, HERE)
    assert (own, root) == (OWN, ROOT)


def test_plain_form_has_everything() -> None:
    plain = to_plain(resolve("x", OWN, ROOT, HERE))
    assert plain["augmentation"]["crop"] == [32, 48]
    assert plain["protocol"]["mode"] == "whole"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("training.momentun", 0.9, ["training.momentun", "did you mean 'momentum'", str(HERE)]),
        ("training.lr", "fast", ["training.lr", "'fast'", "number"]),
        ("training.lr", "0.1", ["training.lr", "'0.1'", "number", "remove the quotes"]),
        ("training.lr", "5e-2", ["got '5e-2'", "YAML reads 5e-2 as text: write 5.0e-2"]),
        ("training.lr", "1.5e2", ["YAML reads 1.5e2 as text: write 1.5e+2"]),
        ("expect", {"mIoU": 50.0, "band": -1, "source": "x"}, ["expect.band", "-1", "greater than 0"]),
        ("expect", {"mIoU": 50.0, "band": 0, "source": "x"}, ["expect.band", "0", "greater than 0"]),
        ("training.lr", -1, ["training.lr", "-1", "greater than 0"]),
        ("model.backbone", "resnet19", ["model.backbone", "resnet18", "did you mean"]),
        ("model.output_stride", 12, ["model.output_stride", "8"]),
        ("augmentation.crop", [32], ["augmentation.crop"]),
        ("rows", "003-028", ["key 'rows': got '003-028'", "a list", "`rows: [003-028]`"]),
        ("sede", 1, ["sede", "did you mean 'seed'"]),
        ("dataset", "tinny", ["unknown dataset 'tinny'", "did you mean 'tiny'"]),
        ("recipe", "plane", ["unknown recipe 'plane'", "did you mean 'plain'"]),
        ("evaluation.protocol", "hole", ["unknown protocol 'hole'", "did you mean 'whole'"]),
        ("evaluation", {"split": "val"}, ["missing key", "protocol"]),
        ("training", {"split": "train", "lrr": 1}, ["unknown key 'training.lrr'", "did you mean 'lr'"]),
        ("training.split", "trian", ["training.split", "'trian'", "train, val", "did you mean 'train'"]),
        ("evaluation.split", "test", ["evaluation.split", "'test'", "train, val", str(HERE)]),
    ],
)
def test_a_mistake_names_the_key_and_the_way_out(path: str, value: object, words: list[str]) -> None:
    with pytest.raises((ParamsError, UnknownNameError)) as caught:
        resolve("x", changed(path, value), ROOT, HERE)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def shared(path: str, value: object, *, instead: str | None = None) -> dict[str, Any]:
    """ROOT with a changed key, which replaces `instead`, a key of the same block."""
    root = copy.deepcopy(ROOT)
    *parents, last = path.split(".")
    block = root
    for key in parents:
        block = block[key]
    if instead is not None:
        value = block.pop(instead)
    block[last] = value
    return root


@pytest.mark.parametrize(
    ("path", "value", "what", "allowed"),
    [
        ("training.lr", math.inf, "key 'training.lr'", "a finite number"),
        ("augmentation.brightness", math.nan, "key 'augmentation.brightness'", "a finite number"),
        ("augmentation.scale", [1.75, 0.75], "invalid combination in 'augmentation'", "scale as [low, high]"),
        (
            "augmentation.rotate90",
            1.0,
            "invalid combination in 'augmentation'",
            "a square crop with rotate90",
        ),
        ("augmentation.crop", [1, 1], "invalid combination in 'augmentation'", "at least 8 x 8 pixels"),
        ("augmentation.crop", [120], "key 'augmentation.crop' has too few values", "2 values"),
        (
            "training.iterations",
            9,
            "invalid combination in 'training'",
            "exactly one of epochs and iterations",
        ),
        ("training.iterations", 10**23, "key 'training.iterations'", "less than or equal to 1000000000"),
        ("model", 5, "key 'model': got 5", "keys with values"),
        ("model.norm", 5, "key 'model.norm': got 5", "keys with values"),
        ("seed", -1, "key 'seed': got -1", "greater than or equal to 0"),
        ("seed", 10**22, "key 'seed'", "less than or equal to"),
    ],
)
def test_values_that_cannot_be_are_reported_in_plain_words(
    path: str, value: object, what: str, allowed: str | None
) -> None:
    with pytest.raises(ParamsError) as error:
        resolve("tiny_resnet18_os16", changed(path, value), ROOT, HERE)
    assert what in error.value.what
    assert allowed is None or allowed in str(error.value.allowed)


@pytest.mark.parametrize(("stride", "fits"), [([32, 32], True), ([33, 32], False), ([32, 40], False)])
def test_tiles_leave_no_gap(stride: list[int], fits: bool) -> None:
    """Pixels without a tile would get an arbitrary class."""
    root = shared("protocols.whole", {"mode": "slide", "crop": [32, 32], "stride": stride})
    if fits:
        resolve("tiny_resnet18_os16", OWN, root, HERE)
        return
    with pytest.raises(ParamsError) as error:
        resolve("tiny_resnet18_os16", OWN, root, HERE)
    assert "stride of at most the crop" in str(error.value.allowed)


@pytest.mark.parametrize(
    ("root", "what", "where", "hint"),
    [
        (
            shared("datasets.tiny.clases", 0, instead="classes"),
            "unknown key 'clases' (and 1 more)",
            "params.yaml: datasets.tiny",
            "did you mean 'classes'?",
        ),
        (
            shared("protocols.whole.flipp", True),
            "unknown key 'flipp'",
            "params.yaml: protocols.whole",
            "did you mean 'flip'?",
        ),
        (
            shared("recipes.plain.training.momentun", 0.9),
            "unknown key 'training.momentun'",
            "params.yaml: recipes.plain",
            "did you mean 'momentum'?",
        ),
        (
            shared("recipes.plain.training.batch", 0),
            "key 'training.batch': got 0",
            "params.yaml: recipes.plain",
            None,
        ),
        (shared("recipes.plain.seed", "x"), "key 'seed'", str(HERE), None),  # the experiment's own wins
        (
            shared("engine.trainin", 1, instead="training"),
            "unknown key 'trainin' (and 1 more)",
            "params.yaml: engine",
            "did you mean 'training'?",
        ),
        (
            shared("recpes", 0, instead="recipes"),
            "missing key 'recipes'",
            "params.yaml",
            "is 'recpes' misspelt?",
        ),
        (shared("recipes.plain", None), "expected a mapping, got None", "params.yaml: recipes.plain", None),
        (
            shared("protocols.hole", 0, instead="whole"),
            "unknown protocol 'whole'",
            "params.yaml: protocols",
            "did you mean 'hole'?",
        ),
    ],
)
def test_a_mistake_in_a_shared_block_is_reported_with_the_block(
    root: dict[str, Any], what: str, where: str, hint: str | None
) -> None:
    own = OWN | {"seed": "y"} if where == str(HERE) else OWN
    with pytest.raises(ReproError) as caught:
        resolve("x", own, root, HERE)
    assert caught.value.what.startswith(what)
    assert (caught.value.where, caught.value.hint) == (where, hint)


def test_a_missing_top_level_key_is_named() -> None:
    with pytest.raises(ParamsError, match="missing key 'evaluation'"):
        resolve("x", {k: v for k, v in OWN.items() if k != "evaluation"}, ROOT, HERE)


def test_a_misspelt_block_is_unknown_before_its_keys_are_missing() -> None:
    own = {("traning" if key == "training" else key): value for key, value in OWN.items()}
    with pytest.raises(ParamsError, match="unknown key 'traning'") as caught:
        resolve("x", own, ROOT, HERE)
    assert caught.value.hint == "did you mean 'training'?"
    own = {("evalution" if key == "evaluation" else key): value for key, value in OWN.items()}
    with pytest.raises(ParamsError, match="is 'evalution' misspelt"):
        resolve("x", own, ROOT, HERE)


def test_deep_merge_replaces_lists_and_joins_mappings() -> None:
    assert deep_merge({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2]}}) == {"a": {"b": 1, "c": [2]}}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with one experiment, tiny_resnet18_os16."""
    folder = tmp_path / "experiments" / "tiny_resnet18_os16"
    folder.mkdir(parents=True)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(ROOT))
    (folder / "params.yaml").write_text(yaml.safe_dump(OWN))
    return Project(tmp_path)


def test_project_is_found_from_inside(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project.experiments / "tiny_resnet18_os16"
    assert find_project(folder).root == project.root.resolve()
    monkeypatch.chdir(folder)
    for text in (".", "tiny_resnet18_os16", "experiments/tiny_resnet18_os16/"):
        assert load_experiment(project, text).name == "tiny_resnet18_os16"


def test_outside_a_project(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="not inside a project"):
        find_project(tmp_path)


def test_unknown_experiment_suggests(project: Project) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'tiny_resnet18_os16'"):
        load_experiment(project, "tiny_resnet18_os8")


@pytest.mark.parametrize("text", ["", "a/b", "x" * 65])
def test_not_a_name(text: str) -> None:
    with pytest.raises(ParamsError, match="not an experiment name"):
        experiment_name(text)


def test_patterns_mean_experiments() -> None:
    known = ["ade20k_r50_os8", "camvid_mobilenetv2_os16", "ade20k_r50_os16"]
    assert matching(["experiments/camvid_mobilenetv2_os16/"], known) == ["camvid_mobilenetv2_os16"]
    assert matching(["ade20k_r50_*", "ade20k_r50_os16"], known) == ["ade20k_r50_os16", "ade20k_r50_os8"]
    assert matching([], known) == sorted(known)
    for wrong in ("camvid_mobilenetv2_os61", "camvid_mobilenetv2_*8"):
        with pytest.raises(UnknownNameError, match="did you mean 'camvid_mobilenetv2_os16'"):
            matching(["ade20k_*", wrong], known)


@pytest.mark.parametrize("text", ["a: [1", "- 1\n", "\xff"])
def test_broken_yaml_names_the_file(project: Project, text: str) -> None:
    path = project.experiments / "tiny_resnet18_os16" / "params.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ParamsError, match=r"params\.yaml"):
        load_experiment(project, "tiny_resnet18_os16")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("dataset: tiny\nseed: 0\n# x\nseed: 1\n", "duplicate key 'seed' in lines 2 and 4"),
        ("training:\n  lr: 1.0\n  'lr': 2.0\n", "duplicate key 'lr' in lines 2 and 3"),
        ("training: {lr: 1.0, lr: 1.0}\n", "duplicate key 'lr' in line 1"),
    ],
)
def test_a_duplicate_key_is_refused(tmp_path: Path, text: str, what: str) -> None:
    """DVC rejects it too, with an internal message."""
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=what) as caught:
        read_yaml(path)
    assert caught.value.where == str(path)


def test_a_merged_mapping_may_say_a_key_again(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("x: {a: &a {lr: 1.0}, b: &b {<<: *a, lr: 2.0}}\nc: {<<: *b, lr: 3.0}\n")
    assert read_yaml(path) == {"x": {"a": {"lr": 1.0}, "b": {"lr": 2.0}}, "c": {"lr": 3.0}}


def test_further_protocols_are_resolved() -> None:
    root = ROOT | {"protocols": {"whole": {"mode": "whole"}, "flipped": {"mode": "whole", "flip": True}}}
    found = resolve("x", OWN | {"also": ["flipped"]}, root, HERE)
    assert list(found.also) == ["flipped"]
    assert found.also["flipped"].flip
    assert resolve("x", OWN, root, HERE).also == {}


@pytest.mark.parametrize("also", ["flipped", ["whole"], ["flipped", "flipped"], {"flipped": 1}])
def test_further_protocols_are_a_list_of_others(also: object) -> None:
    root = ROOT | {"protocols": {"whole": {"mode": "whole"}, "flipped": {"mode": "whole", "flip": True}}}
    with pytest.raises(ParamsError, match="key 'also'"):
        resolve("x", OWN | {"also": also}, root, HERE)


def test_an_unknown_further_protocol_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'whole'"):
        resolve("x", OWN | {"also": ["whol"]}, ROOT, HERE)
