"""Exports are what their readers expect, and hold the records' numbers."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from repro.cli.app import app
from repro.reports.exports import everything, metafile
from repro.reports.model_cards import model_index
from tests.kit import PUBLISHED
from tests.reports.kit import a_project, a_record, results, unjudged

RECORD = a_record(
    metrics={"mIoU": 50.123456, "mIoU_ms_flip": 51.0, "aAcc": 81.25},
    params={
        "model": {"family": "densenet", "backbone": "densenet"},
        "augmentation": {"crop": [321, 321]},
        "seed": 0,
    },
)


def test_model_index_is_what_model_cards_hold() -> None:
    (model,) = yaml.safe_load(model_index(unjudged(RECORD), ["camvid_x"]))["model-index"]
    (result,) = model["results"]
    assert model["name"] == "camvid_x"
    assert result["task"]["type"] == "image-segmentation"
    assert result["dataset"] == {"type": "camvid", "name": "camvid", "split": "test"}
    assert [(m["name"], m["value"]) for m in result["metrics"]] == [
        ("mIoU", 50.1235),
        ("mIoU (multi-scale + flip)", 51.0),
        ("pixel accuracy", 81.25),
    ]


def test_metafile_has_the_keys_of_mmsegmentation() -> None:
    document = yaml.safe_load(metafile(unjudged(RECORD), ["camvid_x"]))
    (collection,), (model,) = document["Collections"], document["Models"]
    assert collection["Name"] == model["In Collection"] == "DenseNet"
    assert collection["Metadata"]["Training Data"] == ["camvid"]
    assert model["Results"][0]["Metrics"] == {"mIoU": 50.12, "mIoU(ms+flip)": 51.0}
    assert "Weights" not in model, "there are none yet"
    time = model["Metadata"]["inference time (ms/im)"][0]
    assert time | {"hardware": ""} == {
        "value": 31.54,
        "hardware": "",
        "backend": "PyTorch",
        "batch size": 1,
        "mode": "FP32",
        "resolution": "360x480",
    }
    assert model["Metadata"]["crop size"] == "(321,321)"


def test_csv_holds_every_row_and_every_own_experiment() -> None:
    own = a_record("camvid_mobilenetv2_os16", row=None)
    lines = list(csv.DictReader(io.StringIO(everything(unjudged(RECORD, own), []))))
    assert [line["row"] for line in lines] == [*PUBLISHED.rows, ""]
    measured = next(line for line in lines if line["row"] == "003-028")
    assert (measured["mIoU"], measured["published_mIoU"], measured["mIoU_low"]) == (
        "50.123456",
        "50.0",
        "48.9",
    )
    assert measured["commit"] == "c" * 40
    assert measured["device"] == "Test CPU, 2 threads, torch 2.15.0, fp32, batch 1"
    assert lines[-1]["experiment"] == "camvid_mobilenetv2_os16"
    assert next(line for line in lines if line["row"] == "001-06")["verdict"] == "unmeasured"


def test_csv_holds_the_verdict_of_the_gate() -> None:
    low = a_record(metrics={"mIoU": 40.0}, verdict="reproduced")
    lines = csv.DictReader(io.StringIO(everything(results(low), [])))
    assert {line["verdict"] for line in lines if line["experiment"] == "camvid_x"} == {"regressed"}


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(tmp_path, RECORD)
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    assert run.invoke(app, ["page", "export", "metafile", "-o", "m.yaml"]).exit_code == 0
    assert "camvid_x" in (tmp_path / "m.yaml").read_text()
    assert "camvid_x" in run.invoke(app, ["page", "export", "csv", "camvid_x"]).stdout
    assert "camvid_x" in run.invoke(app, ["page", "export", "model-index", "camvid_*"]).stdout
    for wrong in (["page", "export", "metafiles"], ["page", "export", "metafile", "camvid_y"]):
        assert run.invoke(app, wrong).exit_code != 0
