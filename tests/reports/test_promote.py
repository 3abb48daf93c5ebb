"""Who becomes champion is decided by the gate, and not by the word that the record holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

import repro.tracking.promote
from repro.cli.app import app
from repro.errors import CheckFailed, RecordError, ReproError
from repro.params import Project
from repro.records import read_row
from tests.reports.kit import a_project, a_record, add


@pytest.fixture
def promoted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Experiments that were given an alias; without MLflow, which has tests of its own."""
    given: list[str] = []

    def give(project: Project, record: Any, **_: Any) -> str:
        given.append(record.experiment)
        return "deeplab-camvid version 1"

    monkeypatch.setattr(repro.tracking.promote, "promote", give)
    return given


@pytest.fixture
def project(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return a_project(tmp_path, a_record())


def promote(*words: str) -> None:
    CliRunner().invoke(
        app, ["weights", "promote", "camvid_x", *words], catch_exceptions=False, standalone_mode=False
    )


def other_params(project: Project) -> None:
    path = project.experiments / "camvid_x" / "params.yaml"
    path.write_text(path.read_text().replace("lr: 0.03", "lr: 0.3"))


def fewer_images(project: Project) -> None:
    add(project, a_record(n_images=24))


def another_page(project: Project) -> None:
    add(project, a_record(published={"mIoU": 60.0}))


def regressed(project: Project) -> None:
    add(project, a_record(metrics={"mIoU": 40.0}))  # its own word is still "reproduced"


def doubted_when_measured(project: Project) -> None:
    add(project, a_record(verdict="incomparable"))


@pytest.mark.parametrize(
    "change", [other_params, fewer_images, another_page, regressed, doubted_when_measured]
)
def test_the_gate_decides(project: Project, promoted: list[str], change: Callable[[Project], None]) -> None:
    change(project)
    with pytest.raises(CheckFailed, match=r"camvid_x is '(incomparable|regressed)': "):
        promote()
    assert promoted == []
    promote("--force")
    assert promoted == ["camvid_x"]


def test_a_pass_of_the_gate_is_promoted(project: Project, promoted: list[str]) -> None:
    add(project, replace(a_record(), verdict="regressed"))  # its seeds came later
    promote()
    assert promoted == ["camvid_x"]


def test_a_damaged_record_is_never_promoted(project: Project, promoted: list[str]) -> None:
    path = project.rows / "camvid_x.json"
    path.write_text(re.sub(r'"n_images": \d+', '"n_images": 1', path.read_text()))
    for words in ((), ("--force",)):
        with pytest.raises(RecordError, match="edited after it was written"):
            promote(*words)
    path.unlink()
    with pytest.raises(ReproError, match="unknown record 'camvid_x'"):
        promote()
    assert promoted == []


@pytest.mark.parametrize("sha256", ["", "ab", None])
def test_a_record_that_names_no_weights_is_promoted_by_nothing(tmp_path: Any, sha256: str | None) -> None:
    project = a_project(tmp_path, replace(a_record(), model_sha256=sha256))
    with pytest.raises(RecordError, match="no weights to promote"):
        repro.tracking.promote.promote(project, read_row(project.record("camvid_x")))
    assert not (tmp_path / "reports/champions.yaml").exists()
