"""Frames as CSV, JSON and Parquet; runs and curves likewise; commands that write them."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas
import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import ParamsError, ReproError
from repro.reports.data_formats import DATA_FORMATS, csv_text
from repro.reports.exports import EXPORTS, curves
from repro.reports.frame import COLUMNS
from repro.reports.runs import runs_frame, runs_json
from repro.tracking.run_reader import StoredRun
from tests.reports.kit import ROOT, a_project, a_record, results

RUN = CliRunner()
REMOTE = "https://data.example.org/dvc"


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    mine = a_record(metrics={"mIoU": 50.1235, "aAcc": 50.1235})
    a_project(tmp_path, mine, a_record("camvid_own", row=None))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(kind: str, content: str | bytes) -> pandas.DataFrame:
    if isinstance(content, bytes):
        return pandas.read_parquet(io.BytesIO(content))
    return pandas.read_csv(io.StringIO(content)) if kind == "csv" else pandas.DataFrame(json.loads(content))


@pytest.mark.parametrize("kind", DATA_FORMATS)
def test_numbers_and_addresses_come_back(kind: str) -> None:
    frame = results(a_record(metrics={"mIoU": 50.123456, "aAcc": 90.0})).to_frame()
    back = read(kind, DATA_FORMATS[kind](frame))
    assert list(back.columns) == list(COLUMNS)
    for name in ("published", "measured", "gap", "interval_low", "params_m", "published_params_m"):
        assert back[name].dtype == "float64"
        assert back[name].equals(frame[name])
    assert back["published_weights_url"].dropna().tolist() == frame["published_weights_url"].dropna().tolist()
    assert back["verdict"].tolist() == frame["verdict"].tolist()


def test_nothing_in_a_csv_is_evaluated() -> None:
    odd = replace(a_record(), provenance={"at": "=1+1", "git": {"commit": "a\x1b[31m\nb"}})
    text = csv_text(results(odd).to_frame())
    assert "'=1+1" in text
    assert "\x1b" not in text
    assert len(text.splitlines()) == len(results(odd).to_frame()) + 1


@pytest.mark.parametrize("command", ["table --dataset camvid", "table"])
def test_a_table_as_data(measured: Path, command: str) -> None:
    table = read("csv", RUN.invoke(app, [*command.split(), "-f", "csv"]).stdout)
    stored = read("parquet", RUN.invoke(app, [*command.split(), "-f", "parquet"]).stdout_bytes)
    assert table["published"].equals(stored["published"])
    assert stored.set_index("experiment").loc["camvid_x", "measured"] == 50.1235
    pages = json.loads(RUN.invoke(app, [*command.split(), "-f", "json"]).stdout)
    rows = [row for page in pages for row in page["rows"]]
    assert len(rows) == len(table) == len(stored)
    (mine,) = (row for row in rows if row["experiment"] == "camvid_x")
    assert (mine["measured"], mine["measured mIoU"]) == (50.1235, "50.12")
    assert mine["gap"] == 0.1235


def test_parquet_needs_a_place_that_is_not_a_terminal(measured: Path) -> None:
    for asked in (["metadata", "parquet"], ["table", "--page", "1", "-f", "parquet"]):
        answer = RUN.invoke(app, asked)
        assert isinstance(answer.exception, ParamsError)
    assert RUN.invoke(app, ["metadata", "parquet", "--out", "results.parquet"]).exit_code == 0
    assert len(pandas.read_parquet("results.parquet")) > 100
    assert RUN.invoke(app, ["metadata", "parquet", "--out", "results.parquet"]).exit_code == 0
    Path("notes.txt").write_text("mine")
    assert isinstance(RUN.invoke(app, ["metadata", "parquet", "--out", "notes.txt"]).exception, ReproError)
    assert Path("notes.txt").read_text() == "mine"


def test_exports_keep_the_former_names_for_a_release(measured: Path) -> None:
    table = read("csv", RUN.invoke(app, ["metadata", "csv", "camvid_x"]).stdout)
    assert list(table.columns[: len(COLUMNS)]) == list(COLUMNS)
    line = table.iloc[0]
    assert line["mIoU"] == line["measured"] == 50.1235
    assert line["published_mIoU"] == line["published"] == 50.0
    former = {"model-index", "metafile", "csv", "json", "parquet", "curves", "badge"}
    assert former | {"eval-results", "eee", "croissant"} == EXPORTS.keys()
    (found,) = json.loads(RUN.invoke(app, ["metadata", "json", "camvid_x"]).stdout)
    assert list(found) == list(COLUMNS)


def test_curves_are_one_table(measured: Path) -> None:
    table = read("csv", RUN.invoke(app, ["metadata", "curves"]).stdout)
    assert list(table.columns) == ["experiment", "step", "loss", "lr", "val_miou"]
    assert table["experiment"].tolist() == ["camvid_own"] * 2 + ["camvid_x"] * 2
    assert table["val_miou"].dropna().tolist() == [40.5, 40.5]
    assert curves(results(a_record()), ["camvid_x"]).splitlines()[1] == "camvid_x,0,1.0,0.1,"


def run(i: int, **values: object) -> StoredRun:
    return StoredRun(id=f"r{i}", name=f"n{i}", experiment="camvid", status="FINISHED", started=i, **values)  # type: ignore[arg-type]


def test_runs_have_numbers_for_metrics() -> None:
    runs = [run(1, metrics={"mIoU": 50.123456789012}, params={"lr": "0.1"}), run(2, tags={"t": "1"})]
    frame = runs_frame(runs)
    assert frame["metrics.mIoU"].tolist()[0] == 50.123456789012
    assert frame["params.lr"].dtype == "str"
    (table,) = json.loads(runs_json(runs))
    assert [row["metrics.mIoU"] for row in table["rows"]] == [50.123456789012, None]
    (odd,) = json.loads(runs_json([run(3, metrics={"loss": float("inf")})]))
    assert odd["rows"][0]["metrics.loss"] is None


# --- on a terminal, and into a pipe that closes ------------------------------------------------------------


def on_a_terminal(*arguments: str, width: int) -> list[str]:
    """The lines that a command prints on a terminal of that width."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "xterm", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "repro", *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment):
        os.close(theirs)
        found = b""
        try:
            while block := os.read(ours, 65536):
                found += block
        except OSError:  # the other end is closed: all was read
            pass
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;]*m", "", found.decode()).splitlines()


@pytest.mark.parametrize("width", [60, 200])
@pytest.mark.parametrize("command", ["list", "table --dataset camvid", "check"])
@pytest.mark.slow
def test_tables_fit_the_terminal(command: str, width: int) -> None:
    lines = on_a_terminal(*command.split(), width=width)
    assert max(map(len, lines)) <= width
    assert any("experiment" in line and "verdict" in line for line in lines[:3])
    wide = on_a_terminal(*command.split(), "--wide", width=width)
    assert max(map(len, wide)) > max(map(len, lines))


@pytest.mark.parametrize("command", ["list", "table --dataset camvid", "list --json", "table -f csv"])
@pytest.mark.slow
def test_a_reader_may_leave(command: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "repro", *command.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    ) as started:
        assert started.stdout
        assert started.stderr
        assert started.stdout.readline()
        started.stdout.close()
        said = started.stderr.read()
    assert started.returncode == 0
    assert "Traceback" not in said
    assert "Broken pipe" not in said
