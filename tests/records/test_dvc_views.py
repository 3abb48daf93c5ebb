"""Metrics and plots in the root dvc.yaml: those of measured experiments, several curves on one plot."""

from __future__ import annotations

from pathlib import Path

import yaml

from repro.params import Project
from repro.records.dvc_views import dvc_views
from repro.scaffold.dvc_files import drift, renew_views, sync
from tests.reports.kit import a_project, a_record


def test_only_what_is_measured_is_listed(tmp_path: Path) -> None:
    project = a_project(tmp_path, a_record("camvid_x"), a_record("camvid_y", row=None))
    new = project.experiments / "camvid_new"
    new.mkdir()
    (new / "params.yaml").write_text((project.params_of("camvid_y")).read_text())
    (project.experiments / "camvid_y" / "curve.csv").write_text("step,loss,lr,val_mIoU\n10,1.5,0.1,\n")
    sync(project)
    found = yaml.safe_load((tmp_path / "dvc.yaml").read_text())
    assert found["metrics"] == [
        f"experiments/camvid_{name}/{file}" for name in "xy" for file in ("metrics.json", "cost.json")
    ]
    plots = {name: shown for plot in found["plots"] for name, shown in plot.items()}
    loss, validation = plots["training loss"], plots["validation mIoU (percent)"]
    assert loss["y"] == {f"experiments/camvid_{name}/curve.csv": "loss" for name in "xy"}
    assert list(validation["y"]) == ["experiments/camvid_x/curve.csv"], "the other was never validated"
    matrix = plots["experiments/camvid_y/confusion.csv"]
    assert (matrix["template"], matrix["title"]) == ("confusion_counts", "confusion, camvid_y")
    own = yaml.safe_load((new / "dvc.yaml").read_text())
    assert list(own) == ["stages"]
    assert not any("metrics" in stage for stage in own["stages"].values())


def test_nothing_is_listed_where_nothing_is_measured_or_readable(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert dvc_views(project, ["a"]) == {}
    (tmp_path / "experiments" / "a").mkdir(parents=True)
    (tmp_path / "experiments" / "a" / "curve.csv").write_bytes(b"step,loss\n\xff")
    assert dvc_views(project, ["a"]) == {}


def test_a_new_record_is_listed_and_the_stages_stay(tmp_path: Path) -> None:
    """The stage `record` and the import of a bundle renew the views; `repro sync` has nothing to add."""
    project = a_project(tmp_path, a_record("camvid_x"), a_record("camvid_y", row=None))
    record = project.record("camvid_y")
    content = record.read_bytes()
    record.unlink()
    sync(project)
    before = (tmp_path / "dvc.yaml").read_text()
    assert yaml.safe_load(before)["metrics"] == [
        f"experiments/camvid_x/{file}" for file in ("metrics.json", "cost.json")
    ]
    record.write_bytes(content)
    renew_views(project)
    after = (tmp_path / "dvc.yaml").read_text()
    assert "experiments/camvid_y/metrics.json" in yaml.safe_load(after)["metrics"]
    assert after.startswith(before.partition("metrics:")[0])
    assert list(drift(project)) == []
    record.unlink()
    project.record("camvid_x").unlink()
    renew_views(project)
    assert list(drift(project)) == []
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    renew_views(project)
    assert (tmp_path / "dvc.yaml").read_text() == "stages: {}\n", "written by hand"
