"""Seeds are judged by their mean only if they are comparable and agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from repro.evaluation.confusion import collect, squeeze
from repro.records import Expected, Record, seeds_of, with_seed_statistics
from repro.records.seeds import MAX_SEED_BAND, disagreement
from repro.reports import gate
from repro.reports.results import load_results
from repro.stages.record import judged
from tests.reports.kit import a_project, add, results, seeded

SIXTY = Expected(metric="mIoU", value=60.0, band=0.8, source="test")


def family(*values: float, **changes: Any) -> list[Record]:
    """Seeds with these mIoU, expected to be 60 ± 0.8; `changes` are those of all but the first."""
    found = []
    for seed, value in enumerate(values):
        fields = {"metrics": {"mIoU": value}, "expectation": SIXTY, "verdict": "drifted", "row": None}
        found.append(seeded(seed, **(fields | (changes if seed else {}))))
    return found


def verdicts(records: list[Record]) -> set[str]:
    """The findings of the gate on each of them."""
    found = results(*records)
    return {gate.finding(found, record.experiment).verdict for record in records}


def test_seeds_that_agree_share_one_verdict() -> None:
    assert verdicts(family(58.5, 59.5, 59.0)) == {"holds"}
    assert verdicts(family(50.0, 50.1, 50.2)) == {"drifted"}


def test_a_collapsed_seed_makes_no_pass_of_the_others() -> None:
    assert verdicts(family(50.0, 50.1)) == {"drifted"}
    assert verdicts(family(50.0, 50.1, 5.0)) == {"incomparable"}
    found = gate.finding(results(*family(50.0, 50.1, 5.0)), "camvid_s0")
    assert found.reason.startswith("the 3 seeds disagree: ±129")


def test_what_the_record_says_of_seeds_that_disagree() -> None:
    records = family(50.0, 50.1, 5.0)
    first = judged(with_seed_statistics(records[0], records), results(*records).judge.judge("camvid_s0"))
    assert first.verdict == "incomparable"
    assert first.notes[-1].startswith("the 3 seeds disagree")
    assert seeds_of(records[1], [first, records[2]]) == [records[1], first, records[2]]


def test_what_the_record_says_of_seeds_that_agree() -> None:
    records = family(58.5, 59.5, 59.0)
    first = judged(records[0], results(*records).judge.judge("camvid_s0"))
    assert (first.verdict, first.notes[-1]) == ("holds", "judged by the mean of 3 seeds")


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
def test_seeds_that_were_measured_differently_do_not_count(change: dict[str, Any]) -> None:
    records = family(58.9, 60.1, 60.0, **change)
    assert seeds_of(records[0], records) == records[:1]
    assert with_seed_statistics(records[0], records) == records[0]


def test_a_seed_that_cannot_be_believed_makes_no_pass() -> None:
    """Its number would count in the mean of the others."""
    found = results(*family(58.5, 59.5, 59.0))
    path = found.project.experiments / "camvid_s2" / "metrics.json"
    path.write_text(path.read_text().replace("59.0", "60.0"))
    one = gate.finding(found, "camvid_s0")
    assert one.verdict == "incomparable"
    assert one.reason.startswith("seed camvid_s2: the metrics of the record and of metrics.json differ")


@pytest.mark.parametrize("edit", [None, ("lr: 0.03", "lr: 0.3")])
def test_a_seed_of_other_params_makes_no_pass(edit: tuple[str, str] | None) -> None:
    """It is no longer a seed of this experiment."""
    found = results(*family(58.5, 59.5, 59.0))
    path = found.project.params_of("camvid_s2")
    path.unlink() if edit is None else path.write_text(path.read_text().replace(*edit))
    loaded = load_results(found.project)
    one = gate.finding(loaded, "camvid_s0")
    assert one.verdict == "incomparable"
    assert one.reason.startswith("seed camvid_s2: ")


def test_the_number_of_seeds_is_what_the_page_computes(tmp_path: Path) -> None:
    """Page 000 has a different formula for mIoU: its numbers are compared, not the correct ones."""
    project = a_project(tmp_path)
    for seed in range(3):
        matrix = np.zeros((19, 20), np.int64)
        matrix[0, :2] = 550, 225 - seed  # TP / (2 GT - TP) is 550 / (1000 - 2 seed)
        record = seeded(seed, row=None, dataset="cityscapes", expectation=SIXTY)
        add(
            project,
            record,
            protocol="page000_tf",
            confusions={"": collect([squeeze(matrix)] * 500, classes=19)},
        )
    found = load_results(project)
    assert found.seeds(found.records["camvid_s0"]) == [55.0, 55.1102, 55.2209]
    assert gate.finding(found, "camvid_s0").verdict == "drifted"


def test_the_widest_spread_is_a_multiple_of_one_runs_band() -> None:
    """Three seeds with the band as their standard deviation are just within it."""
    assert disagreement([49.2, 50.0, 50.8], 0.8) == ""
    assert f"more than {MAX_SEED_BAND:g} times the band" in disagreement([49.1, 50.0, 50.9], 0.8)
    assert disagreement([5.0, 60.0], 0.8) == "", "two have no interval, and are judged one by one"
