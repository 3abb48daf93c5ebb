"""`repro run NAME` starts DVC only if a file that decides changed since the last run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from repro.errors import CheckFailed
from repro.params import Project, load_experiment
from repro.stages import pipeline
from repro.stages.reporter import SILENT
from repro.stages.up_to_date import paths_in
from tests.kit import PROJECT

NAME = "synthetic_mobilenetv2_os16"
FOLDER = f"experiments/{NAME}"
OUTPUTS = ("model.safetensors", "confusion.npz", "overlays/a.png", "metrics.json", "cost.json", "curve.csv")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The built-in experiment with its locks, and files in place of data and outputs."""
    root = tmp_path / "zoo"
    shutil.copytree(PROJECT.root / FOLDER, root / FOLDER, ignore=shutil.ignore_patterns("model*", "*.npz"))
    for file in ("params.yaml", "dvc.lock"):
        shutil.copy(PROJECT.root / file, root / file)
    (root / ".dvc").mkdir()
    for path in (root / "dvc.lock", root / FOLDER / "dvc.lock"):
        stages = yaml.safe_load(path.read_text())["stages"]
        for stage in (
            stages.values() if path.parent != root else [stages[FOLDER], stages["prepare@synthetic"]]
        ):
            for entry in (*stage.get("deps", ()), *stage["outs"]):
                _touch(path.parent / entry["path"])
    return Project(root)


def _touch(path: Path) -> None:
    """Create a file, or a folder with one."""
    if "://" in str(path) or path.exists() or "ds:" in path.parts:
        return
    path = path if path.suffix else path / "a.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


class Dvc:
    """Counts how often DVC was started."""

    def __init__(self) -> None:
        self.calls, self.code, self.edits = 0, 0, Path()

    def __call__(self, project: Project, *arguments: str, stdout: int | None = None) -> int:
        self.calls += 1
        if self.edits != Path():
            self.edits.write_text(self.edits.read_text() + "# edited while it ran\n")
        return self.code


@pytest.fixture
def dvc(monkeypatch: pytest.MonkeyPatch) -> Dvc:
    counting = Dvc()
    monkeypatch.setattr(pipeline, "run_dvc", counting)
    return counting


def started(project: Project, dvc: Dvc) -> bool:
    before = dvc.calls
    pipeline.run_pipeline(project, load_experiment(project, NAME), "auto", SILENT)
    return dvc.calls > before


def test_dvc_is_started_again_when_any_of_the_files_changes(project: Project, dvc: Dvc) -> None:
    assert started(project, dvc)
    assert not started(project, dvc), "nothing changed"
    decide = [
        *("params.yaml", f"{FOLDER}/params.yaml", f"{FOLDER}/dvc.yaml", f"{FOLDER}/dvc.lock"),
        *(f"{FOLDER}/{name}" for name in ("model.safetensors", "confusion.npz", "metrics.json", "cost.json")),
        *("prepared/synthetic/train.zip", f"reports/rows/{NAME}.json"),
    ]
    for name in decide:
        path = project.root / name
        path.write_bytes(path.read_bytes() + b"\n")
        assert started(project, dvc), name
        assert not started(project, dvc), name
    (project.root / FOLDER / "overlays" / "more.png").write_text("x")
    assert started(project, dvc), "a file more in an output"
    (project.root / FOLDER / "model.safetensors").unlink()
    assert started(project, dvc)
    assert started(project, dvc), "an output is missing: not up to date"


def test_the_lock_of_the_project_counts_only_for_the_experiments_own_stages(
    project: Project, dvc: Dvc
) -> None:
    lock = project.root / "dvc.lock"
    assert started(project, dvc)
    lock.write_text(lock.read_text() + "  experiments/other:\n    cmd: repro record other\n")
    assert not started(project, dvc), "another experiment was recorded"
    lock.write_text(lock.read_text().replace(f"cmd: repro record {NAME}", f"cmd: repro record {NAME} "))
    assert started(project, dvc)


def test_a_failed_run_and_an_edit_during_the_run_are_not_up_to_date(project: Project, dvc: Dvc) -> None:
    dvc.code = 1
    with pytest.raises(CheckFailed):
        started(project, dvc)
    dvc.code, dvc.edits = 0, project.params_of(NAME)
    assert started(project, dvc)
    dvc.edits = Path()
    assert started(project, dvc), "the params of the run before were others"
    assert not started(project, dvc)


def test_paths_in_a_lock() -> None:
    found = paths_in((PROJECT.root / FOLDER / "dvc.lock").read_text())
    assert {
        "params.yaml",
        "../../params.yaml",
        "model.safetensors",
        "../../prepared/synthetic/test.zip",
    } <= set(found)
    assert not [path for path in found if "ds:" in path or path in ("dataset", "split")]
