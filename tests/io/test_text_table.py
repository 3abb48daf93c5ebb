"""Text tables: markdown, columns for pipes, lists of facts; and no other writer of tables."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from repro.io.text_table import RIGHT, facts, markdown, plain

PACKAGE = Path(__file__).parents[2] / "repro"
# Published pages are printed byte for byte: their own layouts stay.
VERBATIM = {"published/markdown.py", "published/import_yaml.py", "reports/page_tables.py"}


def test_markdown_is_padded_and_keeps_every_digit() -> None:
    assert markdown(["row", "mIoU"], [["001-06", "79.10"], ["x", ""]]).splitlines() == [
        "| row    | mIoU  |",
        "| ------ | ----- |",
        "| 001-06 | 79.10 |",
        "| x      |       |",
    ]


def test_a_narrow_column_has_a_rule_of_three() -> None:
    assert markdown(["a"], [["1"]]).splitlines() == ["| a   |", "| --- |", "| 1   |"]
    assert markdown(["a", "b"], []).splitlines() == ["| a   | b   |", "| --- | --- |"]


def test_numbers_are_on_the_right_where_asked() -> None:
    table = markdown(["class", "images"], [["road", "12"], ["sky", "4"]], align=["left", RIGHT])
    assert table.splitlines()[1:3] == ["| ----- | -----: |", "| road  |     12 |"]


@pytest.mark.parametrize(
    "cell", ["1e5", "nan", "007", "1_000", "inf", " 79.10", "True", "\001", "None", "0x1f"]
)
def test_no_cell_is_taken_for_something_else(cell: str) -> None:
    table = markdown(["first", "second"], [[cell, "x"], ["y", cell]])
    assert len(table.splitlines()) == 4
    shown = cell.replace("\001", "\ufffd")
    assert shown in table.splitlines()[2]
    assert shown in table.splitlines()[3]
    assert shown in plain(["first"], [[cell]])
    assert shown in facts({"fact": cell})


def test_a_cell_stays_in_its_line_and_its_column() -> None:
    table = markdown(["a", "b"], [["x|y\nz", "\x1b[31mred"], [r"kept\|once", "2"]])
    assert len(table.splitlines()) == 4
    assert r"x\|y z" in table
    assert "\x1b" not in table
    assert r"\\|" not in table


def test_columns_for_a_pipe_have_heads() -> None:
    text = plain(["experiment", "mIoU"], [["camvid_x", "50.00"], ["b", "7.10"]], align=["left", RIGHT])
    assert text.splitlines() == ["experiment   mIoU", "camvid_x    50.00", "b            7.10"]


def test_facts_are_lined_up() -> None:
    assert (
        facts({"number": 1.5, "measured on": "camvid\ntest"})
        == "number       1.5\nmeasured on  camvid test\n"
    )
    assert facts({"a": 1, "bb": 2}, indent="  ") == "  a   1\n  bb  2\n"
    assert facts({}) == ""


def test_no_module_lays_out_its_own_table() -> None:
    """Only repro/io/text_table.py writes markdown rows; docstrings may contain one."""
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        texts = (n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant))
        short = (text for text in texts if isinstance(text, str) and text.count("\n") < 3)
        if any(map(re.compile(r"\|\s*-{3,}|-{3,}:?\s*\||^ \| $").search, short)):
            wrong.append(name)
    assert set(wrong) <= VERBATIM | {"io/text_table.py", "reports/explain.py"}
