"""The demo's project: runnable by DVC inside the clone, and invisible to the clone's git and DVC."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repro.params import Project, load_experiment
from repro.scaffold import drift
from repro.stages.demo import FOLDER, NAME, demo_project

ROOT = Path(__file__).parents[2]


def test_it_holds_the_experiment_that_the_clone_recorded(tmp_path: Path) -> None:
    made = demo_project(Project(ROOT), tmp_path / FOLDER)
    mine, recorded = (load_experiment(project, NAME) for project in (made, Project(ROOT)))
    assert mine == recorded
    assert list(drift(made)) == []


def test_a_second_time_renews_settings_and_keeps_results(tmp_path: Path) -> None:
    made = demo_project(Project(ROOT), tmp_path / FOLDER)
    kept = made.experiments / NAME / "metrics.json"
    kept.write_text("{}")
    made.params.write_text("datasets: {}\n")
    demo_project(Project(ROOT), made.root)
    assert kept.read_text() == "{}"
    assert load_experiment(made, NAME).dataset == "synthetic"


@pytest.mark.dvc
@pytest.mark.slow
def test_dvc_runs_there_and_git_sees_nothing(tmp_path: Path) -> None:
    """`git init` and the clone's .gitignore replace the clone; data is generated, nothing is trained."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def run(folder: Path, *command: str) -> str:
        environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    shutil.copy(ROOT / ".gitignore", tmp_path)
    run(tmp_path, "git", "init", "-q")
    made = demo_project(Project(ROOT), tmp_path / FOLDER)
    run(made.root, sys.executable, "-m", "dvc", "repro", "prepare@synthetic")
    assert len(list(made.data.rglob("*.png"))) == 336
    shown = run(made.root, sys.executable, "-m", "dvc", "repro", "--dry", f"experiments/{NAME}")
    assert f"Running stage 'experiments/{NAME}/dvc.yaml:train'" in shown
    assert run(tmp_path, "git", "status", "--short") == "?? .gitignore\n"
