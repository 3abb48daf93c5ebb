"""Results as model cards and Every Eval Ever hold them: number, interval, protocol, tier."""

from __future__ import annotations

import json

import pytest
import yaml

from repro.errors import ParamsError
from repro.reports.model_cards import eval_results, every_eval_ever, model_index
from tests.reports.kit import a_record, unjudged

RECORD = a_record(
    metrics={"mIoU": 50.0, "mIoU_ms_flip": 51.0},
    protocol={"mode": "whole", "scales": [1.0], "ms_flip": {"scales": [0.5, 1.0], "flip": True}},
)
WORDS = "camvid test, 233 images, whole"


def test_model_index_names_interval_protocol_and_tier() -> None:
    (model,) = yaml.safe_load(model_index(unjudged(RECORD), ["camvid_x"]))["model-index"]
    first, second = (metric["args"] for metric in model["results"][0]["metrics"])
    assert (first["interval_low"], first["interval_high"]) == (48.9, 51.7)
    assert (first["protocol"], first["tier"]) == (WORDS, "retrained, one run")
    assert "interval_low" not in second, "the interval is of the first metric alone"
    assert second["protocol"] == f"{WORDS}; averaged over scales 0.5 1 and mirror images"


def test_eval_results_has_the_keys_of_the_specification() -> None:
    (entry,) = yaml.safe_load(eval_results(unjudged(RECORD), ["camvid_x"]))
    assert entry["dataset"] == {"id": "camvid", "task_id": "test"}
    assert (entry["value"], entry["date"]) == (50.0, "2026-11-20T05:00:00Z")
    for said in ("mIoU in percent; 48.90 to 51.70", WORDS, "retrained, one run"):
        assert said in entry["notes"], said


def test_every_eval_ever_has_each_number_with_its_interval() -> None:
    document = json.loads(every_eval_ever(unjudged(RECORD), ["camvid_x"]))
    first, second = document["evaluation_results"]
    between = first["score_details"]["uncertainty"]["confidence_interval"]
    assert (first["score_details"]["score"], between["lower"], between["upper"]) == (50.0, 48.9, 51.7)
    assert "uncertainty" not in second["score_details"]
    assert document["evaluation_id"] == f"camvid/camvid_x/{document['retrieved_timestamp']}"
    with pytest.raises(ParamsError, match="one experiment, not 2"):
        every_eval_ever(unjudged(RECORD), ["camvid_x", "camvid_x"])
