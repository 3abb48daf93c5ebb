"""Further protocols and released weights as stages of the real DVC, on a tiny CamVid without any training."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.evaluation.test_commands import (  # noqa: F401  (fixtures)
    Run,
    metrics_of,
    project,
    released,
    run,
    template,
    write,
)

pytestmark = [pytest.mark.dvc, pytest.mark.slow]
FOLDER = "experiments/camvid_a"


@pytest.fixture
def checkout(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """The tiny project with DVC, and a copy of the package that may be edited."""
    shutil.copytree(ROOT / "repro", project / "repro", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "dvc.lock"):
        shutil.copy(ROOT / "experiments" / name, project / "experiments" / name)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(project))
    monkeypatch.setenv("REPRO_HOME", str(project / ".home"))
    for name in ("camvid_a", "camvid_b"):
        declare(project, name, seed=0, augmentation={"crop": [32, 32]}, training={"split": "train"})
    dvc("init", "-q", "--no-scm")
    return project


def declare(project: Path, name: str, **keys: object) -> None:  # noqa: F811
    """Put keys into an experiment's params.yaml."""
    path = project / "experiments" / name / "params.yaml"
    write(path, yaml.safe_load(path.read_text()) | keys)


def dvc(*arguments: str, ok: bool = True) -> str:
    """What DVC printed; in the project's folder."""
    done = subprocess.run(["dvc", *arguments], capture_output=True, text=True)
    assert not ok or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def publish(project: Path, **metrics: float) -> None:  # noqa: F811
    """Row 000-01 as if its page had printed these numbers."""
    page = project / "published/000.json"
    raw = json.loads(page.read_text())
    raw["rows"]["000-01"]["metrics"] = metrics
    page.write_text(json.dumps(raw))


def test_released_weights_are_verified_only_when_asked_for(checkout: Path, run: Run) -> None:  # noqa: F811
    """Weights under the page's names: the stage passes with its number; with another it says why not."""
    file = released(checkout, "000-01")
    run("weights", "add", file, "--name", "released/000-01")
    run("evaluate", "camvid_b")
    run("sync", "--files")
    measured = metrics_of(checkout / "experiments/camvid_b")["mIoU"]
    publish(checkout, mIoU=round(measured, 2))
    stage, found = f"{FOLDER}/dvc.yaml:released", checkout / FOLDER / "released.json"
    assert "released" not in dvc("repro", "--dry", FOLDER)
    assert "repro verify . --out released.json" in dvc("repro", stage)
    assert json.loads(found.read_text())["verdict"] == "reproduced"
    assert "'prepare@camvid' didn't change" in (again := dvc("repro", stage))
    assert "released' didn't change" in again
    publish(checkout, mIoU=round(measured + 1, 2))
    failed = dvc("repro", stage, ok=False)
    assert "row 000-01: differs; what may differ" in failed
    assert "failed to reproduce" in failed
    assert json.loads(found.read_text())["verdict"] == "differs"


def test_a_further_protocol_is_a_separate_stage(checkout: Path, run: Run) -> None:  # noqa: F811
    """It writes beside the main results, which it neither reads nor changes; an edit of it runs it alone."""
    declare(checkout, "camvid_a", also=["tiles"])
    run("sync", "--files")
    stage = f"{FOLDER}/dvc.yaml:also@tiles"
    assert "repro evaluate . --protocol tiles" in dvc("repro", "--single-item", stage)
    assert metrics_of(checkout / FOLDER / "also/tiles")["n_images"] == 3
    assert not (checkout / FOLDER / "metrics.json").exists()
    assert "didn't change" in dvc("repro", "--single-item", stage)
    root = checkout / "params.yaml"
    params = yaml.safe_load(root.read_text())
    params["protocols"]["tiles"]["stride"] = [8, 8]
    write(root, params)
    assert "Running stage" in dvc("repro", "--dry", "--single-item", stage)
    assert f"{FOLDER}/also/tiles/metrics.json" in (checkout / "dvc.yaml").read_text()
