"""What a shell completes, and how long that takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from repro.cli import completion
from repro.cli.app import app
from tests.kit import PUBLISHED

ROOT = Path(__file__).parents[2]
NAME = "camvid_mobilenetv2_os16"
FUNCTIONS = ("experiments", "datasets", "protocols", "splits", "pages", "weights", "metrics")


@pytest.fixture(autouse=True)
def in_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(ROOT)


def context(**params: str) -> typer.Context:
    made = typer.Context(typer.main.get_command(app))
    made.params = params
    return made


def test_names_of_the_project() -> None:
    assert completion.experiments("camvid_mob") == [NAME]
    assert completion.datasets("camvid") == ["camvid", "camvid12", "camvid_original"]
    assert "whole" in completion.protocols("")
    assert completion.pages("") == sorted(PUBLISHED.ids)


def test_splits_are_those_of_the_data_set() -> None:
    assert completion.splits(context(dataset="camvid"), "t") == ["test", "train", "trainval"]
    assert "trainaug" in completion.splits(context(), "")


def test_metrics_are_those_of_the_record() -> None:
    record = json.loads((ROOT / f"reports/rows/{NAME}.json").read_text())
    found = completion.metrics(context(name=f"experiments/{NAME}/"), "")
    assert {*record["metrics"], *record["cost"], "IoU/road", "settings"} <= set(found)
    assert completion.metrics(context(name="voc2012_r50_os16"), "m") == ["mIoU"]
    assert "latency_ms_p50" in completion.metrics(context(), "")


def test_weights_are_those_in_use_and_those_stored(tmp_path: Path) -> None:
    assert "openmmlab_resnet50_v1c" in completion.weights("openmmlab")
    (tmp_path / "home" / "weights" / "released").mkdir(parents=True)
    (tmp_path / "home" / "weights" / "released" / "000-01.sha256").write_text("0" * 64)
    assert completion.weights("rel") == ["released/000-01"]


def test_nothing_outside_a_project_and_in_a_broken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert completion.experiments("") == completion.pages("") == []
    (tmp_path / "experiments").mkdir()
    (tmp_path / "params.yaml").write_text("datasets: [")
    assert completion.datasets("") == completion.splits(context(), "") == []


def test_it_is_quick_and_imports_nothing_heavy() -> None:
    """CPU seconds of all functions together, after the imports of the command table."""
    code = f"""
import sys, time, typer
from repro.cli import completion
from repro.cli.app import app
context = typer.Context(typer.main.get_command(app))
spent = []
for name in {FUNCTIONS}:
    start = time.process_time()
    complete = getattr(completion, name)
    assert (complete(context, "") if name in ("splits", "metrics") else complete("")), name
    spent.append(time.process_time() - start)
heavy = {{"torch", "numpy", "mlflow", "pandas", "cv2", "requests"}} & set(sys.modules)
print(max(spent), *heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    longest, *heavy = done.stdout.split()
    assert float(longest) < 0.5
    assert heavy == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="NO BASH")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("repro data link camvid_", "camvid_original"),
        ("repro table --page 00", "000"),
        ("repro run --dataset ade", "ade20k"),
        (f"repro explain {NAME} fwI", "fwIoU"),
        ("repro score --dataset voc2012 --split traina", "trainaug"),
        ("repro weights get openmmlab_resnet50", "openmmlab_resnet50_v1c"),
        ("repro evaluate x --protocol who", "whole"),
        ("repro run --launcher sl", "slurm"),
        ("repro page li", "lint"),
    ],
)
def test_a_shell_completes(words: str, found: str) -> None:
    position = str(len(words.split(" ")) - 1)
    asked = {"_REPRO_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": position}
    assert found in CliRunner().invoke(app, [], env=asked, prog_name="repro").output.split()
    assert "fleet" not in CliRunner().invoke(app, [], env=asked, prog_name="repro").output
