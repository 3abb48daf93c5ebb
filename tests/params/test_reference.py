"""`model: {build: ...}`: a network by reference replaces the recipe's, and its mistakes name their key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from repro.errors import ParamsError
from repro.io.atomic import sha256_file
from repro.params import ReferenceModel, TrainedExperiment, to_plain
from repro.params.experiment import merge, parse_experiment, resolve
from repro.params.reference import parse_network
from repro.records import training_key
from tests.params.test_params import HERE, OWN, ROOT

BUILD = "zoo.nets:Net"


def resolved(model: dict[str, Any], where: Path = HERE, **own: Any) -> TrainedExperiment:
    experiment = resolve("x", OWN | {"model": model} | own, ROOT, where)
    assert isinstance(experiment, TrainedExperiment)
    return experiment


def test_it_replaces_the_model_of_the_recipe() -> None:
    model = resolved({"build": BUILD, "args": {"classes": 3}}).model
    assert model == ReferenceModel(build=BUILD, args={"classes": 3})
    assert merge(ROOT["recipes"]["plain"], {"model": {"build": BUILD}})["model"] == {"build": BUILD}
    shared = ROOT | {"recipes": {"plain": ROOT["recipes"]["plain"] | {"model": {"build": BUILD}}}}
    merged = resolve("x", OWN | {"model": {"args": {"classes": 3}}}, shared, HERE)
    assert merged.model == model  # the key `build` is the recipe's, the arguments are the experiment's


def test_it_survives_the_record() -> None:
    experiment = resolved({"build": BUILD, "args": {"sizes": [1, 2], "depth": None}, "size_divisor": 16})
    assert parse_experiment(to_plain(experiment), "record") == experiment
    assert parse_network(to_plain(experiment.model), "journal") == experiment.model
    assert hash(experiment.model) == hash(parse_network(to_plain(experiment.model), "journal"))


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"build": BUILD, "arg": {}}, "unknown key 'model.arg'", "did you mean 'args'"),
    (
        {"build": BUILD, "family": "deeplabv3"},
        "unknown key 'model.family'",
        "allowed: build, args, pretrained",
    ),
    ({"build": BUILD, "input": {"ordr": "rgb"}}, "unknown key 'model.input.ordr'", "order, mean, std"),
    (
        {"build": BUILD, "parts": {"head": "x"}},
        "unknown key 'model.parts.head'",
        "backbone, classifier, norms",
    ),
    ({"build": BUILD, "args": [1]}, "key 'model.args': got [1]", "keys with values"),
    ({"build": BUILD, "args": {"a": float("nan")}}, "invalid combination in 'model'", "finite numbers"),
    ({"build": BUILD, "resize": "cubic"}, "key 'model.resize': got 'cubic'", "half_pixel"),
    ({"build": BUILD, "size_divisor": 32}, "key 'augmentation.crop': got [48, 48]", "multiples of"),
    *(
        ({"build": one}, f"key 'model.build': got {one!r}", "MODULE:NAME")
        for one in ("a.b", "a b:c", "../x:y", ":c", "a:b;c")
    ),
    ({"backbonne": "resnet18"}, "unknown key 'model.backbonne'", "did you mean 'backbone'"),
]


def test_every_mistake_names_its_key() -> None:
    for model, what, more in MISTAKES:
        with pytest.raises(ParamsError) as error:
            resolved(model, augmentation={"crop": [48, 48]})
        text = str(error.value)
        assert what in text, (model, text)
        assert more in text, (model, text)
        assert str(HERE) in text
        assert "Model" not in text, text  # no name of a class


def test_an_edit_of_its_sources_changes_the_run_key(tmp_path: Path) -> None:
    file, where = tmp_path / "zoo" / "nets.py", tmp_path / "experiments" / "x" / "params.yaml"
    file.parent.mkdir()
    keys = set()
    for text in ("import os", "import sys"):
        file.write_text(text)
        experiment = resolved({"build": BUILD, "sources": {"forged": "0"}}, where)
        assert isinstance(experiment.model, ReferenceModel)
        assert experiment.model.sources == {"zoo/nets.py": sha256_file(file)}
        keys.add(training_key(experiment, "f" * 64))
    assert len(keys) == 2
