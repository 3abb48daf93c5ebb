"""`repro weights` and `repro cost` as typed, on the experiments of this repository."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from repro.checkpoints import load_model
from repro.cli.app import app
from repro.cli.run.cost import parse_size
from repro.errors import CheckpointError, ParamsError, StorageError, UnknownNameError
from repro.params import Project, load_experiment
from tests.models.kit import page_fill, page_keys

EXPERIMENT = "potsdam_r18_os8"  # page 004's R-18 with 6 classes: the golden network


def repro(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def error_of(result: Result) -> str:
    assert result.exit_code != 0
    return str(result.exception)


@pytest.fixture
def at_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(root)
    return Project(root)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of mmsegmentation's R-18, every value from the golden rule, in float32."""
    path = tmp_path_factory.mktemp("released") / "r18.pth"
    values = {
        key: page_fill(key, shape) for key, shape in page_keys("mmsegmentation_v3plus_r18_os8_nc6").items()
    }
    state = {key: value.float() if value.is_floating_point() else value for key, value in values.items()}
    torch.save({"meta": {"epoch": 1}, "state_dict": state}, path)
    return path


@pytest.mark.slow
def test_a_released_checkpoint_is_inspected_converted_and_written_back_bit_equal(
    at_root: Project, released: Path, tmp_path: Path
) -> None:
    looked = repro("weights", "inspect", released, "--json")
    found = json.loads(looked.stdout)
    assert (found["format"], found["classes"], found["entries"]) == ("mmsegmentation", 6, 226)
    assert found["fits"] == ["potsdam_r18_os8", "vaihingen_r18_os8"]
    shown = repro("weights", "inspect", released).stdout
    assert "DeepLabV3+ R-18" in shown
    assert "fits        potsdam_r18_os8, vaihingen_r18_os8" in shown
    ours, theirs = tmp_path / "model.safetensors", tmp_path / "back.pth"
    made = repro("weights", "convert", released, "--experiment", EXPERIMENT, "-o", ours)
    assert made.exit_code == 0, made.exception
    assert load_model(ours)[1] == {
        "experiment": EXPERIMENT,
        "source": "r18.pth",
        "source_sha256": found["sha256"],
        "format": "mmsegmentation",
    }
    own = json.loads(repro("weights", "inspect", ours, "--json").stdout)
    assert own["network"] == f"weights of the experiment {EXPERIMENT}, from r18.pth"
    assert {key: own[key] for key in ("classes", "parameters", "fits")} == {
        key: found[key] for key in ("classes", "parameters", "fits")
    }
    back = repro("weights", "convert", ours, "-e", EXPERIMENT, "--to", "mmsegmentation", "-o", theirs)
    assert back.exit_code == 0, back.exception
    first, second = (torch.load(path, weights_only=True)["state_dict"] for path in (released, theirs))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    nowhere = repro("weights", "convert", ours, "-e", EXPERIMENT, "--to", "mmsegmentation", "-o", tmp_path)
    assert isinstance(nowhere.exception, StorageError)
    assert nowhere.exception.where == str(tmp_path)


def test_a_checkpoint_of_another_network_or_format_is_refused(
    at_root: Project, released: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.safetensors"
    wrong = repro("weights", "convert", released, "-e", "potsdam_r50_os8", "-o", out)
    assert isinstance(wrong.exception, CheckpointError)
    assert "missing backbone.layer1.0.conv3.weight" in error_of(wrong)
    classes = repro("weights", "convert", released, "-e", "loveda_r18_os8", "-o", out)
    assert "[6, 128, 1, 1], the network's 'head.classifier.weight' [7, 128, 1, 1]" in error_of(classes)
    named = repro("weights", "convert", released, "-e", EXPERIMENT, "--format", "mmsegmentaton", "-o", out)
    assert isinstance(named.exception, UnknownNameError)
    assert "did you mean 'mmsegmentation'?" in error_of(named)
    assert not out.exists()


def test_cost_needs_no_data_and_prints_json(at_root: Project) -> None:
    result = repro("cost", "cityscapes_mobilenetv2_os16", "--size", "1024x2048", "--json")
    found = json.loads(result.stdout)
    assert found["params_M"] == 5.225203
    assert found["gmacs_thop"] == pytest.approx(135.10, abs=0.005)
    assert found["input_size"] == [1024, 2048]
    text = repro("cost", "experiments/cityscapes_mobilenetv2_os16/").stdout
    assert "5.225 M" in text
    assert "input 1024x2048" in text, "the size of the data set's images, as page 000 counted"


@pytest.mark.parametrize("text", ["1024", "0x5", "1024x", "x", "-1x5", "1.5x2"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ParamsError, match="not a size"):
        parse_size(text)
    assert parse_size(" 512X1024 ") == (512, 1024)


def test_weights_are_listed_added_and_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    listed = json.loads(repro("weights", "list", "--json").stdout)
    assert listed["store"] == str(tmp_path / "home" / "weights")
    assert {row["name"] for row in listed["weights"]} >= {"openmmlab_resnet50_v1c", "torchvision_mobilenetv2"}
    assert not any(row["stored"] for row in listed["weights"])
    file = tmp_path / "w.pth"
    file.write_bytes(b"weights")
    unsure = repro("weights", "add", file, "--name", "mine")
    assert "'mine' is not a known name" in error_of(unsure)
    assert "--sha256" in error_of(unsure)
    assert not (tmp_path / "home" / "weights" / "mine").exists()
    digest = hashlib.sha256(b"weights").hexdigest()
    assert repro("weights", "add", file, "--name", "mine", "--sha256", digest).exit_code == 0
    assert re.search("^mine +yes +", repro("weights", "list").stdout, re.M)
    refused = repro("weights", "add", file, "--name", "openmmlab_resnet50_v1c")
    assert "wrong sha256" in error_of(refused)
    assert "unknown weights 'nothing'" in error_of(repro("weights", "get", "nothing"))


def test_weights_are_used_by_the_experiments_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which start from them by recipe, or read them as a program; outside a project nobody does."""
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    digest = hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "w.pth").write_bytes(b"weights")
    repro("weights", "add", "w.pth", "--name", f"programs/{digest}", "--sha256", digest)

    def users() -> dict[str, str]:
        found = json.loads(repro("weights", "list", "--json").stdout)["weights"]
        return {row["name"]: row["used_by"] for row in found if row["used_by"]}

    assert users() == {}
    (tmp_path / "params.yaml").write_text("recipes: {v1: {model: {pretrained: torchvision_resnet50}}}\n")
    for name, text in {
        "mine": "{dataset: x, recipe: v1}",
        "program": f"{{dataset: x, external: {{weights: {{sha256: {digest}}}}}}}",
        "broken": "{",
    }.items():
        (tmp_path / "experiments" / name).mkdir(parents=True)
        (tmp_path / "experiments" / name / "params.yaml").write_text(text)
    assert users() == {"torchvision_resnet50": "mine", f"programs/{digest}": "program"}


def test_every_pretrained_name_of_an_experiment_is_known(root: Path) -> None:
    from repro.checkpoints.weights_cache import KNOWN
    from repro.params import experiment_names

    project = Project(root)
    named = {load_experiment(project, name).model.pretrained for name in experiment_names(project)}
    assert named - {None} <= KNOWN.keys()
    assert len(named) >= 7
