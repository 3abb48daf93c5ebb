"""docs/json.md is what the commands print: the same keys in all of them, numbers as numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.reports.frame import COLUMNS
from repro.reports.listing import FIELDS
from repro.reports.tables import COLUMNS as PRINTED
from tests.reports.kit import ROOT, a_project, a_record, add
from tests.reports.test_gate import confusions_of

RUN = CliRunner()
COMMANDS = {
    "list": ["list --json"],
    "table": ["table --format json", "table --dataset camvid --format json"],
    "show": ["show camvid_x --json"],
    "check": ["check --json", "check --all --json"],
    "compare": ["compare camvid_x camvid_y --json"],
    "explain": [f"explain camvid_{name} {metric} --json" for name, metric in
                (("x", "mIoU"), ("x", "params_M"), ("y", "mIoU"), ("x", "settings"), ("new", "mIoU"))],
}  # fmt: skip
# Keys of these belong to another description: params.yaml, records, a file's settings, cells as printed.
OPAQUE = {"params", "record", "runs", "files", "also"}
FORMER = {
    "table": set(PRINTED) - {"row", "experiment", "verdict", "protocol"},
    "show": {"experiment"},
    "check": {"difference"},
    "compare": {"mIoU", "difference", "low", "high", "p", "interval"},
    "explain": {
        *("number", "interval", "measured on", "data", "weights", "record", "run", "commit", "made"),
        *("to measure", "as printed", "evaluated on", "made with", "remarks"),
    },
}
# Cells of a table that are left out where they are empty in every row.
SOMETIMES = set(PRINTED) - {"model", "published mIoU", "measured mIoU", "difference", "links"}
TYPES: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "number": (int, float),
    "list": (list,),
    "object": (dict,),
    "path": (str,),
    "address": (str,),
    "bool": (bool,),
    "text or number": (str, int, float),
}


@cache
def documented() -> dict[str, tuple[str, set[str]]]:
    """Key -> its type and the commands that print it."""
    text = (ROOT / "docs/json.md").read_text().partition("## Keys")[2].partition("## Former")[0]
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "`" in line
    ]
    return {key.strip("`"): (kind, set(commands.split(", "))) for key, kind, _, commands in lines}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    made = a_project(root)
    made.params.write_text(made.params.read_text().replace("test: 233", "test: 4"))
    for name, row, wrong in (("camvid_x", "003-028", 0.1), ("camvid_y", None, 0.2)):
        measured = confusions_of([wrong] * 4)
        add(made, a_record(name, row=row, n_images=4), confusions={"": measured})
    (made.experiments / "camvid_new").mkdir()
    text = (made.experiments / "camvid_x" / "params.yaml").read_text()
    (made.experiments / "camvid_new" / "params.yaml").write_text(text)
    return root


def found(command: str) -> Any:
    answer = RUN.invoke(app, command.split())
    assert answer.stdout, answer.output + str(answer.exception)
    return json.loads(answer.stdout)


def pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, but for what OPAQUE containers hold."""
    if isinstance(value, list):
        for one in value:
            yield from pairs(one)
    if isinstance(value, dict):
        for key, one in value.items():
            yield key, one
            if key not in OPAQUE and not (key == "experiment" and isinstance(one, dict)):
                yield from pairs(one)


@pytest.mark.parametrize("command", COMMANDS)
def test_keys_are_the_documented_ones(command: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    printed = [pair for line in COMMANDS[command] for pair in pairs(found(line))]
    wanted = {key for key, (_, commands) in documented().items() if command in commands}
    former = FORMER.get(command, set())
    keys = {key for key, _ in printed if not re.match(r"\d{3}-\d+ ", key)}  # `ROW source`: former keys
    assert keys - former - wanted == set(), "printed and not in docs/json.md"
    assert wanted - keys == set(), "in docs/json.md and not printed"
    assert former - SOMETIMES <= keys, "former keys are kept for a release"
    for key, value in printed:
        if key in wanted - former and value is not None:
            assert isinstance(value, TYPES[documented()[key][0]]), f"{key}: {value!r}"


def test_keys_are_snake_case_and_columns_are_keys() -> None:
    keys = documented()
    assert all(re.fullmatch("[a-z][a-z0-9_]*", key) for key in keys)
    assert {key for key, (_, commands) in keys.items() if "list" in commands} == set(FIELDS)
    assert set(COLUMNS) <= {key for key, (_, commands) in keys.items() if "table" in commands}
    kinds = {"float64": "number", "Int64": "number"}
    for name, kind in COLUMNS.items():
        assert keys[name][0] in (kinds.get(kind, "text"), "path", "address"), name


def test_the_same_number_everywhere(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (listed,) = (line for line in found("list --json") if line["experiment"] == "camvid_x")
    (checked,) = (line for line in found("check --json")["findings"] if line["experiment"] == "camvid_x")
    tables = found("table --format json")
    (shown,) = (row for table in tables for row in table["rows"] if row["experiment"] == "camvid_x")
    explained, result = found("explain camvid_x --json"), found("show camvid_x --json")["result"]
    for key in (
        "published",
        "measured",
        "gap",
        "verdict",
        "interval_low",
        "interval_high",
        "reference",
        "band",
    ):
        values = [line[key] for line in (listed, checked, shown, explained, result)]
        assert values.count(values[0]) == len(values), key
    assert np.isclose(listed["gap"], listed["measured"] - listed["published"])
