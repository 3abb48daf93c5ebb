"""Which settings of an experiment are params of its run in MLflow."""

from __future__ import annotations

import json

from repro.params.experiment import TrainedExperiment
from repro.records.flatten import defaults
from repro.tracking.run_info import shown_params
from tests.conftest import ROOT


def test_a_run_has_the_settings_that_are_not_defaults() -> None:
    record = json.loads((ROOT / "reports/rows/camvid_dense30k36_os16_321_x32_b45.json").read_text())
    shown = shown_params(record["params"])
    assert len(shown) < 50
    assert {"seed": "0", "model.densenet.growth": "36", "training.lr": "0.001"}.items() <= shown.items()
    assert "training.momentum" not in shown, "Adam has none: it is the default"
    assert "rows" not in shown, "may change without a new run"


def test_a_setting_that_was_changed_from_its_default_is_shown() -> None:
    usual = defaults(TrainedExperiment)["training.momentum"]
    assert shown_params({"training": {"momentum": usual}}) == {}
    assert shown_params({"training": {"momentum": 0.5}}) == {"training.momentum": "0.5"}
