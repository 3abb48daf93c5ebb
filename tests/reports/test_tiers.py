"""Tiers of evidence: each kind of result has one; headline and badge count results by theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from repro.records.tier import TIERS, tier_of
from repro.reports.badge import badge
from repro.reports.frame import results_frame
from repro.reports.gate import headline, tiers_text
from repro.reports.listing import listing
from repro.reports.results import load_results
from repro.tracking.record_view import note_of, tags_of
from tests.reports.kit import a_project, a_record, results


def test_each_kind_of_result_has_a_tier() -> None:
    trained = a_record()
    cases = [
        (None, 0, "published only"),
        (replace(trained, kind="smoke"), 1, "published only"),
        (replace(trained, kind="cost"), 1, "published only"),
        (replace(trained, kind="external"), 3, "self-reported"),
        (replace(trained, kind="released"), 1, "re-evaluated"),
        (trained, 1, "retrained, one run"),
        (trained, 2, "retrained, several seeds"),
    ]
    for record, seeds, tier in cases:
        assert tier_of(record, seeds=seeds, published=True) == tier, (record and record.kind, seeds)
    assert {tier for _, _, tier in cases} == set(TIERS)
    assert tier_of(None, seeds=0, published=False) is None


def test_headline_and_badge_say_how_many_of_which_tier() -> None:
    known = results(a_record())
    assert headline(known).startswith("1 of 1 published mIoU (1 retrained, one run)")
    shown = json.loads(badge(known))
    assert (shown["schemaVersion"], shown["message"]) == (1, "1 of 1 mIoU (1 retrained, one run)")
    assert (
        tiers_text({"retrained, one run": 1, "re-evaluated": 2}) == "(2 re-evaluated; 1 retrained, one run)"
    )
    assert tiers_text({}) == ""


def test_frame_list_and_mlflow_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = load_results(a_project(tmp_path, a_record()))
    frame = results_frame(known)
    assert set(frame["tier"]) == {"published only", "retrained, one run"}
    (line,) = listing(known, ["camvid_x"])
    assert line["tier"] == "retrained, one run"
    record, judged = known.records["camvid_x"], known.judge.judge("camvid_x")
    assert tags_of(record, judged)["tier"] == "retrained, one run"
    assert "; retrained, one run." in note_of(record, judged)
