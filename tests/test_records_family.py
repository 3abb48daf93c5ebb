"""Seeds are judged by their mean only where they were measured alike and agree: no seed makes a pass."""

from __future__ import annotations

from typing import Any

import pytest

from repro.records import Expected, Record, among_seeds, seeds_of
from repro.records.family import WIDEST, disagreement
from repro.reports import gate
from tests.reports_kit import results, seeded

SIXTY = Expected(metric="mIoU", value=60.0, band=0.8, source="test")


def family(*values: float, **changes: Any) -> list[Record]:
    """Seeds with these mIoU, expected to be 60 ± 0.8; `changes` are those of all but the first."""
    found = []
    for seed, value in enumerate(values):
        fields = {"metrics": {"mIoU": value}, "expectation": SIXTY, "verdict": "regressed"}
        found.append(seeded(seed, **(fields | (changes if seed else {}))))
    return found


def verdicts(records: list[Record]) -> set[str]:
    """What the gate says of every one of them, and what `repro record` would write."""
    judged = {gate.finding(results(*records), record.experiment).verdict for record in records}
    return judged | {among_seeds(record, records).verdict for record in records}


def test_seeds_that_agree_share_one_verdict() -> None:
    assert verdicts(family(58.5, 59.5, 59.0)) == {"reproduced"}
    assert verdicts(family(50.0, 50.1, 50.2)) == {"regressed"}


def test_a_collapsed_seed_makes_no_pass_of_the_others() -> None:
    assert verdicts(family(50.0, 50.1)) == {"regressed"}
    assert verdicts(family(50.0, 50.1, 5.0)) == {"incomparable"}
    found = gate.finding(results(*family(50.0, 50.1, 5.0)), "camvid_s0")
    assert found.reason.startswith("the 3 seeds disagree: ±129")


def test_what_the_record_says_of_seeds_that_disagree() -> None:
    records = family(50.0, 50.1, 5.0)
    judged = among_seeds(records[0], records)
    assert judged.notes[-1].startswith("the 3 seeds disagree")
    assert seeds_of(records[1], [judged, records[2]]) == [records[1], judged, records[2]]


@pytest.mark.parametrize(
    "change",
    [
        {"dataset_fingerprint": "ee" * 32},
        {"protocol_hash": "f" * 12},
        {"n_images": 24},
        {"split": "val"},
        {"verdict": "incomparable", "notes": ("measured on 'val'",)},
    ],
)
def test_seeds_that_were_measured_otherwise_do_not_count(change: dict[str, Any]) -> None:
    records = family(58.9, 60.1, 60.0, **change)
    assert seeds_of(records[0], records) == records[:1]
    assert among_seeds(records[0], records) == records[0]
    assert gate.finding(results(*records), "camvid_s0").verdict == "regressed"


def test_the_number_of_seeds_is_what_the_page_computes() -> None:
    """Page 000 has a formula of its own for mIoU: its numbers are compared, not the correct ones."""
    records = [
        seeded(seed, metrics={"mIoU": 60.0 + seed / 10, "mIoU_page": 55.0 + seed / 10}, expectation=SIXTY)
        for seed in range(3)
    ]
    assert verdicts(records) == {"regressed"}
    assert results(*records).seeds(records[0]) == [55.0, 55.1, 55.2]


def test_the_widest_spread_is_a_multiple_of_one_runs_band() -> None:
    """Three seeds with the band as their standard deviation are just within it."""
    assert disagreement([49.2, 50.0, 50.8], 0.8) == ""
    assert f"more than {WIDEST:g} times the band" in disagreement([49.1, 50.0, 50.9], 0.8)
    assert disagreement([5.0, 60.0], 0.8) == "", "two have no interval, and are judged one by one"
