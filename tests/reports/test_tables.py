"""Tables: published ones byte for byte, measured ones from records, files that stay current."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from repro.cli.app import app
from repro.cli.results.show import numbers
from repro.cli.results.table import explain
from repro.errors import CheckFailed, ParamsError, ReproError, UnknownNameError
from repro.evaluation.confusion import collect, squeeze
from repro.io.safe_text import cell_text
from repro.params import Project, read_yaml
from repro.published.markdown import cells as cut
from repro.published.markdown import tables as markdown_tables
from repro.reports import generated_files, page_tables, tables
from repro.reports.enums import Values
from repro.reports.explain import explanation, unmeasured
from repro.reports.exports import everything
from repro.reports.formatting import difference
from repro.reports.grid import FORMATS, Grid, plain
from repro.reports.links import measured_links, model_location
from repro.reports.listing import listing
from repro.reports.results import Declared, load_results
from repro.reports.runs import runs_table
from repro.reports.tables import SHORT, measured_table
from repro.stages.summary import summary
from repro.tracking.record_view import note_of, tags_of
from repro.tracking.run_reader import StoredRun, read_runs
from tests.kit import PUBLISHED
from tests.published.test_pages import PUBLISHED_TEXT
from tests.reports.kit import COST, ROOT, a_project, a_record, add, results, seeded, unjudged

RUN = CliRunner()


# --- the pages as published ---------------------------------------------------------------------------------


@pytest.mark.parametrize("page_id", PUBLISHED_TEXT)
def test_the_command_prints_a_page_byte_for_byte(page_id: str) -> None:
    answer = RUN.invoke(app, ["table", "--values", "published", "--page", page_id])
    assert answer.exit_code == 0
    assert hashlib.sha256(answer.stdout.removesuffix("\n").encode()).hexdigest() == PUBLISHED_TEXT[page_id][0]


def test_all_pages_in_order_with_a_blank_line_between() -> None:
    answer = RUN.invoke(app, ["table", "--values", "published"])
    parts = [page.markdown(table) for page in PUBLISHED.pages.values() for table in page.tables]
    assert answer.stdout == "\n\n".join(parts) + "\n"
    assert len(parts) == 25


@pytest.mark.parametrize("page_id", PUBLISHED.ids)
def test_measured_without_records_keeps_words_and_empties_numbers(page_id: str) -> None:
    page = PUBLISHED.page(page_id)
    for table in page.tables:
        text = page_tables.table_text(results(), page, table, Values.measured)
        (shown,) = markdown_tables(text)
        for line, row_id in zip(shown.rows, table.row_ids(page.rows), strict=True):
            assert line.cells[0] == page.rows[row_id].cells[0]
            for column, cell in zip(table.columns, line.cells, strict=False):
                assert not (column.format and cell), (row_id, column.field, cell)


def test_our_numbers_are_in_the_pages_columns() -> None:
    record = a_record("voc2012_v3_r50_os8", row="002-01", metrics={"mIoU": 77.615}, cost={})
    page = PUBLISHED.page("002")
    before, after = (
        page_tables.table_text(results(record), page, page.tables[0], values).split("\n")
        for values in (Values.published, Values.measured)
    )
    assert before[0] == after[0]
    line = cut(after[2])
    assert line[4] == "77.61%"
    assert line[5] == (
        "[config](experiments/voc2012_v3_r50_os8/params.yaml) &#124;"
        " [log](experiments/voc2012_v3_r50_os8/curve.csv)"
    )
    assert cut(after[3])[4] == ""
    both = page_tables.table_text(results(record), page, page.tables[0], Values.both).split("\n")
    assert cut(both[2])[4] == "77.72% → 77.61%"
    assert both[3] == before[3]


def test_fractions_ragged_rows_and_devices() -> None:
    record = a_record("cityscapes_mobilenetv2_os16", row="000-01", metrics={"mIoU": 71.93, "aAcc": 95.0})
    page = PUBLISHED.page("000")
    line = cut(page_tables.table_text(unjudged(record), page, page.tables[0], Values.measured).split("\n")[2])
    assert line[4:6] == ("0.719", "0.950")
    assert line[8] == "32.00 (Test CPU, 2 threads, torch 2.15.0, fp32, batch 1)"
    narrow = a_record("camvid_n", row="003-088", metrics={"mIoU": 60.04})
    page = PUBLISHED.page("003")
    table = next(t for t in page.tables if "003-088" in t.body)
    text = page_tables.table_text(results(narrow), page, table, Values.measured)
    assert "stride8.scale480|3.0|60.0" in text, "the column that the page lost is back"


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("page_id", PUBLISHED.ids)
@pytest.mark.slow
def test_every_page_prints_in_every_format(page_id: str, fmt: str) -> None:
    answer = RUN.invoke(app, ["table", "--page", page_id, "--values", "both", "--format", fmt])
    assert answer.exit_code == 0
    shown = plain(answer.stdout).replace("\\", "")
    assert all(plain(row.cells[0])[:12] in shown for row in PUBLISHED.page(page_id).rows.values())


# --- tables of a data set -----------------------------------------------------------------------------------


def test_published_beside_measured() -> None:
    smoke = a_record("camvid_smoke", row="003-029", kind="smoke", verdict="incomparable")
    own = a_record(
        "camvid_mobilenetv2_os16", row=None, cost=COST | {"device": {"gpu": "NVIDIA H200", "torch": "2.15.0"}}
    )
    page, ours = tables.dataset_tables(results(a_record(metrics={"mIoU": 50.55}), smoke, own), "camvid")
    assert page.title == "Page 003: tensorpack research log"
    shown = {row[0]: dict(zip(page.columns, row, strict=True)) for row in page.rows}
    assert len(shown) == 50  # the eight rows with void as a class are those of camvid12
    assert shown["003-028"] | {"links": ""} == {
        "row": "003-028",
        "experiment": "camvid_x",
        "model": PUBLISHED.rows["003-028"].label,
        "published mIoU": "50.00",
        "measured mIoU": "50.55",
        "95 % interval": "48.90–51.70 (i1)",
        "difference": "+0.55",
        "verdict": "reproduced",
        "tier": "retrained, one run",
        "aAcc": "",
        "published params (M)": "2.9",
        "params (M)": "2.99",
        "params verdict": "reproduced",
        "GMACs": "5.25 @ 360x480",
        "latency p50 (ms)": "31.5 (a)",
        "memory (MiB)": "120 (a)",
        "protocol": "b05b768a (1)",
        "links": "",
    }
    assert shown["003-029"]["measured mIoU"] == "52.70 (smoke run)"
    assert shown["003-029"]["tier"] == shown["003-030"]["tier"] == "published only"
    assert shown["003-030"]["verdict"] == "not run"
    assert page.notes[1] == "(a) device: Test CPU, 2 threads, torch 2.15.0, fp32, batch 1"
    assert "(1) protocol: camvid test, 233 images, whole" in page.notes[2]
    assert page.notes[3].startswith(
        "(i1) interval: 95 % percentile bootstrap over 233 single images (too narrow"
    )
    (line,) = ours.rows
    assert line[0] == "camvid_mobilenetv2_os16"
    assert ours.notes[1] == "(a) device: NVIDIA H200, torch 2.15.0, fp32, batch 1"


def test_the_kind_of_an_interval_is_named_wherever_it_is_shown() -> None:
    kind = "95 % percentile bootstrap over blocks of 10 consecutive frames of 2 videos"
    record = a_record(interval=kind)
    known = results(record)
    found = known.judge.judge(record.experiment)
    (page, *_) = tables.dataset_tables(known, "camvid")
    assert f"(i1) interval: {kind}" in page.notes
    assert explanation(record, "mIoU", Path("x.json"))["interval"] == f"48.90–51.70 ({kind})"
    assert f"(48.90 to 51.70, {kind})" in summary(record)
    assert numbers(record)["interval"] == kind
    assert f"Interval: {kind}." in note_of(record, found)
    assert tags_of(record, found)["interval"] == kind
    assert kind in {line["interval"] for line in csv.DictReader(io.StringIO(everything(results(record), [])))}


def test_page_004s_memory_is_that_of_training() -> None:
    """GiB of the training's device; the memory of one inference is no answer to that column."""
    page = PUBLISHED.page("004")
    table = page.tables[0]
    place = [column.field for column in table.columns].index("mem_GB")
    for cost, text in ((COST, ""), (COST | {"train_memory_MiB": 2048.0}, "2.00 (Test CPU, 2 threads")):
        known = results(a_record("x", "004-01", cost=cost))
        shown = cut(page_tables.table_text(known, page, table, Values.measured).split("\n")[2])
        assert shown[place][: len(text)] == text
        assert bool(shown[place]) == bool(text)


def test_seeds_and_the_pages_own_formula_have_columns(tmp_path: Path) -> None:
    seeds = [seeded(i, row=None, metrics={"mIoU": 50.0 + i}) for i in range(3)]
    (own,) = tables.dataset_tables(results(*seeds), "camvid")[1:]
    assert {row[own.columns.index("seeds")] for row in own.rows} == {"51.00 ± 1.00 (3)"}
    matrix = np.zeros((19, 20), np.int64)
    matrix[0, :2] = 650, 175  # TP / (2 GT - TP) is 650 / 1000; the second class has no pixel right
    project, images = a_project(tmp_path), {"": collect([squeeze(matrix)] * 500, classes=19)}
    add(
        project, a_record("cityscapes_r18_os16_keras", row="000-04"), protocol="page000_tf", confusions=images
    )
    found = load_results(project)
    page = tables.dataset_tables(found, "cityscapes")[0]
    line = dict(zip(page.columns, page.rows[3], strict=True))
    assert (line["measured mIoU"], line["as the page computes"], line["difference"]) == (
        "39.39",
        "65.00",
        "+0.20",
    )
    text = page_tables.table_text(
        found, PUBLISHED.page("000"), PUBLISHED.page("000").tables[1], Values.measured
    )
    assert cut(text.split("\n")[2])[4] == "0.650"


def test_every_published_row_is_in_a_table_of_its_data_set() -> None:
    found = results()
    shown = [
        row[0]
        for name in found.datasets()
        for grid in tables.dataset_tables(found, name)
        for row in grid.rows
    ]
    assert sorted(shown) == sorted(PUBLISHED.rows)


def test_unknown_names_are_errors_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cityscapes'"):
        tables.dataset_tables(results(), "cityscape")
    assert RUN.invoke(app, ["table", "--page", "9"]).exit_code != 0


# --- formats ------------------------------------------------------------------------------------------------

_text = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=12).map(
    str.strip
)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    width = draw(st.integers(2, 4))
    columns = tuple(f"c{i}" for i in range(width))
    line = st.tuples(*[_text.filter(lambda t: "\\" not in t and "](" not in t and "**" not in t)] * width)
    return Grid(
        title=draw(st.sampled_from(["T", "U & V"])),
        columns=columns,
        rows=tuple(draw(st.lists(line, max_size=4))),
    )


class Cells(HTMLParser):
    """The text of table cells."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag in ("td", "th"):
            self.found.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag in ("td", "th"):
            self.found[-1] += data


@settings(max_examples=60, deadline=None)
@given(grids())
def test_formats_lose_no_cell(grid: Grid) -> None:
    """csv, json, html and markdown give every cell back as it was (html and csv with entities resolved).

    csv without the apostrophe that keeps a formula from being computed.
    """
    (table,) = json.loads(FORMATS["json"]([grid]))
    assert [tuple(row.values()) for row in table["rows"]] == list(grid.rows)
    found = list(csv.reader(io.StringIO(FORMATS["csv"]([grid]))))
    cells = [[cell_text(cell) for cell in row[1:]] for row in found[1:]]
    assert cells == [[plain(cell) for cell in row] for row in grid.rows]
    parser = Cells()
    parser.feed(FORMATS["html"]([grid]))
    parser.close()
    body = [plain(cell).strip() for row in grid.rows for cell in row]
    assert [cell.strip() for cell in parser.found[len(grid.columns) :]] == body
    (shown,) = markdown_tables(FORMATS["md"]([grid]))
    assert [tuple(cell.replace("\\|", "|") for cell in line.cells) for line in shown.rows] == list(grid.rows)


def test_latex_escapes_and_html_refuses_scripts() -> None:
    grid = Grid(title="t", columns=("a_b",), rows=(("5 % & more ~ [x](javascript:alert(1)) <b>",),))
    assert r"5 \% \& more \textasciitilde{} x" in FORMATS["latex"]([grid])
    assert "javascript" not in FORMATS["html"]([grid])
    assert "<b>" not in FORMATS["html"]([grid])
    linked = Grid(title="", columns=("l",), rows=(("[m](https://x/y?a=1&b=2)",),))
    assert '<a href="https://x/y?a=1&amp;b=2">m</a>' in FORMATS["html"]([linked])


def test_trailing_zeros_survive() -> None:
    grid = Grid(title="", columns=("v",), rows=(("79.10",), ("80.00",)))
    assert all("79.10" in render([grid]) and "80.00" in render([grid]) for render in FORMATS.values())


# --- links of measured rows ---------------------------------------------------------------------------------

LOCK = """stages:
  train:
    outs:
    - path: curve.csv
      md5: 11
    - path: model.safetensors
      hash: md5
      md5: abcdef
"""


def test_download_cells_are_made(tmp_path: Path) -> None:
    project = a_project(tmp_path, a_record())
    folder = project.experiments / "camvid_x"
    (folder / "curve.csv").unlink()
    assert measured_links(project, "camvid_x", base="../") == {
        "config": "../experiments/camvid_x/params.yaml"
    }
    (folder / "dvc.lock").write_text(LOCK)
    (folder / "curve.csv").write_text("")
    assert measured_links(project, "camvid_x") == {
        "config": "experiments/camvid_x/params.yaml",
        "log": "experiments/camvid_x/curve.csv",
    }


def test_the_note_of_a_measured_experiment_is_below_its_number(tmp_path: Path) -> None:
    """Such as how it differs from the row; of one that is not measured it says nothing about a number."""
    project = a_project(tmp_path, a_record())
    for name in ("camvid_x", "camvid_y"):
        path = project.experiments / name / "params.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            (path.read_text() if path.is_file() else "dataset: camvid\n") + f"note: {name}'s own\n"
        )
    text = FORMATS["md"](tables.dataset_tables(load_results(project), "camvid"))
    assert "- camvid_x: camvid_x's own" in text
    assert "camvid_y's own" not in text


def test_weights_that_nobody_can_open_are_no_link(tmp_path: Path) -> None:
    """Git does not hold them: a link into the checkout is dead for every reader but one."""
    project = a_project(tmp_path, a_record())
    folder = project.experiments / "camvid_x"
    (folder / "dvc.lock").write_text(LOCK)
    (folder / "curve.csv").write_text("")
    text = FORMATS["md"](tables.measured_table(load_results(project)))
    assert "model.safetensors" not in text
    assert tables.WEIGHTS_NOTE in text


@pytest.mark.parametrize("url", ["s3://bucket/dvc", "https://host/dvc/"])
def test_the_model_link_is_the_remotes(tmp_path: Path, url: str) -> None:
    project = a_project(tmp_path, a_record())
    (project.experiments / "camvid_x" / "dvc.lock").write_text(LOCK)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(f"[core]\n    remote = r\n['remote \"r\"']\n    url = {url}\n")
    assert model_location(project, "camvid_x") == f"{url.rstrip('/')}/files/md5/ab/cdef"


# --- generated files ----------------------------------------------------------------------------------------


def test_regions_are_written_once_and_then_current(tmp_path: Path) -> None:
    project = a_project(tmp_path, a_record())
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- repro:table -->\nold\n<!-- /repro:table -->\nafter\n")
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "rows.md"
    page.write_text("<!-- repro:table page=004 values=published -->\n<!-- /repro:table -->\n")
    found = load_results(project)
    with pytest.raises(CheckFailed, match=r"README\.md"):
        generated_files.check(generated_files.generated_files(found), tmp_path)
    assert {readme, page, tmp_path / "reports" / "results.csv"} <= set(
        generated_files.write(generated_files.generated_files(found))
    )
    assert generated_files.write(generated_files.generated_files(load_results(project))) == []
    text = readme.read_text()
    assert text.startswith("before\n<!-- repro:table -->\n")
    assert text.endswith("<!-- /repro:table -->\nafter\n")
    assert "| 003-028 | camvid_x" in text
    assert "old" not in text
    assert "../experiments/" not in text
    assert "../../experiments/camvid_x/params.yaml" in (tmp_path / "reports/tables/camvid.md").read_text()
    add(project, a_record(metrics={"mIoU": 50.1}))
    with pytest.raises(CheckFailed, match=r"(?s)-.*50\.00.*\+.*50\.10"):
        generated_files.check(generated_files.generated_files(load_results(project)), tmp_path)


def test_short_tables_have_at_most_eight_columns_and_only_their_notes(tmp_path: Path) -> None:
    results = load_results(a_project(tmp_path, a_record()))
    (short,) = measured_table(results, columns=SHORT)
    (whole,) = measured_table(results)
    assert len(short.columns) <= 8 < len(whole.columns)
    assert set(short.columns) - {"verdict (tier)"} <= set(whole.columns)
    assert short.rows[0][short.columns.index("verdict (tier)")] == "reproduced (retrained, one run)"
    assert any("device:" in note for note in whole.notes)
    assert not any("device:" in note or "GMACs" in note for note in short.notes)
    assert any("protocol:" in note for note in short.notes)


def test_every_data_set_of_the_project_has_a_page() -> None:
    found = generated_files.generated_files(load_results(Project(ROOT)))
    pages = {path.stem: text for path, text in found.items() if path.parent == ROOT / "docs" / "datasets"}
    assert set(pages) == {*read_yaml(ROOT / "params.yaml")["datasets"], "README"}
    assert "| [ade20k_r50_os16](../../experiments/ade20k_r50_os16/params.yaml) " in pages["ade20k"]
    assert "| 164,190 " in pages["ade20k"]
    for title in ("## Download", "repro data link voc2012 PATH", "## Rows", "## Cost", "trainaug 10,582"):
        assert title in pages["voc2012"]


@pytest.mark.parametrize(
    "text",
    [
        "<!-- repro:table -->\nno end\n",
        "<!-- repro:tables -->\n<!-- /repro:tables -->\n",
        "<!-- repro:table page -->\n<!-- /repro:table -->",
    ],
)
def test_a_broken_region_is_an_error_and_not_a_silence(tmp_path: Path, text: str) -> None:
    project = a_project(tmp_path)
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(ParamsError, match=r"README\.md"):
        generated_files.generated_files(load_results(project))


def test_a_part_of_a_data_set_has_pages_too(tmp_path: Path) -> None:
    project = a_project(tmp_path, a_record())
    text, whole = project.params.read_text(), "{train: 367, val: 101, trainval: 468"
    assert whole in text
    project.params.write_text(text.replace(whole, "{train: 1, val: 1, trainval: 1"))
    (tmp_path / "docs" / "datasets").mkdir(parents=True)
    pages = generated_files.generated_files(load_results(project))
    (page,) = (text for path, text in pages.items() if path.as_posix().endswith("datasets/camvid.md"))
    assert "fewer images than a batch" in page


@pytest.mark.slow
def test_tables_need_neither_torch_nor_mlflow_nor_pandas() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from repro.cli.app import app;"
        "codes = [CliRunner().invoke(app, c.split(), catch_exceptions=False).exit_code"
        " for c in ('table', 'table --dataset camvid', 'table --page 0 --values both', 'list', 'check')];"
        "print(codes, sorted({'torch', 'mlflow', 'pandas', 'cv2'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *codes, verdict = json.loads(answer.stdout.partition("]")[0] + "]")
    assert codes == [0, 0, 0, 0]
    assert verdict in (0, 1, 2), "the gate came to its answer, whatever is recorded here"
    assert answer.stdout.strip().endswith("] []")


def test_a_gap_that_rounds_to_nothing_has_one_sign() -> None:
    assert difference(52.8895, 52.89) == difference(52.8905, 52.89) == "+0.00"
    assert difference(52.88, 52.89) == "-0.01"


# --- list and explain ---------------------------------------------------------------------------------------


def test_listing_filters() -> None:
    found = results(a_record(), a_record("ade20k_r50_os16", row="001-06", dataset="ade20k"))
    assert [line["experiment"] for line in listing(found, dataset="ade20k")] == ["ade20k_r50_os16"]
    assert [line["experiment"] for line in listing(found, page="003")] == ["camvid_x"]
    assert [line["experiment"] for line in listing(found, ["camvid_*"])] == ["camvid_x"]
    wanted = {
        "experiment": "ade20k_r50_os16",
        "dataset": "ade20k",
        "datasets": ["ade20k"],
        "rows": ["001-06"],
        "label": "ResNet50 (OS=16, PRE=ImageNet)",
        "recipe": "scratch",
        "backbone": "mobilenetv2",
        "output_stride": 16,
        "published": 43.21,
        "measured": 43.21,
        "gap": 0.0,
        "undefined": None,
        "verdict": "reproduced",
    }
    assert {key: listing(found)[0][key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        (["rows=003-028"], ["camvid_dense30k36_os16_321_x32_b45"]),
        (
            ["camvid_*", "output_stride=8", "published > 54", "backbone=dense*"],
            ["camvid_dense30k48_os8_321_newdid6_x320", "camvid_dense30k48_os8_321_newdid6_x480"],
        ),
        (["published<13", "published!=none", "rows=000-*"], []),
        (["label=*no such network*"], []),
    ],
)
def test_conditions_of_a_list(conditions: list[str], names: list[str]) -> None:
    found = listing(load_results(Project(ROOT)), conditions=conditions)
    assert [line["experiment"] for line in found] == names


def test_conditions_on_what_was_measured() -> None:
    found = results(a_record(), a_record("ade20k_r50_os16", row="001-06", dataset="ade20k"))
    for condition in ("measured>43.2", "gap=0", "verdict!=unmeasured", "verdict=repr*"):
        assert len(listing(found, conditions=[condition])) == 2
    assert [line["experiment"] for line in listing(found, conditions=["measured<44"])] == ["ade20k_r50_os16"]
    assert listing(found, conditions=["backbone=none", "gap>0"]) == []


@pytest.mark.parametrize("field", ["published", "measured", "gap"])
def test_none_is_a_condition_on_numbers_too(field: str) -> None:
    unknown = Declared(name="camvid_new", dataset="camvid")
    found = results(a_record(), declared=[unknown])
    assert [line["experiment"] for line in listing(found, conditions=[f"{field}=none"])] == ["camvid_new"]
    assert [line["experiment"] for line in listing(found, conditions=[f"{field}!=none"])] == ["camvid_x"]


@pytest.mark.parametrize(
    "text",
    [
        "colour=red",
        "published>much",
        "verdict>1",
        "published=much",
        "gap>0, rows=000*",
        "published>nan",
        "gap<=-inf",
    ],
)
def test_a_condition_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ReproError, match=r"colour|no number|several conditions"):
        listing(results(a_record()), conditions=[text])


def test_what_is_not_a_record_of_an_experiment_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = a_project(tmp_path, a_record(), a_record("camvid_y", row=None))
    project.record("camvid_y").write_text("{")
    project.record("zz").write_text("words")
    project.record("dir").mkdir()
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(app, ["list"])
    head, *lines = answer.stdout.splitlines()
    assert head.split() == ["experiment", "row", "published", "measured", "gap", "verdict", "tier"]
    assert [line.split()[0] for line in lines] == ["camvid_x", "camvid_y"]
    assert lines[1].endswith("damaged record")
    *told, damaged, where, counts = answer.stderr.splitlines()
    assert damaged.startswith("left out camvid_y: not JSON")
    assert where.endswith("reports/rows/camvid_y.json")
    assert counts == "2 experiments, 1 measured"
    assert [line.partition(": ")[2].split()[0] for line in told] == [
        "reports/rows/dir.json",
        "reports/rows/zz.json",
    ]


def test_explain_names_every_origin() -> None:
    record = replace(a_record(), content_hash="f" * 64)
    facts = explanation(record, "mIoU", Path("reports/rows/camvid_x.json"))
    assert facts["number"] == "mIoU = 50.0"
    text = "\n".join(facts.values())
    for origin in (
        "c" * 40,
        "uncommitted",
        "ab" * 32,
        "cd" * 32,
        "0123456789ab",
        "f" * 16,
        record.run_key,
        "Test CPU",
    ):
        assert origin in text
    assert explanation(record, "IoU/road", Path("x"))["number"] == "IoU/road = 90.0"
    assert explanation(record, "params_M", Path("x"))["number"] == "params_M = 2.99"
    with pytest.raises(UnknownNameError, match="did you mean 'mIoU'"):
        explanation(record, "mIou", Path("x"))


def test_explain_before_anything_is_measured() -> None:
    row = PUBLISHED.rows["001-06"]
    facts = unmeasured("ade20k_r50_os16", [row], "mIoU")
    assert facts["published"] == f"43.21 (row 001-06, line {row.line} of page 001)"
    assert facts["to measure"] == "dvc repro experiments/ade20k_r50_os16"
    assert "43.21" in facts["as printed"]
    assert "published" not in unmeasured("camvid_mobilenetv2_os16", [], "mIoU")
    assert unmeasured("x", [replace(row, metrics={}, cost={})], "mIoU")["published"].startswith(
        "no number (row"
    )
    with pytest.raises(UnknownNameError, match="did you mean 'mIoU'"):
        unmeasured("ade20k_r50_os16", [row], "mIou")
    with pytest.raises(UnknownNameError, match="unknown metric 'speed'"):
        unmeasured("camvid_mobilenetv2_os16", [], "speed")


def test_explain_shows_every_row_and_a_row_without_the_number() -> None:
    only_size, other = PUBLISHED.rows["003-018"], PUBLISHED.rows["003-017"]
    assert unmeasured("x", [only_size], "mIoU")["published"].startswith("no number (row 003-018")
    both = unmeasured("x", [only_size, other], "mIoU")
    assert both["as printed 003-018"] == " | ".join(only_size.cells)
    assert both["as printed 003-017"] == " | ".join(other.cells)
    assert "row 003-017, line" in both["published 003-017"]


def test_explain_says_of_a_cost_only_what_is_true_of_it() -> None:
    trained = {"device": {"gpu": "Test GPU"}}
    cost = a_record().cost | {"train_memory_MiB": 9000.0}
    record = a_record(cost=cost, provenance={**a_record().provenance, "training": trained})
    shown = {
        metric: explanation(record, metric, Path("x"))
        for metric in ("mIoU", "train_memory_MiB", "latency_ms_p50", "params_M")
    }
    assert [metric for metric, facts in shown.items() if "measured on" in facts] == ["mIoU"]
    assert shown["train_memory_MiB"]["device"] == "Test GPU"
    assert not {"data", "protocol", "weights"} & shown["train_memory_MiB"].keys()
    assert "fp32, batch 1" in shown["latency_ms_p50"]["device"]
    assert "device" not in shown["params_M"]


def test_explain_and_show_call_a_wrong_name_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    said = [CliRunner().invoke(app, [command, "nope"]).exception for command in ("explain", "show")]
    assert all(isinstance(error, UnknownNameError) for error in said)
    assert str(said[0]) == str(said[1])


def test_explain_names_a_row_that_no_page_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = a_project(tmp_path)
    (project.experiments / "x").mkdir()
    (project.experiments / "x" / "params.yaml").write_text("dataset: camvid\nrows: [003-999]\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match="unknown published row '003-999'") as caught:
        explain("x")
    assert str(caught.value.where).endswith("experiments/x/params.yaml")


# --- MLflow -------------------------------------------------------------------------------------------------


def run(i: int, **values: Any) -> StoredRun:
    return StoredRun(id=f"r{i}", name=f"n{i}", experiment="camvid", status="FINISHED", started=i, **values)


def test_runs_of_other_people_become_a_table() -> None:
    grid = runs_table(
        [
            run(1, metrics={"mIoU": 50.25}, params={"lr": "0.1"}),
            run(2, metrics={"loss": math.nan}, tags={"mlflow.user": "x", "t": "1"}),
        ]
    )
    assert grid.columns == (
        "run_id",
        "name",
        "experiment",
        "status",
        "metrics.loss",
        "metrics.mIoU",
        "params.lr",
        "tags.t",
    )
    assert grid.rows[0][4:] == ("", "50.25", "0.1", "")
    narrow = runs_table([run(1, metrics={"mIoU": 50.25, "aAcc": 1.0})], columns="metrics.m*")
    assert narrow.columns[4:] == ("metrics.mIoU",)
    assert runs_table([run(1)], dataset="voc2012").rows == ()
    assert runs_table([run(1)], dataset="voc2012", columns="metrics.mIoU").rows == ()
    with pytest.raises(UnknownNameError, match=r"did you mean 'metrics\.mIoU'"):
        runs_table([run(1, metrics={"mIoU": 50.25})], columns="name,metrics.mIuO")


@pytest.mark.parametrize("option", [("--columns", "metrics.mIoU"), ("--uri", "sqlite:///x.db")])
def test_options_of_a_store_need_a_store(option: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    error = RUN.invoke(app, ["table", *option]).exception
    assert isinstance(error, ParamsError)
    assert f"{option[0]} without --from mlflow" in str(error)


@pytest.mark.mlflow
@pytest.mark.slow
def test_a_store_reads_as_mlflow_reads_it(tmp_path: Path) -> None:
    """Equal to search_runs and pandas, on runs with missing values, NaN, and a deleted one."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    code = f"""
import math, mlflow
from mlflow.entities import Metric, Param, RunTag
mlflow.set_tracking_uri({uri!r})
client = mlflow.MlflowClient()
experiment = client.create_experiment("camvid", artifact_location={str(tmp_path)!r})
for i in range(6):
    run = client.create_run(experiment, run_name=f"n{{i}}")
    points = [("mIoU", 50 + i / 3, 0), ("mIoU", 50 + i / 7, 1), ("odd/1", 1e-9, 0)]
    metrics = [Metric(name, value, 0, step) for name, value, step in points]
    params = [Param("lr", str(i))] if i % 3 else []
    client.log_batch(run.info.run_id, metrics[: 2 + i % 2], params, [RunTag("page", "003")])
    client.set_terminated(run.info.run_id, "FAILED" if i == 4 else "FINISHED")
client.delete_run(run.info.run_id)
frame = mlflow.search_runs(experiment_names=["camvid"])
frame = frame.drop(columns=[c for c in frame if c.startswith("tags.mlflow.")])
print(frame.to_json(orient="records", double_precision=15))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    peer = {entry["run_id"]: entry for entry in json.loads(done.stdout.splitlines()[-1])}
    project = a_project(tmp_path)
    grid = runs_table(read_runs(project, uri))
    assert {row[0] for row in grid.rows} == set(peer)
    assert set(grid.columns[4:]) == {
        c for c in next(iter(peer.values())) if re.match(r"(metrics|params|tags)\.", c)
    }
    for row in grid.rows:
        for column, cell in list(zip(grid.columns, row, strict=True))[3:]:
            theirs = peer[row[0]][column]
            same = (
                cell == (theirs or "")
                if not isinstance(theirs, float)
                else math.isclose(float(cell), theirs, rel_tol=1e-9)
            )
            assert same, (column, cell, theirs)


def test_a_table_names_the_engine_of_its_numbers() -> None:
    old, new = ({"engine": {"data": 1, "training": 1, "evaluation": version}} for version in (1, 2))
    first, second = a_record(params=old), a_record("camvid_own", row=None, params=new)
    one, other = tables.engine_text(first), tables.engine_text(second)
    assert tables.engine_notes({"camvid_x": one, "b": one, "unmeasured": ""}) == [f"engine: {one}"]
    assert tables.engine_notes({"camvid_x": one, "camvid_own": other}) == [
        "engine of camvid_x: data 1, training 1, evaluation 1",
        "engine of camvid_own: data 1, training 1, evaluation 2",
    ]
    assert any(
        note.startswith("engine: data ") for note in tables.measured_table(results(a_record()))[0].notes
    )
