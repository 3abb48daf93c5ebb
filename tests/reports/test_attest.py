"""An attestation says what the record says, is the same each time, and is checked against its record."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.params import Project
from repro.records import write_record
from repro.reports.experiment_pages import experiment_page
from repro.reports.results import load_results
from tests.reports.kit import a_project, a_record

RUN = CliRunner()
RECORD = a_record(metrics={"mIoU": 50.0})


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    a_project(tmp_path, RECORD)
    shutil.rmtree(tmp_path / "published" / "attested", ignore_errors=True)  # of this repository's results
    monkeypatch.chdir(tmp_path)
    assert RUN.invoke(app, ["page", "attest", "003-028", "--by", "Ada", "--write"]).exit_code == 0
    return tmp_path / "published" / "attested" / "camvid_x.json"


def test_it_says_number_protocol_data_weights_and_who(kept: Path) -> None:
    text, facts = kept.with_suffix(".md").read_text(), json.loads(kept.read_text())
    for said in (
        "**mIoU 50.00** (95 % interval 48.90 to 51.70); published is 50.00.",
        "- Compared with: 50.00 ± ",
        "- Protocol: camvid test, 233 images, whole (`",
        "ab" * 32,
        f"sha256 `{'cd' * 32}`",
        "Measured by: Ada",
        "c" * 40 + " with uncommitted changes",
        "`repro replay camvid_x`",
        "git log --show-signature",
    ):
        assert said in text, said
    assert facts == json.loads(RUN.invoke(app, ["page", "attest", "camvid_x", "--json"]).stdout)


def test_written_again_it_is_the_same_and_a_changed_record_is_found(kept: Path) -> None:
    before = kept.read_bytes()
    assert RUN.invoke(app, ["page", "attest", "camvid_x", "--write"]).exit_code == 0
    assert kept.read_bytes() == before, "the name that was given stays"
    assert RUN.invoke(app, ["page", "attest", "--check"]).exit_code == 0
    write_record(kept.parents[2] / "reports/rows/camvid_x.json", replace(RECORD, metrics={"mIoU": 49.9}))
    checked = RUN.invoke(app, ["page", "attest", "--check"])
    assert checked.exit_code == 1
    assert "camvid_x.json" in str(checked.exception) + checked.output


def test_the_report_links_it_from_the_page_of_the_experiment(kept: Path) -> None:
    results = load_results(Project(kept.parents[2]))
    shown = dict(experiment_page(results, "camvid_x", {}, {})["links"])
    assert "published/attested/camvid_x.md" in shown


def test_what_was_not_measured_cannot_be_attested(kept: Path) -> None:
    assert kept.is_file()
    for wrong in (
        ["page", "attest"],
        ["page", "attest", "camvid_y"],
        ["page", "attest", "camvid_x", "--write", "--check"],
    ):
        assert RUN.invoke(app, wrong).exit_code != 0, wrong


def test_a_damaged_attestation_is_named(kept: Path) -> None:
    kept.write_text("[]")
    answer = RUN.invoke(app, ["page", "attest", "camvid_x"])
    assert answer.exit_code != 0
    assert "not an attestation" in str(answer.exception) + answer.output
