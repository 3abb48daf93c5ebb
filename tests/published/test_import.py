"""Import of results pages: every cell of a known column is right, empty, or reported; none is guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.errors import DataError, ParamsError
from repro.published.cell import Number, Unread, read_number
from repro.published.columns import ColumnMap, read_columns, read_map
from repro.published.datasets import dataset_named
from repro.published.import_page import Imported, import_page
from repro.published.import_yaml import yaml_as_markdown
from repro.published.markdown import tables
from repro.published.page import page_from_json, page_json

NUMBERS = {
    "75.1": 75.1,
    "**75.1**": 75.1,
    "_75.1_": 75.1,
    "`75.1`": 75.1,
    "$75.1$": 75.1,
    "<b>75.1</b>": 75.1,
    "75.1%": 75.1,
    "75.1 %": 75.1,
    "75.1&nbsp;%": 75.1,
    "75.1<sup>†</sup>": 75.1,
    "75.1[^2]": 75.1,
    "75.1*": 75.1,
    "[75.1](a.pth)": 75.1,
    "[75.1][1]": 75.1,
    "75.1 (+0.3)": 75.1,
    "75.1 (val)": 75.1,
    "75.1 ± 0.3": 75.1,
    "75.1±0.3%": 75.1,
    "~75.1": 75.1,
    ":star: 75.1": 75.1,
    "75,1": 75.1,
    "0,751": 0.751,
    "2,990": 2990.0,
    "1,234,567.5": 1234567.5,
    "5e-2": 0.05,
    "1.2MB": 1.2,
}
UNREAD = [
    "(val: 62.5) 49",
    "80.1/85.2",
    "80.1 - 85.2",
    "80.1–85.2",
    "80.1 to 85.2",
    "16 <br> 8",
    "1.2.3",
    "1,23,4",
    "abc",
    "7 8",
    "1×",
    "12h 3m",
]
EMPTY = ["", "-", "--", "—", "N/A", "TBD", "**-**", "[-](a.pth)", "---"]


def test_a_number_is_read_from_its_markup() -> None:
    read = {cell: read_number(cell) for cell in NUMBERS}
    assert {cell: one.value for cell, one in read.items() if isinstance(one, Number)} == {
        cell: pytest.approx(value, rel=1e-12) for cell, value in NUMBERS.items() if cell != "0,751"
    } | {"0,751": 0.751}


def test_what_can_be_read_in_two_ways_is_unread() -> None:
    assert [cell for cell in UNREAD if not isinstance(read_number(cell), Unread)] == []
    assert [cell for cell in EMPTY if read_number(cell) is not None] == []


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_number_or_a_reason(text: str) -> None:
    found = read_number(text)
    assert found is None or isinstance(found, Number | Unread)


@pytest.mark.parametrize("piece", ["[", "](", "<a", "**", "1,", "9", "±", "$", "(", "&nbsp;", ":x", "1/"])
def test_long_cells_take_linear_time(piece: str) -> None:
    read_number(piece * 50_000)


def page(text: str, **given: Any) -> Imported:
    return import_page(text, source="x", **given)


def metrics(text: str) -> list[dict[str, float]]:
    return [row["metrics"] for row in page(text).raw["rows"].values()]


def table(*titles: str, rows: list[list[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def test_headings_name_protocols_splits_units_and_data_sets() -> None:
    titles = {
        "mIoU (ms+flip)": ("mIoU_ms_flip", "", "", ""),
        "mIoU (flip)": ("mIoU_flip", "", "", ""),
        "mIoU(Val)": ("mIoU", "", "val", ""),
        "Cityscapes mIoU(%)": ("mIoU", "%", "", "cityscapes"),
        "Previous best": ("text", "", "", ""),
        "aAcc": ("aAcc", "", "", ""),
        "mDice": ("mDice", "", "", ""),
        "Boundary IoU": ("boundary_IoU", "", "", ""),
        "Runtime (sec)": ("time_ms", "sec", "", ""),
        "Params(K)": ("params_M", "k", "", ""),
        "Mem (MB)": ("mem_GB", "mb", "", ""),
        "IoU of class road": ("text", "", "", ""),
    }
    columns = read_columns(["Model", *titles], ColumnMap())[1:]
    assert {one.title: (one.field, one.unit, one.split, one.dataset) for one in columns} == titles


def test_units_of_headings_and_cells_are_honoured() -> None:
    titles = ("Model", "mIoU", "Params(K)", "FLOPs(M)", "Mem (MB)", "Latency (s)", "File size")
    rows = [
        ["a", "0.751", "2990", "450.5", "8000", "0.05", "23MB"],
        ["b", "0.5", "2,990", "1.2G", "8GB", "5e-2", "1.5GB"],
    ]
    first, second = page(table(*titles, rows=rows)).raw["rows"].values()
    assert first["metrics"] == {"mIoU": 75.1}
    assert first["cost"] == {
        "params_M": 2.99,
        "gmacs": 0.4505,
        "mem_GB": 8.0,
        "time_ms": 50.0,
        "size_MB": 23.0,
    }
    assert second["cost"] == {
        "params_M": 2.99,
        "gmacs": 1.2,
        "mem_GB": 8.0,
        "time_ms": 50.0,
        "size_MB": 1500.0,
    }


def test_what_is_not_understood_is_reported_with_row_and_column() -> None:
    text = table(
        "Model", "mIoU", "Time", rows=[["a", "80.1/85.2", "12"], ["b", "190.1", "-"], ["c", "-", "-"]]
    )
    found = page(text)
    assert [str(problem) for problem in found.problems] == [
        "line 3, column 'mIoU': several values: '80.1/85.2'",
        "line 3, column 'Time': no unit in the title or the cell: '12'",
        "line 4, column 'mIoU': a percentage is between 0 and 100: '190.1'",
    ]
    assert [row.get("flags") for row in found.raw["rows"].values()] == [["note"], ["note"], ["not_reported"]]


def test_columns_of_yes_and_no_are_the_protocol() -> None:
    rows = [
        ["a", "No", "No", "80"],
        ["b", "Yes", "Yes", "82.3"],
        ["c", "No", "Yes", "81"],
        ["d", "Yes", "no", "81.5"],
    ]
    assert metrics(table("Model", "Multi-scale", "Flip", "mIoU", rows=rows)) == [
        {"mIoU": 80.0},
        {"mIoU_ms_flip": 82.3},
        {"mIoU_flip": 81.0},
        {"mIoU_ms": 81.5},
    ]


def test_spread_split_and_approximation_are_kept() -> None:
    rows = page(table("Model", "mIoU", rows=[["a", "75.1 ± 0.3 (test)"], ["b", "~80"]])).raw["rows"].values()
    first, second = rows
    assert (first["metrics"], first["extra"], first["eval_set"]) == (
        {"mIoU": 75.1},
        {"mIoU_spread": 0.3},
        "test",
    )
    assert (second["metrics"], second["flags"]) == ({"mIoU": 80.0}, ["approximate"])


def test_two_columns_of_one_field_need_a_map() -> None:
    text = table("Model", "mIoU(Val)", "mIoU(Test)", rows=[["a", "70", "60"]])
    with pytest.raises(DataError, match="several columns fill one field: mIoU") as error:
        page(text)
    assert '"mIoU(Test)": ignore' in str(error.value)
    given = read_map({"columns": {"mIoU(Val)": "ignore", "mIoU (Test)": "mIoU"}}, "map.yaml")
    (row,) = page(text, column_map=given).raw["rows"].values()
    assert row["metrics"] == {"mIoU": 60.0}


@pytest.mark.parametrize(
    "raw",
    [
        [],
        {"rows": 1},
        {"columns": {"a": "speed"}},
        {"columns": []},
        {"dataset": {"colour": 1}},
        {"dataset": {"heading": "x"}},
    ],
)
def test_a_wrong_map_is_an_error(raw: Any) -> None:
    with pytest.raises(ParamsError):
        read_map(raw, "map.yaml")


def test_the_data_set_comes_from_column_title_caption_or_heading() -> None:
    rows = table("Dataset", "Model", "mIoU", rows=[["iSAID", "a", "1"], ["Potsdam", "b", "2"]])
    captioned = "## Models\n\nPerformance on the LIP dataset.\n" + table("Model", "mIoU", rows=[["a", "1"]])
    titled = "## Models\n\n" + table("Model", "ADE20K mIoU(%)", rows=[["a", "1"]])
    found = [row["dataset"] for text in (rows, captioned, titled) for row in page(text).raw["rows"].values()]
    assert found == ["isaid", "potsdam", "lip", "ade20k"]
    given = read_map({"dataset": {"heading": 1}}, "map.yaml")
    under = "# My roads\n## Results\n\n" + table("Model", "mIoU", rows=[["a", "1"]])
    assert [row["dataset"] for row in page(under, column_map=given).raw["rows"].values()] == ["my_roads"]
    assert dataset_named("Cityscapes and CamVid") == ""


TABLE = "| Model | mIoU |\n|---|---|\n| a | 5 |"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (TABLE, 1),
        ("\ufeff" + TABLE, 1),
        ("\n".join("> " + line for line in TABLE.splitlines()), 1),
        ("- \n" + "\n".join("  " + line for line in TABLE.splitlines()), 1),
        ("text\n" + TABLE, 1),
        (f"```\n{TABLE}\n```", 0),
        (f"~~~\n{TABLE}\n~~~", 0),
        (f"<!--\n{TABLE}\n-->", 0),
        ("\n" + "\n".join("    " + line for line in TABLE.splitlines()), 0),
    ],
)
def test_tables_in_quotes_and_lists_count_those_in_code_and_comments_do_not(text: str, count: int) -> None:
    found = list(tables(text))
    assert [len(one.rows) for one in found] == [1] * count
    if count:
        assert metrics(text) == [{"mIoU": 5.0}]


HTML = """<table><tbody>
<!-- HEAD -->
<tr><th rowspan=2>Model</th><th colspan="2">mIoU</th><th rowspan="2">Size</th></tr>
<tr><th>ss</th><th>ms+flip</th></tr>
<!-- BODY {1} -->
 <tr><td><a href="a.yaml">r{50}</a></td>
<td align="center">78.9</td>
<td>79,5</td><td>23&nbsp;MB</td>
</tr>
<tr><td>r101<td><b>80.1</b><td>-<td>1.2GB
</tbody></table>
"""


def test_html_tables_are_read_and_printed_byte_for_byte() -> None:
    found = page("## VOC\n\n" + HTML)
    rows = list(found.raw["rows"].values())
    assert [row["metrics"] for row in rows] == [{"mIoU": 78.9, "mIoU_ms_flip": 79.5}, {"mIoU": 80.1}]
    assert [row["cost"] for row in rows] == [{"size_MB": 23.0}, {"size_MB": 1200.0}]
    assert [row["line"] for row in rows] == [8, 12]
    typed = page_from_json(json.loads(page_json(found.raw)))
    assert typed.markdown(typed.tables[0]) == HTML.rstrip("\n")


@given(
    names=st.lists(st.text("abc{}|\\ ", max_size=6), min_size=1, max_size=4),
    values=st.lists(st.sampled_from([*NUMBERS, *UNREAD, *EMPTY]), min_size=1, max_size=4),
)
@settings(max_examples=100, deadline=None)
def test_any_page_prints_again_byte_for_byte(names: list[str], values: list[str]) -> None:
    rows = [
        [name.replace("|", "\\|").replace("\\", ""), value]
        for name, value in zip(names, values, strict=False)
    ]
    text = table("Model", "mIoU", rows=rows)
    typed = page_from_json(json.loads(page_json(page(text).raw)))
    assert [typed.markdown(one) for one in typed.tables] == [text.rstrip("\n")]


METAFILE = """Models:
- Name: a
  Results: {Dataset: ADE20K, Metrics: {mIoU: 41.5, mIoU(ms+flip): 42.6}}
  Metadata: {Memory (GB): 8.5}
  Config: configs/a.py
  Weights: http://x.y/a.pth
- Name: b|c
  Results:
  - {Dataset: Cityscapes, Metrics: {mIoU: 70}}
  - {Dataset: LoveDA, Metrics: {mIoU: 50}}
"""
CARD = """model-index:
- name: unet
  results:
  - task: {type: image-segmentation}
    dataset: {name: CamVid, type: camvid}
    metrics: [{type: mean_iou, name: Mean IoU, value: 0.655}]
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            METAFILE,
            [
                ("ade20k", {"mIoU": 41.5, "mIoU_ms_flip": 42.6}),
                ("cityscapes", {"mIoU": 70.0}),
                ("loveda", {"mIoU": 50.0}),
            ],
        ),
        (CARD, [("camvid", {"mIoU": 65.5})]),
    ],
)
def test_metadata_in_yaml_are_rows(
    tmp_path: Path, text: str, expected: list[tuple[str, dict[str, float]]]
) -> None:
    (tmp_path / "page.yaml").write_text(text, encoding="utf-8")
    rows = page(yaml_as_markdown(tmp_path / "page.yaml")).raw["rows"].values()
    assert [(row["dataset"], row["metrics"]) for row in rows] == expected


@pytest.mark.parametrize(
    "text", ["a: 1\n", "Models: 3\n", "Models: [{}]\n", "model-index: [{name: a, results: 5}]\n"]
)
def test_other_yaml_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "page.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError):
        yaml_as_markdown(tmp_path / "page.yaml")
