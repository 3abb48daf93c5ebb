"""The five pages: complete, typed, and printed again byte for byte."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repro.errors import ParamsError, UnknownNameError
from repro.published.markdown import cells, common_layout, fill, layout, links, tables
from repro.published.page import page_markdown, read_page
from repro.published.sources import direct_url, hash_in_name
from tests.kit import PUBLISHED

NUMBER = re.compile(r"\d+(?:\.\d+)?")
# sha256 of the table lines of each original page, tables joined by a blank line.
PUBLISHED_TEXT = {
    "000": ("0e9415c20f1e50faa11244696e4fd8cc7291478af09bbca4715fda34bacd0cb9", 2, 5),
    "001": ("ad27b9cd6c6620a1cb7cbc765698aa40607203e615c0a547be1482bf6d820c8c", 3, 12),
    "002": ("3a1297e7b08c15d2c8bed9622d4064751e5d7eb77cb0f54afeb16c35d8e8f836", 5, 16),
    "003": ("9b071ff3f9e1d36775cb7aac0b9dd742910d901e044c01852482acbef6e38acf", 9, 103),
    "004": ("7b837e8dca714608ac624a0a46bfb6f6807850b5130018e39a28aa13ada517f3", 6, 14),
}


@pytest.mark.parametrize("page_id", PUBLISHED_TEXT)
def test_every_table_is_printed_byte_for_byte(page_id: str) -> None:
    page = PUBLISHED.page(page_id)
    digest, n_tables, n_rows = PUBLISHED_TEXT[page_id]
    text = "\n\n".join(page.markdown(table) for table in page.tables)
    assert (len(page.tables), len(page.rows)) == (n_tables, n_rows)
    assert hashlib.sha256(text.encode()).hexdigest() == digest


def test_the_page_beside_the_rows_has_the_same_tables() -> None:
    for page in PUBLISHED.pages.values():
        assert PUBLISHED.path(page.id).with_suffix(".md").read_text() == page_markdown(page)


def test_lines_are_where_the_page_has_them() -> None:
    for page in PUBLISHED.pages.values():
        for table in page.tables:
            numbers = [page.rows[part].line if part in page.rows else None for part in table.body]
            expected = range(table.line + 2, table.line + 2 + len(table.body))
            assert all(found in (None, number) for found, number in zip(numbers, expected, strict=True))


def test_all_rows_are_in_one_table_each() -> None:
    placed = Counter(
        part
        for page in PUBLISHED.pages.values()
        for table in page.tables
        for part in table.row_ids(page.rows)
    )
    assert placed == Counter(list(PUBLISHED.rows))
    assert len(PUBLISHED.rows) == 150


@pytest.mark.parametrize(
    ("row_id", "metrics"),
    [
        ("000-01", {"mIoU": 72.1, "aAcc": 95.2, "mAcc": 80.0, "fwIoU": 91.3}),
        ("001-06", {"mIoU": 43.21}),
        ("001-02", {}),
        ("003-018", {}),
        ("003-088", {"mIoU": 66.3}),
        ("004-10", {"mIoU": 72.5, "mIoU_ms_flip": 74.13}),
    ],
)
def test_metrics_are_percent_and_absent_where_not_printed(row_id: str, metrics: dict[str, float]) -> None:
    assert dict(PUBLISHED.rows[row_id].metrics) == metrics


def test_printed_number_and_typed_number_agree() -> None:
    """Every typed mIoU is printed in its row, in percent or as a fraction."""
    for page in PUBLISHED.pages.values():
        for table in page.tables:
            scale = next((column.scale for column in table.columns if column.field == "mIoU"), 1.0)
            for row in (page.rows[row_id] for row_id in table.row_ids(page.rows)):
                printed = {round(float(n) / scale, 4) for cell in row.cells[1:] for n in NUMBER.findall(cell)}
                assert "mIoU" not in row.metrics or row.metrics["mIoU"] in printed, row.id


def test_links_have_roles() -> None:
    assert set(PUBLISHED.rows["002-01"].links) == {"config", "model", "log"}
    assert set(PUBLISHED.rows["000-01"].links) == {"model", "model_mirror"}
    assert PUBLISHED.rows["000-02"].links.keys() == {"model"}, "an empty link is not a link"
    assert PUBLISHED.rows["003-102"].links["evaluation"].endswith("984")


def test_reading_costs_neither_torch_nor_yaml() -> None:
    code = "import sys, pathlib, repro.published as p; rows = p.Published(pathlib.Path(sys.argv[1])).rows;"
    code += " print(len(rows), {'torch', 'yaml'} & set(sys.modules))"
    words = [sys.executable, "-c", code, str(PUBLISHED.folder)]
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "150 set()"


def test_unknown_page_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="000, 001, 002, 003, 004"):
        PUBLISHED.page("005")


@pytest.mark.parametrize("text", ["", "{}", '{"source": {"id": "x"}}', "[1]"])
def test_damaged_page_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "page-009.json"
    path.write_text(text)
    with pytest.raises(ParamsError, match=r"page-009\.json"):
        read_page(path)


def test_page_files_hold_one_row_a_line() -> None:
    """A changed number is a one-line diff, and DVC finds a row by its key."""
    for page in PUBLISHED.pages.values():
        lines = PUBLISHED.path(page.id).read_text().splitlines()
        starts = [line.split(":", 1)[0].strip('"') for line in lines if line.startswith(f'"{page.id}-')]
        assert starts == list(page.rows)


_odd = "|\\\n\r{}"
_cell = st.text(
    st.characters(codec="utf-8", exclude_characters=_odd, exclude_categories=("Z", "C")), max_size=8
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(_cell, min_size=2, max_size=5),
    st.lists(st.integers(0, 4), min_size=10, max_size=10),
    st.booleans(),
    st.booleans(),
)
def test_layout_and_cells_give_any_line_back(
    values: list[str], spaces: list[int], opened: bool, closed: bool
) -> None:
    parts = [" " * a + v + " " * b for v, a, b in zip(values, spaces, spaces[5:], strict=False)]
    line = "|" * opened + "|".join(parts) + "|" * closed
    for padded in (False, True):
        assert fill(layout(line, padded=padded), cells(line)) == line


def test_common_layout_pads_columns_only_when_that_prints_more_lines() -> None:
    padded = ["| a    | 1.5 |", "| bcd  | 22  |"]
    assert common_layout(padded) == "| {:<4} | {:<3} |"
    assert common_layout(["a|1", "bc|22"]) == "{}|{}"


def test_markdown_tables_are_found_where_a_reader_sees_them() -> None:
    text = "# Top\n\n```\na|b\n-|-\n```\n## Inner:\nx | y\\|z\n--|--\n1|2\n--|--\n3\\|4|\n\nplain | text\n"
    (table,) = tables(text)
    assert (table.section, table.number, table.columns) == ("Inner", 8, ("x", "y\\|z"))
    assert [line.cells for line in table.rows] == [("1", "2"), ("3\\|4",)]
    assert [line.number for line in table.body if line.is_rule] == [11]


def test_links_of_a_cell() -> None:
    cell = "![cs](cs.png) [cfg](https://a/b) &#124; [soon]()"
    assert links(cell) == [("cfg", "https://a/b"), ("soon", "")]


def test_links_to_the_file_itself() -> None:
    page = "https://drive.google.com/file/d/1t7TC8mxQa-F_b/view?usp=sharing"
    assert "download?id=1t7TC8mxQa-F_b&export=download" in direct_url(page)
    assert direct_url("https://www.dropbox.com/s/x/a.pth?dl=0") == "https://www.dropbox.com/s/x/a.pth?dl=1"
    assert direct_url("https://example.org/a-1234abcd.pth") == "https://example.org/a-1234abcd.pth"
    assert hash_in_name("https://example.org/a-1234abcd.pth") == "1234abcd"
    assert hash_in_name("https://example.org/a-1234abcd.ckpt?dl=1") == "1234abcd"
    assert hash_in_name("https://example.org/a_train.pth") is None
