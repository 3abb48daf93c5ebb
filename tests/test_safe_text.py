"""Files for other programs hold text that those can read, and nothing that they would run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from repro.evaluation.files import read_table, table
from repro.records.csv_files import read_confusion
from repro.records.safe_text import cell_text, csv_cell, well_formed
from repro.reports import outputs
from repro.reports.gate import Finding
from repro.reports.grid import Grid, comma_separated

FINDING = Finding(experiment="a", verdict="incomparable", reason="r", dataset="d", file="f", line=1)


@pytest.mark.parametrize("text", ['=HYPERLINK("x")', "+1+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_formula_is_a_text(text: str) -> None:
    assert csv_cell(text) == f"'{text}"
    table = comma_separated([Grid(title=text, columns=("device",), rows=((text,),))])
    assert not any(cell.strip('"').startswith(text[0]) for cell in table.split("\n")[1].split(","))


@pytest.mark.parametrize(
    "value", ["-0.24", "+0.00", "-", "", "a=b", "3.55", -1.5, None, "-1e-05", "+1,234", "-3%"]
)
def test_numbers_and_other_texts_stay(value: object) -> None:
    assert csv_cell(value) == value


@pytest.mark.parametrize("text", ["=sky", "'=sky", "''@", "'", "'-", "'sky", "sky", "-1"])
def test_a_cell_gives_its_text_back(text: str) -> None:
    assert cell_text(str(csv_cell(text))) == text


def test_classes_with_any_names_come_back_from_their_matrix(tmp_path: Path) -> None:
    classes = ("=sky", "'=sky", "road")
    counts = np.arange(12, dtype=np.int64).reshape(3, 4)
    written = table({"": counts}, classes)
    found = read_table(written, "here")
    assert found.classes == classes
    assert (found.matrices[""] == counts).all()
    (tmp_path / "confusion.csv").write_text(written)
    assert read_confusion(tmp_path / "confusion.csv")["=sky", "road"] == 2


@pytest.mark.parametrize("text", ["\x01", "\x00", "\ud800", "\x0b", "\uffff", "a\x1bb"])
def test_reports_for_ci_are_well_formed_for_any_text(text: str) -> None:
    found = [replace(FINDING, reason=text, experiment=f"n{text}", file=text, dataset=text)]
    ElementTree.fromstring(outputs.junit(found).encode())
    json.loads(outputs.sarif(found).encode())
    outputs.comment(found, 2).encode()
    outputs.github(found).encode()
    assert well_formed(text) != text
    assert well_formed("grün\t\n🙂") == "grün\t\n🙂"
