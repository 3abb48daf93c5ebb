"""The Python interface: frames, curves, matrices, plots and predictions of a project."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

import repro
from repro.errors import CheckpointError, DataError, ParamsError, RecordError, UnknownNameError
from repro.params import Project
from tests.reports.kit import a_project, a_record, add

matplotlib.use("Agg")
ROOT = Path(__file__).parents[1]
CAMVID = "camvid_mobilenetv2_os16"


@pytest.fixture(scope="module")
def zoo() -> repro.Zoo:
    return repro.open(ROOT)


def test_a_zoo_is_a_mapping_from_names_to_results(zoo: repro.Zoo) -> None:
    assert CAMVID in zoo
    assert list(zoo) == sorted(zoo)
    assert len(zoo) >= 150
    assert repro.open(ROOT / "experiments" / CAMVID).project.root == ROOT
    with pytest.raises(KeyError) as unknown:
        zoo["camvid_mobilenetv2_os1"]
    assert isinstance(unknown.value, UnknownNameError)
    assert f"did you mean '{CAMVID}'?" in str(unknown.value)


def test_open_outside_a_project_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="not inside a project"):
        repro.open(tmp_path)


def test_results_and_check_are_the_frames_of_the_commands(zoo: repro.Zoo) -> None:
    frame = zoo.results().set_index("experiment")
    assert frame.loc[CAMVID, "measured"] == zoo[CAMVID].record.metrics["mIoU"]
    verdicts = zoo.check().set_index("experiment")["verdict"]
    assert verdicts[CAMVID] == frame.loc[CAMVID, "verdict"] == "holds"


def test_per_class_is_what_the_record_says(zoo: repro.Zoo) -> None:
    for name in (CAMVID, "camvid_dense30k36_os16_321_x32_b45"):
        result = zoo[name]
        assert result.per_class()["IoU"].to_dict() == pytest.approx(dict(result.record.per_class), abs=1e-4)


def test_curve_has_a_column_per_quantity(zoo: repro.Zoo) -> None:
    curve = zoo[CAMVID].curve()
    assert list(curve.columns) == ["loss", "lr", "val_mIoU"]
    assert curve.index.is_monotonic_increasing
    assert curve["loss"].notna().all()


def test_confusion_counts_every_pixel_of_the_split(zoo: repro.Zoo) -> None:
    confusion = zoo[CAMVID].confusion()
    assert list(confusion.index) == list(confusion.columns)
    assert confusion.loc["sky", "sky"] > 6_000_000
    with pytest.raises(RecordError, match="no matrix of the variant 'flip'"):
        zoo[CAMVID].confusion("flip")


def test_an_experiment_that_was_not_measured_says_what_to_do(zoo: repro.Zoo) -> None:
    result = zoo["ade20k_r50_os16"]
    assert result.curve().empty
    with pytest.raises(RecordError, match="repro run ade20k_r50_os16"):
        result.confusion()
    with pytest.raises(UnknownNameError, match="repro run ade20k_r50_os16"):
        _ = result.record


def test_plots_draw_into_given_axes(zoo: repro.Zoo) -> None:
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2)
    assert zoo[CAMVID].plot_curve(left) is left
    assert zoo[CAMVID].plot_confusion(right) is right
    assert left.get_lines()
    assert right.get_images()
    pyplot.close(figure)


@pytest.mark.torch
def test_predict_is_the_label_map_of_the_command(tmp_path: Path) -> None:
    from repro.checkpoints import save_model
    from repro.params import load_trained
    from repro.stages.model_setup import random_weights

    project: Project = a_project(tmp_path)
    add(project, a_record("camvid_x"))
    experiment = load_trained(project, "camvid_x")
    result = repro.open(tmp_path)["camvid_x"]
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
    with pytest.raises(CheckpointError):
        result.predict(image)
    save_model(project.weights("camvid_x"), random_weights(experiment), {"experiment": "camvid_x"})
    label = result.predict(image, device="cpu")
    assert (label.shape, label.dtype) == ((40, 56), np.uint8)
    assert label.max() < 11
    with pytest.raises(DataError, match="uint8"):
        result.predict(image[..., 0])


def test_import_alone_is_fast_and_brings_nothing_heavy() -> None:
    code = "import sys, repro; print(*({'torch', 'pandas', 'numpy', 'mlflow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert {"open", "score", "Zoo", "Result"} <= set(dir(repro))
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        repro.opne  # type: ignore[attr-defined]  # noqa: B018


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "docs")
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "docs/notebook.ipynb", "exec"), names)
    assert names["zoo"].project.root == ROOT
