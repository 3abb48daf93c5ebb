"""Experiments with `measure: cost`: cost, record, gate, and rejection by other stages."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from repro.errors import ParamsError, RecordError
from repro.fleet.scheduler import estimate
from repro.params import Project, load_experiment
from repro.records import from_json, to_json
from repro.records.flatten import drop_neutral_defaults
from repro.records.printed_costs import cost_verdict, printed_costs
from repro.reports import gate
from repro.reports.results import load_results
from repro.reports.tables import dataset_tables
from repro.scaffold.dvc_files import sync
from repro.stages.lookup import open_split, training_split
from repro.stages.preflight import Machine, blockers
from repro.stages.record import build, record_experiment
from repro.tracking.promote import promote
from repro.training.plan import plan
from tests.kit import PUBLISHED, copy_pages

ROOT = Path(__file__).parents[2]
NAME, ROW, MILLIONS = "voc2012_dense121k32_os16_321_cost", "003-002", 6.985397


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with a single experiment and without data."""
    folder = tmp_path / "experiments" / NAME
    shutil.copytree(ROOT / "experiments" / NAME, folder, ignore=shutil.ignore_patterns("*.lock", "*.json"))
    copy_pages(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return Project(tmp_path)


def recorded(project: Project, millions: float = MILLIONS) -> Any:
    cost = {"params_M": millions, "gmacs_conv": 6.8, "input_size": [321, 321], "device": {"type": "cpu"}}
    (project.experiments / NAME / "cost.json").write_text(json.dumps(cost))
    return record_experiment(project, load_experiment(project, NAME))


def test_its_pipeline_reads_no_data(project: Project) -> None:
    sync(project)
    own = yaml.safe_load((project.experiments / NAME / "dvc.yaml").read_text())["stages"]
    assert list(own) == ["benchmark"]
    assert own["benchmark"]["deps"] == ["ds://no-run-cache"]
    stage = yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"][f"experiments/{NAME}"]
    assert stage["deps"] == ["ds://no-run-cache", f"experiments/{NAME}/cost.json"]


def test_the_record_has_sizes_and_no_metric(project: Project) -> None:
    record = recorded(project)
    assert (record.kind, record.verdict, dict(record.metrics)) == ("cost", "reproduced", {})
    assert record.notes == ("params_M 6.99, printed 6.9", "size_MB 26.65, printed 26.65")
    assert from_json(to_json(record), "test") == replace(record, content_hash=record.content_hash)


@pytest.mark.parametrize(("millions", "verdict", "code"), [(MILLIONS, "reproduced", 0), (7.1, "differs", 1)])
def test_the_gate_compares_the_sizes(project: Project, millions: float, verdict: str, code: int) -> None:
    recorded(project, millions)
    found = gate.check(load_results(project), names=[NAME])
    assert [one.verdict for one in found] == [verdict]
    assert gate.exit_code(found, strict=True) == code
    assert (found[0].metric, found[0].reference) == (
        ("size_MB", 26.65) if millions == MILLIONS else ("params_M", 6.9)
    )


def test_another_network_in_params_does_not_pass(project: Project) -> None:
    recorded(project)
    path = project.experiments / NAME / "params.yaml"
    path.write_text(path.read_text().replace("growth: 32", "growth: 36"))
    (found,) = gate.check(load_results(project), names=[NAME])
    assert found.verdict == "incomparable"
    assert "params changed" in found.reason


def test_tables_show_printed_and_built_sizes(project: Project) -> None:
    recorded(project)
    (grid,) = [one for one in dataset_tables(load_results(project), "voc2012") if "003" in one.title]
    (line,) = [dict(zip(grid.columns, row, strict=True)) for row in grid.rows if ROW in row]
    shown = {name: line[name] for name in grid.columns if "params" in name or "size" in name}
    assert shown == {
        "published params (M)": "6.9",
        "params (M)": "6.99",
        "params verdict": "reproduced",
        "published size (MiB)": "26.65",
        "size (MiB)": "26.65",
        "size verdict": "reproduced",
    }
    assert line["verdict"] == "reproduced"


def test_nothing_trains_evaluates_or_plans_it(project: Project) -> None:
    experiment = load_experiment(project, NAME)
    for ask in (open_split, training_split):
        with pytest.raises(ParamsError, match="only the cost of a network"):
            ask(project, experiment)
    with pytest.raises(ParamsError, match="no training to plan"):
        plan(experiment)
    assert (estimate(experiment, speed=1.0).samples, estimate(experiment, speed=1.0).seconds) == (0, 0)
    with pytest.raises(RecordError, match="nothing was measured yet"):
        build(project, experiment)


def test_nothing_stops_it_where_there_is_no_data(project: Project) -> None:
    assert blockers(project, load_experiment(project, NAME), Machine()) == []


def test_there_are_no_weights_to_promote(project: Project) -> None:
    with pytest.raises(RecordError, match="no weights to promote"):
        promote(project, recorded(project))


def test_cost_alone_needs_a_protocol_that_says_how_large_the_input_is(project: Project) -> None:
    path = project.experiments / NAME / "params.yaml"
    path.write_text(path.read_text().replace("page003_321_nan", "whole"))
    with pytest.raises(ParamsError, match="requires a protocol with a crop"):
        load_experiment(project, NAME)


@pytest.mark.parametrize(
    ("row", "millions", "verdict"),
    [
        ("003-003", 18.15, "reproduced"),
        ("003-004", 30.727, "reproduced"),
        ("003-005", 42.887, "reproduced"),
        ("003-005", 43.3, "differs"),
        ("003-006", 42.7, "reproduced"),
        ("003-017", 42.7, "incomparable"),
    ],
)
def test_a_size_holds_within_the_last_printed_digit(row: str, millions: float, verdict: str) -> None:
    """18M and 69.24MB, 30M and 117.22MB, 42M and 163MB; without a unit the digit is 1."""
    assert cost_verdict(printed_costs({"params_M": millions}, PUBLISHED.rows[row])) == verdict


def test_later_keys_with_neutral_values_are_taken_out_and_others_kept() -> None:
    plain = {
        "measure": "all",
        "model": {"head": {"glorot": [], "channels": 256}},
        "training": {"pad_epoch": True},
    }
    kept = drop_neutral_defaults(plain)
    assert kept == {"model": {"head": {"channels": 256}}, "training": {"pad_epoch": True}}
    assert plain["measure"] == "all"
    assert drop_neutral_defaults({}) == {}
