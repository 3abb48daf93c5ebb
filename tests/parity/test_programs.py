"""examples/mmsegmentation: mmsegmentation's runner as a program, its log, its number and its page."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.params import ExternalExperiment, Project, load_experiment
from repro.records import read_journal
from repro.stages.init import init_zoo
from repro.stages.local_runner import run_stages

EXAMPLE, NAME = Path(__file__).parents[2] / "examples" / "mmsegmentation", "fastscnn"


def test_the_example_has_less_than_sixty_lines() -> None:
    files = [path for path in EXAMPLE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(1 for file in files for line in file.read_text().splitlines() if line.strip()) < 60


def test_its_number_is_ours_its_log_is_followed_live_and_its_page_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "zoo")
    monkeypatch.chdir(tmp_path / "zoo")
    monkeypatch.setenv("REPRO_TRACKING", "off")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    done = CliRunner().invoke(app, ["page", "import", "metafile.yml", "--id", NAME])
    assert done.exit_code == 0, done.output
    init_zoo(tmp_path / "zoo")
    project = Project(tmp_path / "zoo")
    experiment = load_experiment(project, NAME)
    assert isinstance(experiment, ExternalExperiment)
    made = run_stages(project, experiment, "cpu")

    (theirs,) = project.root.glob(f".repro/maps/{NAME}/maps/*/*.json")  # as mmsegmentation measured it
    printed = {name: round(value, 2) for name, value in json.loads(theirs.read_text()).items()}
    metrics = ("mIoU", "aAcc", "mAcc")
    assert {name: round(made.metrics[name], 2) for name in metrics} == {
        name: printed[name] for name in metrics
    }

    out = project.experiment_folder(NAME) / "out"
    (log,) = out.glob("*/vis_data/scalars.json")
    losses = {line["step"]: line["loss"] for line in map(json.loads, log.read_text().splitlines())}
    entries = [entry for entry in read_journal(project.journal(made.run_key)) if entry["kind"] == "metrics"]
    assert {entry["step"]: entry["values"]["loss"] for entry in entries} == losses
    assert entries[0]["at"] < (out / "iter_60.pth").stat().st_mtime  # while it trained

    assert made.rows == ("fastscnn-01",)
    assert made.verdict in ("reproduced", "improved")
