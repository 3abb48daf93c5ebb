"""The cost of networks in tables, headline and gate, from reports/cost.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import RecordError
from repro.params import Project, load_trained
from repro.published.page import Row
from repro.records.cost_file import NetworkCost, network_key, read_costs, write_costs
from repro.reports import gate, page_tables
from repro.reports.enums import Values
from repro.reports.link_states import published_links, read_states, write_states
from repro.reports.links import Checked, Link
from repro.reports.results import load_results
from repro.reports.tables import dataset_tables
from tests.kit import PUBLISHED
from tests.reports.kit import CPU, a_project, a_record, write_params

RUN = CliRunner()
COUNTED = {"params_M": 2.95, "gmacs_conv": 5.25, "gmacs_thop": 5.3, "input_size": [360, 480]}
MEASURED = {
    "latency_ms_p50": 3100.04,
    "latency_ms_mean": 3200.0,
    "peak_memory_MiB": 512.4,
    "runs": 5,
    "device": CPU,
}


def counted(
    root: Path, row: str, cost: Mapping[str, Any], measured: Mapping[str, Any] | None = None
) -> Project:
    """A project with one experiment of a published row, not measured, whose network has this cost."""
    project, record = a_project(root), a_record("an_experiment", row=row)
    folder = project.experiments / record.experiment
    folder.mkdir()
    write_params(folder, record, "whole")
    key = network_key(load_trained(project, record.experiment))
    entry = NetworkCost(experiments=(record.experiment,), counted=cost, measured=measured or {})
    write_costs(project.costs, {key: entry})
    return project


def line_of(project: Project, row: str) -> dict[str, str]:
    (grid,) = [one for one in dataset_tables(load_results(project), PUBLISHED.rows[row].dataset)
               if any(row in cells for cells in one.rows)]  # fmt: skip
    (cells,) = [cells for cells in grid.rows if row in cells]
    return dict(zip(grid.columns, cells, strict=True)) | {"notes": " ".join(grid.notes)}


def test_a_row_that_is_not_measured_has_its_cost(tmp_path: Path) -> None:
    line = line_of(counted(tmp_path, "003-028", COUNTED, MEASURED), "003-028")
    assert line["verdict"] == "unmeasured"
    assert (line["published params (M)"], line["params (M)"], line["params verdict"]) == (
        "2.9",
        "2.95",
        "reproduced",
    )
    assert line["GMACs"] == "5.25 @ 360x480"
    assert (line["latency p50 (ms)"], line["memory (MiB)"]) == ("3100.0 (a)", "512 (a)")
    assert "(a) device: Test CPU, 2 threads, torch 2.15.0, 5 runs" in line["notes"]


def test_published_cost_and_accuracies_stand_beside_ours(tmp_path: Path) -> None:
    cost = {**COUNTED, "gmacs_conv": 133.6, "gmacs_thop": 135.1, "input_size": [1024, 2048]}
    project = counted(tmp_path, "000-01", cost, MEASURED)
    line = line_of(project, "000-01")
    assert (line["published FLOPs (G)"], line["GMACs"]) == ("135", "133.60 @ 1024x2048")
    assert line["FLOPs verdict"] == "reproduced (MACs with norms)"
    assert line["published time (ms)"] == "38.06 (a)"
    assert "published: not named by the page" in line["notes"]
    assert (line["published aAcc"], line["published mAcc"], line["published fwIoU"]) == (
        "95.20",
        "80.00",
        "91.30",
    )
    page = PUBLISHED.page("000")
    text = page_tables.table_text(load_results(project), page, page.tables[0], Values.both).split("\n")[2]
    assert "135G → 135G" in text
    assert "38.06 → 3200.00 (Test CPU" in text


@pytest.mark.parametrize(("millions", "verdict", "code"), [(2.99, None, 0), (3.2, "differs", 1)])
def test_a_new_difference_fails(tmp_path: Path, millions: float, verdict: str | None, code: int) -> None:
    project = counted(tmp_path, "003-028", {**COUNTED, "params_M": millions})
    results = load_results(project)
    found = gate.cost_findings(results)
    assert [one.verdict for one in found] == ([verdict] if verdict else [])
    assert gate.exit_code([*gate.check(results), *found], strict=False) == code
    shown = f"{int(not verdict)} of 1 parameters reproduced"
    assert gate.headline(results) == f"0 of 1 published mIoU, {shown}"


def test_a_known_difference_is_listed_and_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(counted(tmp_path, "003-051", {**COUNTED, "params_M": 9.69}).root)
    answer = RUN.invoke(app, ["check", "--allow-empty"])
    assert answer.exit_code == 0, answer.output
    assert "params_M 9.69, reference 5.70 ± 0.1 (+3.99): known difference. prints the 5.7 M" in answer.output
    assert "1 known difference" in answer.output


def test_the_cost_of_another_network_is_not_shown(tmp_path: Path) -> None:
    project = counted(tmp_path, "003-028", COUNTED)
    path = project.params_of("an_experiment")
    path.write_text(path.read_text().replace("output_stride: 16", "output_stride: 8"))
    assert "GMACs" not in line_of(project, "003-028")
    assert gate.headline(load_results(project)) == "0 of 1 published mIoU reproduced"


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cost.json"
    for text in (
        '{"networks": []}',
        '{"networks": {"k": {"experiments": ["a"], "counted": {"params_M": "x"}}}}',
    ):
        path.write_text(text)
        with pytest.raises(RecordError, match=r"params_M|not a file of costs"):
            read_costs(path)


# --- states of links ----------------------------------------------------------------------------------------


def test_links_are_shown_with_their_state(tmp_path: Path) -> None:
    path, rows = tmp_path / "links.json", PUBLISHED.rows
    own, shared = rows["000-01"].links["model"], rows["000-02"].links["model"]
    checked = [
        Checked(link=Link(row="000-01", role="model", url=own), state="ok", detail="HTTP 200"),
        Checked(link=Link(row="000-02", role="model", url=shared), state="dead", detail="HTTP 404"),
        Checked(
            link=Link(row="000-03", role="model", url="https://x"), state="unreached", detail="no answer"
        ),
    ]
    write_states(path, checked, day="2026-11-30")
    states = read_states(path)
    assert states == {own: "alive", shared: "dead"}
    assert published_links(rows["000-01"], states)[0] == f"[published model]({own}) (alive)"
    assert published_links(rows["000-02"], states) == [
        f"[published model]({shared}) (dead, of 000-03)",
        "empty link",
    ]
    assert published_links(Row(id="a-1", line=1, cells=("x",)), states) == []
    write_states(path, [], day="2026-12-01")
    assert read_states(path) == states, "what was found out before is kept"
