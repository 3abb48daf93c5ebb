"""`dvc repro experiments/NAME` for a network of every page and family: the real stages on stand-in data."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repro.params import Project, experiment_names, load_experiment
from repro.scaffold.dvc_files import sync
from repro.stages.smoke import _slowness, smoke_project

pytestmark = pytest.mark.dvc

ROOT = Path(__file__).parents[2]
DVC_FILES = ("dvc.yaml", "dvc.lock")


def fastest() -> dict[tuple[str, str], str]:
    """(page, family) -> the experiment whose network is the fastest."""
    every = [load_experiment(Project(ROOT), name) for name in experiment_names(Project(ROOT))]
    trained = [e for e in every if e.start_from is None and e.measure != "cost"]
    alone = sorted(trained, key=_slowness, reverse=True)
    return {(row[:3], e.model.family): e.name for e in alone for row in e.rows}


FASTEST = fastest()


def test_every_page_and_family_is_here() -> None:
    every = [load_experiment(Project(ROOT), name) for name in experiment_names(Project(ROOT))]
    assert set(FASTEST) == {(row[:3], e.model.family) for e in every for row in e.rows}
    assert {page for page, _ in FASTEST} == {"000", "001", "002", "003", "004"}


@pytest.mark.smoke
@pytest.mark.parametrize("name", FASTEST.values(), ids=map("-".join, FASTEST))
def test_dvc_repro_from_raw_data_to_the_record(tmp_path: Path, name: str) -> None:
    small = pipeline(tmp_path, name)
    stage = f"experiments/{name}"
    said = dvc(small, "repro", stage)
    further = load_experiment(
        Project(ROOT), name
    ).also  # beside data, prepare, train, evaluate, benchmark, record
    assert said.count("Running stage") == 6 + len(further)
    record = json.loads(small.record(name).read_text())
    metrics = json.loads((small.root / stage / "metrics.json").read_text())
    assert record["metrics"]["mIoU"] == pytest.approx(metrics["mIoU"])
    assert 0 <= metrics["mIoU"] <= 100
    assert (small.root / stage / "model.safetensors").stat().st_size > 1e6
    assert "Running stage" not in dvc(small, "repro", stage)
    shutil.rmtree(small.root)


def pipeline(folder: Path, name: str) -> Project:
    """A smoke project of the experiment, with this project's DVC files."""
    (folder / "experiments").mkdir()
    small, _ = smoke_project(Project(folder), load_experiment(Project(ROOT), name))
    for file in (*(f"experiments/{file}" for file in DVC_FILES), ".dvc/config"):
        (small.root / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, small.root / file)
    sync(small)
    subprocess.run(["git", "init", "-q"], cwd=small.root, check=True)
    return small


def dvc(project: Project, *arguments: str) -> str:
    """What `dvc` says there; it must succeed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "REPRO_TRACKING": "off"}
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=project.root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
