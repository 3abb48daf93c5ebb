"""Files for other programs contain readable text, and nothing that they would execute."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from repro.cli.app import app
from repro.cli.console import guarded
from repro.evaluation.outputs import read_table, table
from repro.io.safe_text import cell_text, csv_cell, printable
from repro.judgement import judge_record
from repro.params import Project
from repro.records import read_row, write_record
from repro.records.metrics_io import read_confusion
from repro.reports import ci_formats
from repro.reports.gate import Finding
from repro.reports.grid import Grid, comma_separated
from repro.tracking.record_view import note_of
from repro.tracking.run_writer import cut
from tests.reports.kit import COST, ROOT, a_project, a_record, add

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
def test_reports_for_ci_are_printable_for_any_text(text: str) -> None:
    found = [replace(FINDING, reason=text, experiment=f"n{text}", file=text, dataset=text)]
    ElementTree.fromstring(ci_formats.junit(found).encode())
    json.loads(ci_formats.sarif(found).encode())
    ci_formats.comment(found, 2).encode()
    ci_formats.github(found).encode()
    assert printable(text) != text
    assert printable("grün\t\n🙂") == "grün\t\n🙂"


EVIL = "\x1b]0;title\x07\x1b[2Kred\x9b1A\u202edlo\r\u2028x\nsecond: reproduced\x00 [/bold] :smile:"


def obeyed(text: str) -> set[str]:
    """Control characters of a text, and characters that change its direction."""
    return {one for one in text if not one.isprintable() and one not in "\n\t\xa0"}


@pytest.fixture
def evil_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with such text in every text field of params, record and page."""
    project = a_project(tmp_path)
    device = {"cpu": EVIL, "threads": 2, "torch": "2"}
    one = add(project, a_record("camvid_x", cost={**COST, "device": device}, notes=(EVIL,)))
    params = project.params_of("camvid_x")
    params.write_text(params.read_text() + f"note: {json.dumps(EVIL)}\n")
    provenance = {**one.provenance, "command": [EVIL], "git": {"unknown": EVIL}}
    write_record(project.record("camvid_x"), replace(one, provenance=provenance))
    (tmp_path / "page.md").write_text(
        f"# {EVIL}\n\n| model {EVIL[:20]} | mIoU |\n|---|---|\n| a{EVIL[:9]} | 990 |\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        *(["check"], ["check", "--json"], ["check", "--markdown"], ["list"], ["list", "--json"]),
        *(["show", "camvid_x"], ["show", "camvid_x", "--json"], ["explain", "camvid_x"]),
        *(
            ["page", "export", "model-index"],
            ["page", "export", "metafile"],
            ["page", "export", "csv"],
            ["page", "lint", "page.md"],
        ),
        *(["page", "import", "page.md", "--source", "mine"], ["report", "--out", "report.html"], ["table"]),
        *(
            ["table", "--dataset", "camvid", "--format", one]
            for one in ("md", "csv", "json", "html", "latex")
        ),
    ],
    ids=" ".join,
)
def test_control_characters_in_foreign_text_are_escaped(
    evil_project: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = guarded(lambda: app(words, standalone_mode=False))
    shown = capsys.readouterr()
    assert code in (0, 1, 2), shown.err
    assert shown.out or words[0] == "report" or "import" in words
    for text in (shown.out, shown.err, *(path.read_text() for path in evil_project.glob("report.html"))):
        assert not obeyed(text.partition("application/json")[2] if "<title>" in text else text)
    assert not any(line.startswith("second") for line in shown.out.split("\n"))
    if "json" in words[-1]:
        json.loads(shown.out)


def test_a_page_of_others_is_printed_as_json(
    evil_project: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Outside a project; in one the import writes a file."""
    monkeypatch.chdir(tmp_path_factory.mktemp("outside"))
    words = ["page", "import", str(evil_project / "page.md"), "--id", "mine"]
    assert guarded(lambda: app(words, standalone_mode=False)) == 0
    shown = capsys.readouterr()
    assert not obeyed(shown.out + shown.err)
    assert "mine-01" in json.loads(shown.out)["rows"]


def test_mlflow_gets_no_such_text(evil_project: Path) -> None:
    project = Project(evil_project)
    record = read_row(project.record("camvid_x"))
    judged = judge_record(project, record)
    note = note_of(replace(record, notes=(EVIL,)), replace(judged, reason=EVIL))
    assert not any(line.startswith("second") for line in note.split("\n"))
    assert not obeyed(cut(note, 8000))


def test_every_command_prints_by_the_functions_that_see_to_it() -> None:
    """`console`, `write`, `answer` and `emit_json`; typer itself prints only the user's input."""
    for path in sorted((ROOT / "repro/cli").rglob("*.py")):
        direct = re.findall(
            r"std(?:out|err)\.write|typer\.echo|(?<![.\w])print\(|Console\(", path.read_text()
        )
        assert not direct or path.stem in ("__init__", "console"), (path, direct)
