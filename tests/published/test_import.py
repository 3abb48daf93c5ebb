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
from repro.published.import_yaml import with_model_index, yaml_as_markdown
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


SPANS = """<table>
  <tr><th>Model</th><th>MultiScale Testing</th><th>Mean IoU</th><th>Pixel Accuracy</th><th>FPS</th></tr>
  <tr><td rowspan="3">a {x}</td><td>No</td><td>41.5</td><td rowspan=2>80.5</td><td>8.25</td></tr>
  <tr><td>Yes</td><td>42.5</td><td rowspan="2">-</td></tr>
  <tr><td colspan="2">not trained</td><td>81.5</td></tr>
  <tr><td>b</td><td>No</td><td>43.5</td><td>82.5</td><td>7.5</td></tr>
</table>
"""


def test_a_cell_that_spans_rows_counts_in_each_and_shifts_none() -> None:
    found = page("## VOC\n\n" + SPANS)
    rows = list(found.raw["rows"].values())
    assert [row["cells"][0] for row in rows] == ["a {x}", "a {x}", "a {x}", "b"]
    assert [row["metrics"] for row in rows] == [
        {"mIoU": 41.5, "aAcc": 80.5},
        {"mIoU_ms": 42.5, "aAcc": 80.5},
        {"aAcc": 81.5},
        {"mIoU": 43.5, "aAcc": 82.5},
    ]
    assert [row.get("cost") for row in rows] == [{"fps": 8.25}, None, None, {"fps": 7.5}]
    assert [one.text for one in found.problems] == ["not trained"]
    typed = page_from_json(json.loads(page_json(found.raw)))
    assert typed.markdown(typed.tables[0]) == SPANS.rstrip("\n")


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=4), min_size=2, max_size=5)
)
@settings(max_examples=100, deadline=None)
def test_any_spans_print_again_byte_for_byte(rows: list[list[tuple[int, int]]]) -> None:
    text = "<table>\n"
    for row in [[(1, 1)], *rows, [(1, 1)]]:
        cells = "".join(f"<td rowspan={down} colspan={across}>7.5</td>" for down, across in row)
        text += f"<tr>{cells}</tr>\n"
    typed = page_from_json(json.loads(page_json(page(text + "</table>\n").raw)))
    assert [typed.markdown(one) for one in typed.tables] == [text + "</table>"]


def test_two_protocols_in_one_heading_are_two_numbers() -> None:
    cells = [
        "47.9 / 48.1",
        "41.1/**42.2**",
        "[84.9](a.pth) / [85.8](b.pth)",
        "- / 85.2",
        "59.4 / -",
        "-",
        "n/a",
    ]
    read = [
        *({"mIoU": 47.9, "mIoU_ms": 48.1}, {"mIoU": 41.1, "mIoU_ms": 42.2}),
        *({"mIoU": 84.9, "mIoU_ms": 85.8}, {"mIoU_ms": 85.2}, {"mIoU": 59.4}, {}, {}),
    ]
    text = table("Model", "mIoU (ss/ms)", rows=[["a", one] for one in cells])
    assert metrics(text) == read
    typed = page_from_json(json.loads(page_json(page(text).raw)))
    assert typed.markdown(typed.tables[0]) == text.rstrip("\n")
    assert metrics(table("Model", "mIoU (SS/MS+flip)", rows=[["a", "0.479/0.481"]])) == [
        {"mIoU": 47.9, "mIoU_ms_flip": 48.1}
    ]


def test_one_or_three_numbers_under_two_protocols_are_reported() -> None:
    found = page(table("Model", "mIoU (ss/ms)", rows=[["a", "47.9"], ["b", "1 / 2 / 3"], ["c", "147.9 / 4"]]))
    assert [one.reason for one in found.problems] == [
        "one value under a heading of two",
        "several values",
        "a percentage is between 0 and 100",
    ]
    with pytest.raises(DataError, match="mIoU_ms"):
        page(table("Model", "mIoU (ss/ms)", "mIoU (ms)", rows=[["a", "1 / 2", "3"]]))


def test_headings_that_look_like_another_column() -> None:
    titles = {
        "train time": "text",
        "Training speed (s/iter)": "text",
        "mIoU (5 scales + flip)": "mIoU_ms_flip",
        "fp32 pixAcc": "aAcc",
        "Val mAcc": "mAcc",
        "Val Dice": "mDice",
        "Mean IU": "mIoU",
        "Dice loss": "text",
        "Left-right Flip": "flip",
        "AP (No TTA / H-Flip TTA)": "text",
        "RandFlipImage": "text",
        "数据集": "dataset",
    }
    columns = read_columns(["Model", *titles], ColumnMap())[1:]
    assert {one.title: one.field for one in columns} == titles


def test_sizes_in_words_footnotes_with_a_backslash_and_images_per_second() -> None:
    titles = ("Model", "size", "mIoU", "Mem (GB)", "Orin: Jetson Orin Latency (ms)", "A100 Throughput")
    (row,) = (
        page(table(*titles, rows=[["a", "s0", "34.5\\*", "26.1\\*", "7.5", "122 image/s"]]))
        .raw["rows"]
        .values()
    )
    assert row["metrics"] == {"mIoU": 34.5}
    assert row["cost"] == {"mem_GB": 26.1, "time_ms": 7.5, "fps": 122.0}
    assert row["device"] == "Jetson Orin, A100"


def test_numbers_of_an_unknown_metric_are_reported_below_a_row_of_names() -> None:
    found = page(table("Task", "Result", rows=[["x", "ADE20K"], ["y", "62.9"]]))
    assert [one.column for one in found.problems] == ["Result"]


def test_the_data_set_comes_from_a_fold_out_block_or_the_first_title() -> None:
    rows = table("Model", "mIoU", rows=[["a", "1"]])
    folded = "<details>\n<summary> Data: <b>ADE20K</b> </summary>\n\n{0}\n</details>\n\n{0}\n"
    inside = (
        "<details><summary>LoveDA</summary><table><tr><th>Model<th>mIoU<tr><td>a<td>2</table></details>\n\n"
    )
    text = "# Zoo of Potsdam\n\n" + folded.format(rows) + inside + rows.replace("Model", "Model (CamVid)")
    assert [row["dataset"] for row in page(text).raw["rows"].values()] == [
        *("ade20k", "potsdam", "loveda", "camvid")
    ]
    assert [dataset_named(text) for text in ("Cityscapes数据集", "COCO", "Cityscapes, COCO-pretrained")] == [
        *("cityscapes", "coco", "cityscapes")
    ]


def test_the_front_matter_of_a_model_card_is_a_table_at_the_end() -> None:
    body = "# unet\n\n" + table("Model", "mIoU", rows=[["a", "1"]])
    card = f"---\nlicense: mit\n{CARD}---\n{body}"
    rows = page(with_model_index(card, "README.md")).raw["rows"].values()
    assert [(row["dataset"], row["metrics"]) for row in rows] == [
        *(("unet", {"mIoU": 1.0}), ("camvid", {"mIoU": 65.5}))
    ]
    assert with_model_index(body, "README.md") == body
    assert with_model_index(f"---\nlicense: mit\n---\n{body}", "README.md").endswith(body)
    with pytest.raises(DataError, match="README"):
        with_model_index("---\nmodel-index: [{name: a, results: 5}]\n---\n", "README.md")


def test_a_model_tested_on_another_data_set_is_a_result_on_that_one() -> None:
    titles = ("Method", "Training Dataset", "Test Dataset", "PA", "MPA")
    text = "Models trained on Cityscapes.\n\n" + table(
        *titles,
        rows=[["a", "Cityscapes training set", "Dark Zurich", "70.5", "60.5"], ["a", "-", "val", "1", "2"]],
    )
    rows = page(text).raw["rows"].values()
    assert [(row["dataset"], row["metrics"]) for row in rows] == [
        ("dark_zurich", {"aAcc": 70.5, "mAcc": 60.5}),
        ("cityscapes", {"aAcc": 1.0, "mAcc": 2.0}),
    ]


def test_fractions_have_decimals_and_no_percent_in_the_heading() -> None:
    for title, cells, read in (
        ("mIoU", ["0.75", "1"], [75.0, 100.0]),
        ("mIoU", ["1"], [1.0]),
        ("mIoU (%)", ["0.75"], [0.75]),
        ("mIoU", ["0.75%", "0.5"], [0.75, 0.5]),
    ):
        assert metrics(table("Model", title, rows=[["a", cell] for cell in cells])) == [
            {"mIoU": x} for x in read
        ]


def test_counts_without_a_unit_are_no_millions() -> None:
    titles = ("Model", "Set", "mIoU", "Params", "FLOPs/2")
    rows = [["a", "val", "81.4", "65,708,501", "230,586.69M"], ["b", "val", "1.2", "44.6", "2,990,000,000"]]
    first, second = page("1. **ADE20K**:\n\n" + table(*titles, rows=rows)).raw["rows"].values()
    assert [first["cost"], second["cost"]] == [
        {"params_M": 65.708501, "gmacs": 230.58669},
        {"params_M": 44.6, "gmacs": 2.99},
    ]
    assert (first["dataset"], first["eval_set"]) == ("ade20k", "val")
