"""A network of the project's own, by reference, through every stage; what only reads never runs it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import Result
from typer.testing import CliRunner

from repro.checkpoints import load_model
from repro.cli.app import app
from repro.errors import CheckpointError
from repro.io import sources
from repro.params import Project, load_trained
from repro.records import Journal, read_journal
from repro.records.build import training_provenance
from repro.scaffold.dvc_files import sync
from repro.stages.local_runner import run_stages
from repro.stages.preflight import blockers, this_machine
from repro.stages.smoke import representatives, smoke_project
from repro.stages.train import check_pretrained

NETS = """
from pathlib import Path
from torch import nn
from zoo_blocks import block

(Path(__file__).parent / "ran.txt").touch()

def small(classes, width=8):
    return nn.Sequential(block(3, width), nn.Conv2d(width, classes, 1))
"""
BLOCKS = """
from torch import nn

def block(inputs, outputs):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 4, 1), nn.BatchNorm2d(outputs), nn.ReLU())
"""
SHARED = {
    "engine": {"data": 1, "training": 1, "evaluation": 1},
    "datasets": {"synthetic": {"classes": 11, "splits": {"train": 96, "val": 24, "test": 48}}},
    "recipes": {"plain": {"augmentation": {"pipeline": "scale_crop"}, "training": {"batch": 2, "lr": 0.01}}},
    "protocols": {"whole": {"mode": "whole", "ms_flip": {"scales": [0.5, 1.0], "flip": True}}},
}
OWN = {
    "dataset": "synthetic",
    "recipe": "plain",
    "seed": 0,
    "model": {"build": "zoo_nets:small", "args": {"classes": 11}, "parts": {"backbone": "0."}},
    "augmentation": {"crop": [64, 64]},
    "training": {
        "split": "train",
        "epochs": 1,
        "lr_backbone": 0.1,
        "validate_every": "epoch",
        "keep": "best",
    },
    "evaluation": {"split": "val", "protocol": "whole"},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A project with an experiment `mine` of its own network, in a process that trusts none."""
    made, path, modules = Project(tmp_path), list(sys.path), set(sys.modules)
    monkeypatch.setattr(sources, "_trusted", [])
    monkeypatch.setenv("REPRO_TRACKING", "off")
    monkeypatch.chdir(tmp_path)
    made.params_of("mine").parent.mkdir(parents=True)
    made.params.write_text(yaml.safe_dump(SHARED))
    made.params_of("mine").write_text(yaml.safe_dump(OWN))
    (tmp_path / "zoo_nets.py").write_text(NETS)
    (tmp_path / "zoo_blocks.py").write_text(BLOCKS)
    yield made
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("zoo_"):
            del sys.modules[name]


def cli(*arguments: str, ok: bool = True) -> Result:
    done = CliRunner().invoke(app, arguments)
    assert not ok or done.exit_code == 0, done.output
    return done


def test_generated_stages_depend_on_its_sources_alone(project: Project) -> None:
    sync(project)
    stages = yaml.safe_load((project.experiment_folder("mine") / "dvc.yaml").read_text())["stages"]
    for name in ("train", "evaluate", "benchmark"):
        own = [dep for dep in stages[name]["deps"] if dep.endswith(".py")]
        assert own == ["../../zoo_blocks.py", "../../zoo_nets.py"], name
        assert "recipes.${recipe}.model" not in str(stages[name]), name
    assert "recipes.${recipe}" in str(stages["train"])

    project.params_of("mine").write_text(
        yaml.safe_dump(OWN | {"model": {"build": "os:abort", "args": {"classes": 3}}})
    )
    sync(project)
    text = (project.experiment_folder("mine") / "dvc.yaml").read_text()
    assert ".py" not in text  # an installed module is no file of the project
    assert not (project.root / "ran.txt").exists()


@pytest.mark.slow
def test_every_stage_runs_and_the_record_names_what_was_built(project: Project) -> None:
    experiment = load_trained(project, "mine")
    assert representatives([experiment]) == [experiment]
    assert blockers(project, experiment, this_machine()) == []
    small, shrunk = smoke_project(project, experiment)
    record = run_stages(small, shrunk, "cpu", bench_seconds=0.0)
    model = record.params["model"]
    assert (model["build"], model["args"]) == ("zoo_nets:small", {"classes": 11})
    assert set(model["sources"]) == {"zoo_blocks.py", "zoo_nets.py"}
    assert record.provenance["network"] == {"build": "zoo_nets:small", "package": "this project"}
    assert record.cost["params_M"] == pytest.approx((3 * 8 * 9 + 8 + 16 + 8 * 11 + 11) / 1e6, abs=1e-4)
    assert "family" not in model
    assert record.metrics.keys() >= {"mIoU", "mIoU_ms_flip"}
    inside(small)


def inside(small: Project) -> None:
    """Commands in the project of a smoke run, whose record is there."""
    from _pytest.monkeypatch import MonkeyPatch

    with MonkeyPatch.context() as patch:
        patch.chdir(small.root)
        weights = "experiments/mine/model.safetensors"
        assert json.loads(cli("weights", "inspect", weights, "--json").stdout)["fits"] == ["mine"]
        foreign_weights(small)
        image = next((small.root / "data" / "synthetic").rglob("*.png"))
        cli("predict", "mine", str(image), "-o", "maps")
        assert (small.root / "maps" / image.name).is_file()
        (listed,) = json.loads(cli("list", "--json").stdout)
        assert listed["family"] == "zoo_nets:small"
        assert listed["backbone"] is None
        cli("bundle", "export", "mine", "--out", "run.zip")
        cli("bundle", "import", "run.zip")
        read_only(small)
        (small.root / "zoo_blocks.py").write_text(BLOCKS + "# edited\n")
        assert "params changed since it was measured (model)" in cli("check", ok=False).output


def foreign_weights(small: Project) -> None:
    """A file of the author has the author's names: it fits as it is, and is described."""
    state, _ = load_model(small.weights("mine"))
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, "author.pth")
    found = json.loads(cli("weights", "inspect", "author.pth", "--json").stdout)
    assert (found["format"], found["fits"]) == ("own", ["mine"])
    cli("weights", "convert", "author.pth", "-e", "mine", "-o", "again.safetensors")
    again, _ = load_model(small.root / "again.safetensors")
    assert all(torch.equal(again[name], value) for name, value in state.items())
    torch.save({"strange.weight": torch.zeros(1)}, "other.pth")
    assert "unknown checkpoint format" in str(cli("weights", "inspect", "other.pth", ok=False).exception)


def read_only(small: Project) -> None:
    """Commands that only read files run no code of the project, not even by importing it."""
    sources._trusted.clear()
    mark = small.root / "ran.txt"
    mark.unlink()
    (small.root / "zoo_nets.py").write_text(NETS.replace("ran.txt", "imported.txt"))
    for name in [name for name in sys.modules if name.startswith("zoo_")]:
        del sys.modules[name]
    commands = (
        "list",
        "check",
        "report",
        "show mine",
        "explain mine mIoU",
        "table",
        "sync --check",
        "compare mine mine",
    )
    for command in commands:
        done = cli(*command.split(), ok=False)
        assert done.exit_code in (0, 1) or "incomparable" in done.output, (command, done.output)
    assert not (small.root / "imported.txt").exists()
    assert not [name for name in sys.modules if name.startswith("zoo_")]
    (small.root / "zoo_nets.py").write_text(NETS)


STARTED = """
def started(classes, start=0.0):
    net = small(classes)
    nn.init.constant_(net[1].bias, start)
    return net
"""


def test_a_training_resumes_with_the_pretrained_weights_that_it_began_with(project: Project) -> None:
    """Their sha256 is in the journal and the record; the seed of what is not pretrained does not matter."""
    (project.root / "zoo_nets.py").write_text(NETS + STARTED)
    sources.trust(project.root)
    path = project.root / ".repro" / "work" / "journal.jsonl"

    def check(seed: int = 0, **pretrained: float) -> None:
        model = {"build": "zoo_nets:started", "args": {"classes": 11}, "pretrained_args": pretrained}
        project.params_of("mine").write_text(yaml.safe_dump(OWN | {"seed": seed, "model": model}))
        check_pretrained(load_trained(project, "mine"), path.parent, journal)

    path.parent.mkdir(parents=True)
    with Journal(path) as journal:
        check()
        assert read_journal(path) == []
        journal.event("provenance", found={"at": "now"})
        for seed in (0, 3):
            check(seed, start=0.5)
        with pytest.raises(CheckpointError, match="`pretrained_args` load other weights"):
            check(start=0.7)
    found = training_provenance(read_journal(path))
    assert found.keys() == {"at", "pretrained_sha256"}
    assert len(found["pretrained_sha256"]) == 64


def test_a_mistake_is_found_before_a_training(project: Project) -> None:
    wrong = {"args": {"classes": 12}}, {"build": "zoo_nets:samll"}, {"parts": {"backbone": "1.x"}}
    expected = "12 classes; the data set has 11", "no attribute 'samll'", "key 'model.parts.backbone'"
    for change, text in zip(wrong, expected, strict=True):
        project.params_of("mine").write_text(yaml.safe_dump(OWN | {"model": OWN["model"] | change}))
        (why,) = blockers(project, load_trained(project, "mine"), this_machine())
        assert text in why, why
    done = cli("plan", "mine", ok=False)
    assert "Traceback" not in done.output
