"""Released weights verified again: a planted change of network, resize rule and package version is named."""

from __future__ import annotations

import http.server
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from repro.checkpoints import weights_cache
from repro.cli.app import app
from repro.errors import RecordError
from repro.io import sources
from repro.params import Project, load_trained
from repro.records.verified import read_verified
from repro.stages import verify_inputs
from repro.stages.verify import to_json, verify_released
from repro.stages.verify_all import Options, Outcome, compare, not_since, verified_of
from tests.datasets import kit

NETS = """
from torch import nn

def small(classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, classes, 1))
"""
SPLITS = {"train": 3, "val": 3, "trainval": 6, "test": 3}
SHARED: dict[str, Any] = {
    "engine": {"data": 1, "training": 1, "evaluation": 1},
    "datasets": {"camvid": {"classes": 11, "splits": SPLITS}},
    "recipes": {"plain": {"augmentation": {"pipeline": "scale_crop"}, "training": {"batch": 2, "lr": 0.01}}},
    "protocols": {"whole": {"mode": "whole"}},
}
OWN: dict[str, Any] = {
    "dataset": "camvid",
    "recipe": "plain",
    "model": {"build": "zoo_nets:small", "args": {"classes": 11}},
    "augmentation": {"crop": [32, 32]},
    "training": {"split": "train", "epochs": 1},
    "evaluation": {"split": "test", "protocol": "whole"},
}
NO_SERVER = "http://127.0.0.1:9"  # the port of `discard`, where nobody answers


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))


def publish(root: Path, mIoU: float, address: str = NO_SERVER) -> Project:
    """The page of the two rows; Project reads it again."""
    lines = [
        f"| {name} | CamVid | {mIoU:.2f} | [model]({address}/{name}.pth) |" for name in ("small", "gone")
    ]
    text = "\n".join(["| Method | Dataset | mIoU | Download |", "|---|---|---|---|", *lines])
    (root / "RESULTS.md").write_text(f"{text}\n")
    done = CliRunner().invoke(app, ["page", "import", str(root / "RESULTS.md"), "--id", "mine", "--force"])
    assert done.exit_code == 0, done.output
    return Project(root)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Experiments `small`, whose weights are in the store, and `gone`, whose link is dead."""
    path = list(sys.path)
    monkeypatch.setattr(sources, "_trusted", [])
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    raw = kit.camvid(tmp_path / "data" / "camvid", per_split=3, size_HW=(30, 42))
    kit.prepared("camvid", raw, tmp_path / "prepared" / "camvid", **SPLITS)
    write(tmp_path / "params.yaml", SHARED)
    (tmp_path / "zoo_nets.py").write_text(NETS)
    for number, name in enumerate(("small", "gone"), start=1):
        write(tmp_path / "experiments" / name / "params.yaml", OWN | {"rows": [f"mine-{number:02d}"]})
    publish(tmp_path, 50.0)
    store(tmp_path)
    made = Project(tmp_path)
    yield publish(tmp_path, verified(made)["metrics"]["mIoU"])
    sys.path[:] = path
    sys.modules.pop("zoo_nets", None)


def store(root: Path) -> None:
    """Weights of the network in the store of downloads, as those of row mine-01."""
    torch.manual_seed(0)
    layers = {"0": torch.nn.Conv2d(3, 8, 3, 4, 1), "2": torch.nn.Conv2d(8, 11, 1)}
    state = {f"{i}.{name}": one for i, layer in layers.items() for name, one in layer.state_dict().items()}
    torch.save({"state_dict": state}, root / "small.pth")
    weights_cache.add(root / "small.pth", name="released/mine-01")


def verified(project: Project, **options: Any) -> dict[str, Any]:
    """What a new process would find: the modules of the project are imported again."""
    sys.modules.pop("zoo_nets", None)
    return to_json(verify_released(project, load_trained(project, "small"), device="cpu", **options))


def again(project: Project, options: Options | None = None) -> Outcome:
    return compare(project, "small", verified_of(verified(Project(project.root))), options or Options())


def test_what_changed_since_the_last_time_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first = again(project)
    assert (first.state, first.verdict, first.last, first.changes) == ("same", "reproduced", None, ())
    kept = project.verified("small").read_text()
    second = again(project)
    assert (second.state, second.last, second.changes) == ("same", first.measured, ())
    assert project.verified("small").read_text() == kept  # the evaluation came from the cache

    nets, params = project.root / "zoo_nets.py", project.params_of("small")
    own = yaml.safe_load(params.read_text())
    resized = {**own, "model": {**own["model"], "resize": "align_corners"}}
    scaled = {**SHARED, "protocols": {"whole": {"mode": "whole", "scales": [0.5, 1.0]}}}
    planted = {  # of another length: Python takes a file of equal size and second for the compiled one
        "zoo_nets.py edited": lambda: nets.write_text(NETS.replace("nn.ReLU()", "nn.Softplus()")),
        "network resize half_pixel → align_corners": lambda: write(params, resized),
        "protocol: scales 1 → 0.5 to 1 (2)": lambda: write(project.params, scaled),
    }
    for change, plant in planted.items():
        plant()
        found = again(project, Options(tolerance=0.0))
        assert (found.state, found.changes) == ("moved", (change,)), found
        assert again(project, Options(tolerance=0.0)).state == "moved"  # until it is accepted
        nets.write_text(NETS)
        write(params, own)
        write(project.params, SHARED)
    assert project.verified("small").read_text() == kept

    real = verify_inputs.version
    monkeypatch.setattr(verify_inputs, "version", lambda name: "9.9.9" if name == "torch" else real(name))
    upgraded = again(project)
    assert (upgraded.state, upgraded.changes) == ("same", (f"torch {real('torch')} → 9.9.9",))


def test_a_number_that_moved_is_kept_when_it_is_accepted(project: Project) -> None:
    moved = publish(project.root, 1.0)
    assert again(moved).state == "moved"  # the first time from what is published
    assert not project.verified("small").exists()
    assert again(moved, Options(accept=True)).verdict == "differs"
    assert again(moved).state == "same"


def test_stale_chooses_by_the_time_of_the_evaluation(project: Project) -> None:
    again(project)
    assert not_since(project, ["small", "gone"], 3600) == ["gone"]
    path = project.verified("small")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"at": "2020-01-01T00:00:00Z"}))
    assert not_since(project, ["small", "gone"], 3600) == ["small", "gone"]
    path.write_text('{"row": 1}')
    assert not_since(project, ["small"], 3600) == ["small"]
    with pytest.raises(RecordError, match="not a verification"):
        read_verified(path)


def test_an_old_result_is_evaluated_again(project: Project) -> None:
    (file,) = (project.root / ".repro" / "released").glob("*/metrics.json")
    os.utime(file, (0, 0))
    assert verified(project)["at"] == "1970-01-01T00:00:00Z"
    assert verified(project, max_age=3600)["at"] > "2020"


@pytest.mark.slow
def test_one_row_that_fails_stops_none_of_the_others(project: Project) -> None:
    printed = project.published.rows["mine-01"].metrics["mIoU"]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/missing"
        all_but_one_verified(publish(project.root, printed, address), address)
        server.shutdown()


def all_but_one_verified(project: Project, address: str) -> None:
    done = CliRunner().invoke(app, ["verify", "--all", "--jobs", "2", "--device", "cpu", "--json"])
    assert "1 experiment could not be looked at" in str(done.exception), done.output
    assert getattr(done.exception, "exit_code", None) == 2
    lines = {one["experiment"]: one for one in json.loads(done.stdout)}
    assert (lines["small"]["state"], lines["small"]["verdict"]) == ("same", "reproduced")
    assert (lines["gone"]["state"], lines["gone"]["row"]) == ("not looked at", "mine-02")
    assert lines["gone"]["published"] == lines["small"]["published"]
    assert address in lines["gone"]["error"]
    assert read_verified(project.verified("small")) is not None


def test_what_to_verify_must_be_said(project: Project) -> None:
    write(project.params_of("plain"), OWN)
    for words, said in (
        ([], "nothing to verify"),
        (["small", "--all"], "names with --all"),
        (["plain*"], "none of 1 experiment has released weights"),
        (["*", "--stale", "a month"], "not an age: 'a month'"),
        (["*", "--weights", "small.pth"], "are for one experiment"),
    ):
        assert said in str(CliRunner().invoke(app, ["verify", *words]).exception), words
