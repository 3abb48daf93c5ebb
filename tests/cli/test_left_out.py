"""An experiment that cannot be read: named by commands that show others, an error where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import ParamsError
from repro.fleet.workspace import garbage
from repro.params import Project, explicitly_named
from repro.records import Journal
from repro.reports.results import load_results
from repro.tracking.mirror import Mirror
from repro.tracking.run_info import Run
from tests.reports.kit import a_project, a_record

BAD = "camvid_bad"


def of_params(project: Project) -> None:
    """A folder beside the others whose params.yaml is no YAML."""
    project.params_of(BAD).parent.mkdir()
    project.params_of(BAD).write_text("x: [")


def of_record(project: Project) -> None:
    """An experiment whose record was cut short."""
    project.params_of(BAD).parent.mkdir()
    project.params_of(BAD).write_text(project.params_of("camvid_x").read_text())
    project.record(BAD).write_text("{")


@pytest.fixture(params=[of_params, of_record])
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = a_project(tmp_path, a_record())
    harm: Callable[[Project], None] = request.param
    harm(made)
    monkeypatch.chdir(tmp_path)
    return made


def repro(*arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    "command",
    [
        ["list"],
        ["list", "camvid_*"],
        ["table"],
        ["table", "--dataset", "camvid"],
        ["page", "export", "csv"],
        ["page", "export", "metafile", "camvid_x"],
        ["report", "--out", "report.html"],
    ],
    ids=" ".join,
)
def test_the_others_are_shown(project: Project, command: list[str]) -> None:
    found = repro(*command)
    assert found.exception is None
    assert f"left out {BAD}: not " in found.stderr
    assert "camvid_x" in found.stdout + (Path("report.html").read_text() if "report" in command else "")


@pytest.mark.parametrize(
    "command", [["list", f"experiments/{BAD}/"], ["page", "export", "metafile", "camvid_x", BAD]]
)
def test_one_that_was_asked_for_is_an_error(project: Project, command: list[str]) -> None:
    error = repro(*command).exception
    assert isinstance(error, ParamsError)
    assert BAD in str(error)
    assert error.exit_code == 2


def test_generated_files_are_written_without_it_and_are_not_complete(project: Project) -> None:
    for option in ("--write", "--check"):
        error = repro("table", option).exception
        assert isinstance(error, ParamsError)
        assert f"{BAD}: not " in str(error)
        assert "0 generated files are stale" in str(error)
    assert "50." in (project.root / "reports" / "results.csv").read_text()


def test_a_finished_run_stays_while_a_record_is_damaged(project: Project) -> None:
    """It may be what that record was made of: only its journal is left of it."""
    key = "ab" * 8
    run = Run(name=BAD, dataset="camvid", run_key=key)
    with Journal(project.journal(key)) as journal, Mirror(project, project.journal(key), run=run, live=False):
        journal.metrics({"train/loss": 1.0}, step=1)
    whys = [why for _, why in garbage(project, older_than=-1)]
    assert whys == ([] if load_results(project).damaged else ["finished, without a record"])


def test_a_pattern_asks_for_nobody_by_name() -> None:
    among = {"a_b": 1, "a_c": 2}
    assert explicitly_named(["a_*", "experiments/a_c/"], among) == {"a_c": 2}
