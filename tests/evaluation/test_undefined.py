"""An undefined metric (0/0) is reported with the absent classes, and is never best and never passes."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repro.cli.app import app
from repro.cli.console import guarded
from repro.cli.results.compare import line
from repro.cli.results.show import numbers
from repro.evaluation import published_weights
from repro.evaluation.confusion import squeeze
from repro.evaluation.image_counts import ImageCounts
from repro.evaluation.outputs import read_confusions, write_result
from repro.evaluation.paired_test import compare
from repro.evaluation.recompute import from_images, resampled
from repro.evaluation.summary import EvaluationResult, summarise
from repro.fleet.replay import compare_metrics
from repro.params.protocol import Protocol
from repro.records import Record, from_json, to_json, verdict, write_json
from repro.records.build import measured_value, why_undefined
from repro.records.metrics_io import intervals, plain_metrics, read_metrics, undefined_metrics
from repro.records.record import Expected
from repro.reports import gate, tables
from repro.reports.explain import explanation
from repro.reports.exports import everything
from repro.reports.listing import listing, shown
from repro.stages.summary import facts, summary
from repro.tracking.record_view import metrics_of, note_of, tags_of
from repro.training.schedule import Plateau, better
from tests.evaluation.kit import MemorySplit
from tests.reports.kit import a_record, results
from tests.reports.kit import metrics_of as kit_metrics
from tests.training.kit import run_tiny, some_params

CLASSES = ("road", "tree", "train")
WHY = "no pixel of class 'train' in truth or prediction"
REFERENCE = Expected(metric="mIoU", value=50.0, band=100.0, source="as wide as can be")


def measured(*matrices: list[list[int]], **changes: Any) -> EvaluationResult:
    """An evaluation with these matrices, one for each image, over the classes of `mean_over`."""
    images = len(matrices)
    split = MemorySplit(sizes=[(2, 2)] * images, classes=CLASSES)
    protocol = Protocol(mode="whole", **({"mean_over": ("train",)} | changes))
    cells = [squeeze(np.array([[*row, 0] for row in matrix], dtype=np.int64)) for matrix in matrices]
    seen = [ImageCounts(index=i, cells={"": one}, outlines=None) for i, one in enumerate(cells)]
    return summarise(seen, split, images, classes=CLASSES, protocol=protocol)


WITHOUT_TRAIN = [[8, 1, 0], [2, 9, 0], [0, 0, 0]]
ALL_VOID = [[0] * 3] * 3


def undefined_record(**changes: Any) -> Record:
    fields: dict[str, Any] = {"metrics": {"aAcc": 85.0}, "undefined": {"mIoU": WHY}, "intervals": {}}
    return a_record(**(fields | {"expectation": REFERENCE, "verdict": "incomparable"} | changes))


def test_the_only_class_of_the_mean_is_absent() -> None:
    found = measured(WITHOUT_TRAIN, WITHOUT_TRAIN).metrics
    assert [found[name] for name in ("mIoU", "mAcc", "mPrecision", "mDice")] == [None] * 4
    assert found["undefined"] == {
        "mIoU": WHY,
        "mAcc": "no pixel of class 'train' in the truth",
        "mPrecision": "no pixel of class 'train' in the prediction",
        "mDice": WHY,
    }
    assert found["aAcc"] == 85.0
    assert not [name for name in found if name.endswith(("_low", "_high"))]


def test_nothing_but_void() -> None:
    found = measured(ALL_VOID, mean_over=()).metrics
    assert set(found["undefined"].values()) == {"no pixel has a label"}
    assert {"mIoU", "aAcc", "fwIoU"} <= found["undefined"].keys()


def test_a_class_that_is_absent_where_others_are_not_is_left_out_of_the_mean() -> None:
    found = measured(WITHOUT_TRAIN, mean_over=()).metrics
    assert "undefined" not in found
    assert found["IoU"]["train"] is None
    assert found["mIoU"] == pytest.approx(100 * (8 / 11 + 9 / 12) / 2, abs=1e-3)


def test_metrics_json_says_so_and_agrees_with_its_matrices(tmp_path: Path) -> None:
    result = measured(WITHOUT_TRAIN)
    write_result(result, tmp_path, split="val")
    found = read_metrics(tmp_path / "metrics.json")
    assert (found["mIoU"], found["undefined"]["mIoU"]) == (None, WHY)
    assert "mIoU" not in plain_metrics(found)
    assert (intervals(found), undefined_metrics(found)["mIoU"]) == ({}, WHY)
    stored = read_confusions(tmp_path / "confusion.npz")
    over = resampled(stored, "memory", found["interval"])
    again = from_images(stored, result.protocol, over)
    assert {name: found[name] for name in again} == again
    without = from_images(stored, result.protocol, None)
    assert without == {name: found[name] for name in without}


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"undefined": {"mIoU": WHY}}, ""),
        ({"metrics": {"mIoU": 77.0}}, "the metrics of the record and of metrics.json differ"),
        ({"undefined": {}, "metrics": {"mIoU": 77.0}}, "mIoU is 77.0000, but its matrices give undefined"),
        ({"undefined": {"mIoO": WHY}}, "mIoO is not a metric of the protocol"),
    ],
)
def test_a_number_for_an_undefined_metric_is_a_contradiction(changes: dict[str, Any], wrong: str) -> None:
    known = results(undefined_record())
    record = replace(known.records["camvid_x"], **changes)
    write_json(known.project.experiments / "camvid_x/metrics.json", kit_metrics(record))
    judge = replace(known, records={"camvid_x": record}).judge
    assert judge.contradiction("camvid_x") == "" if not wrong else wrong in judge.contradiction("camvid_x")
    assert judge.judge("camvid_x").verdict == "incomparable"


def test_an_undefined_metric_that_has_a_number_is_a_contradiction() -> None:
    known = results(a_record())
    record = replace(known.records["camvid_x"], metrics={}, undefined={"mIoU": WHY})
    write_json(known.project.experiments / "camvid_x/metrics.json", kit_metrics(record))
    judge = replace(known, records={"camvid_x": record}).judge
    assert "mIoU is undefined, but its matrices give 50.0000" in judge.contradiction("camvid_x")


def test_matrices_without_the_class_compare_without_a_number(tmp_path: Path) -> None:
    write_result(measured(WITHOUT_TRAIN), tmp_path / "a", split="val")
    write_result(measured([[8, 1, 0], [2, 8, 1], [0, 0, 0]]), tmp_path / "b", split="val")
    a, b = (read_confusions(tmp_path / name / "confusion.npz") for name in "ab")
    found = compare(a, b, resamples=50).mIoU
    assert (found.a, found.b, found.difference, found.p) == (None, 0.0, None, None)
    assert "undefined" in line(found)


def test_the_verdict_is_never_a_pass() -> None:
    for values in (
        {"measured": math.nan, "reference": 50.0, "band": 1.0},
        {"measured": math.inf, "reference": 50.0, "band": 1.0},
        {"measured": 50.0, "reference": math.nan, "band": 1.0},
        {"measured": 90.0, "reference": 50.0, "band": math.nan},
        {"measured": 90.0, "reference": 50.0, "band": math.inf},
    ):
        assert verdict(**values) in ("unmeasured", "incomparable"), values  # type: ignore[arg-type]
    assert verdict(measured=50.0, reference=50.0, band=1.0, seeds=[50.0, 51.0, math.nan]) == "incomparable"


def test_the_gate_names_the_class() -> None:
    record = undefined_record()
    assert measured_value(record.metrics, REFERENCE) is None
    assert why_undefined(record.undefined, REFERENCE) == f"mIoU is undefined: {WHY}"
    (found,) = gate.check(results(record))
    assert (found.verdict, found.reason, found.passes) == ("incomparable", f"mIoU is undefined: {WHY}", False)
    assert gate.exit_code([found], strict=False) == 2


def test_a_record_keeps_it() -> None:
    record = undefined_record()
    assert from_json(to_json(record), "x").undefined == {"mIoU": WHY}


def test_every_view_names_it() -> None:
    record = undefined_record()
    known = results(record)
    found = known.judge.judge("camvid_x")
    (page, *_) = tables.dataset_tables(known, "camvid")
    row = dict(zip(page.columns, next(row for row in page.rows if "camvid_x" in row), strict=True))
    assert (row["measured mIoU"], row.get("difference", ""), row["verdict"]) == (
        "undefined",
        "",
        "incomparable",
    )
    assert f"camvid_x: mIoU is undefined: {WHY}" in page.notes
    assert numbers(record)["mIoU"] == f"undefined: {WHY}"
    assert explanation(record, "mIoU", Path("x.json"))["number"] == f"mIoU = undefined ({WHY})"
    assert f"mIoU is undefined: {WHY}" in summary(record)
    assert facts(record)["undefined"] == {"mIoU": WHY}
    assert f"| mIoU | undefined: {WHY} | | |" in re.sub(" +", " ", note_of(record, found))
    assert tags_of(record, found)["undefined"] == f"mIoU: {WHY}"
    assert "mIoU" not in metrics_of(record)
    assert not [name for name in metrics_of(record) if name.startswith("gap/")]
    lines = list(csv.DictReader(io.StringIO(everything(known, ["camvid_x"]))))
    assert (lines[0]["mIoU"], lines[0]["undefined"]) == ("", f"mIoU: {WHY}")


def test_lists_and_filters() -> None:
    known = results(undefined_record(), a_record("camvid_y", "003-029", metrics={"mIoU": 50.0}))
    (first, _) = listing(known, measured=True)
    assert (first["measured"], first["gap"], first["undefined"]) == (None, None, WHY)
    assert "undef." in shown(first)
    for condition in ("measured>0", "measured<=100", "gap>-99", "verdict=reproduced"):
        assert first not in listing(known, measured=True, conditions=[condition])
    assert listing(known, measured=True, conditions=["measured=none"]) == [first]


def test_released_weights_with_an_undefined_metric_are_not_reproduced() -> None:
    found = {"mIoU": None, "aAcc": 91.0, "undefined": {"mIoU": WHY}}
    checked = published_weights.check(found, {"mIoU": 70.0, "aAcc": 91.0})
    assert published_weights.verdict(checked) == "differs"
    assert WHY in published_weights.line(checked[0])


def test_a_replay_with_another_metric_undefined_is_different(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"mIoU": None, "aAcc": 85.0, "undefined": {"mIoU": WHY}}))
    assert compare_metrics(undefined_record(), path).outcome == "bit-equal"
    assert compare_metrics(undefined_record(metrics={}), path).outcome == "bit-equal"
    assert compare_metrics(a_record(), path).outcome == "different"


@pytest.mark.parametrize("monitor", ["mIoU", "loss"])
def test_nan_is_never_best(monitor: str) -> None:
    params = some_params(
        monitor=monitor, schedule="plateau", validate_every=4, plateau_patience=2, plateau_factor=0.5
    )
    assert not better(math.nan, None, params)
    assert not better(math.nan, 1.0, params)
    assert not better(math.inf, None, params)
    assert better(1.0, None, params)
    assert better(1.0, math.nan, params), "of a checkpoint that an earlier version wrote"
    plateau = Plateau()
    for value in (math.nan, 5.0):
        plateau.update(value, params)
    assert (plateau.best, plateau.waited) == (5.0, 0)


def validations(*values: float) -> Callable[[object], dict[str, float]]:
    rest: Iterator[float] = iter(values)
    return lambda model: {"mIoU": next(rest)}


def test_a_training_survives_an_undefined_validation(tmp_path: Path) -> None:
    params = some_params(keep="best", validate_every=4)
    found = run_tiny(tmp_path / "a", params, validate=validations(math.nan, 30.0, 20.0))
    assert (found.chosen, found.no_best) == (8, False)
    text = (tmp_path / "a/journal.jsonl").read_text()
    assert '"not_finite"' in text


def test_a_training_without_a_defined_validation_keeps_its_last_weights_and_says_so(tmp_path: Path) -> None:
    params = some_params(keep="best", validate_every=4)
    found = run_tiny(tmp_path / "a", params, validate=validations(*[math.nan] * 3))
    last = run_tiny(tmp_path / "b", some_params(keep="last", validate_every=4), validate=validations(1, 2, 3))
    assert (found.chosen, found.no_best, last.no_best) == (12, True, False)
    assert all((found.state_dict[name] == last.state_dict[name]).all() for name in last.state_dict)
    assert '"no_best"' in (tmp_path / "a/journal.jsonl").read_text()


def test_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`repro score` on a split without the class of `mean_over`: an answer that names it, exit code 0."""
    from PIL import Image

    from tests.datasets import kit
    from tests.evaluation.test_commands import write

    raw = kit.camvid(tmp_path / "data/camvid", per_split=1, size_HW=(8, 8))
    for path in raw.rglob("*annot/*.png"):
        Image.fromarray(np.full((8, 8), 3, np.uint8)).save(path)  # all road
    splits = {"train": 1, "val": 1, "trainval": 2, "test": 1}
    kit.prepared("camvid", raw, tmp_path / "prepared/camvid", **splits)
    blocks = {"engine": {"data": 1, "training": 1, "evaluation": 1}, "recipes": {}}
    blocks |= {"datasets": {"camvid": {"classes": 11, "splits": splits}}}
    blocks |= {"protocols": {"cars": {"mode": "whole", "mean_over": ["car"]}}}
    write(tmp_path / "params.yaml", blocks)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "maps").mkdir()
    for path in (raw / "test").glob("*.png"):
        Image.fromarray(np.full((8, 8), 3, np.uint8)).save(tmp_path / "maps" / path.name)
    command = [
        "score",
        "--predictions",
        "maps",
        "--dataset",
        "camvid",
        "--split",
        "test",
        "--protocol",
        "cars",
        "--out",
        "scored",
    ]
    assert guarded(lambda: app(command, standalone_mode=False)) == 0
    assert "mIoU is undefined: no pixel of class 'car' in truth or prediction" in capsys.readouterr().out
    assert guarded(lambda: app(["compare", "scored", "scored"], standalone_mode=False)) == 0
    assert "mIoU             undefined" in capsys.readouterr().out
    assert guarded(lambda: app([*command[:-2], "--json"], standalone_mode=False)) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["mIoU"], found["undefined"]["mIoU"]) == (
        None,
        "no pixel of class 'car' in truth or prediction",
    )
