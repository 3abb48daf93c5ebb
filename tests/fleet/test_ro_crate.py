"""The metadata in an exported run names every file with its hash, and the numbers with their intervals."""

from __future__ import annotations

import json

from repro.fleet.ro_crate import CRATE, ro_crate
from tests.reports.kit import a_record

HASHES = {"record.json": "ab" * 32, "out/my weights.pt": "cd" * 32}


def test_it_says_what_each_file_is_and_what_was_measured() -> None:
    graph = {one["@id"]: one for one in json.loads(ro_crate(a_record(), HASHES))["@graph"]}
    assert graph[CRATE]["about"] == {"@id": "./"}
    root = graph["./"]
    assert (root["name"], root["datePublished"]) == ("camvid_x", "2026-11-20T05:00:00Z")
    assert [one["@id"] for one in root["hasPart"]] == ["record.json", "out/my%20weights.pt"]
    assert graph["out/my%20weights.pt"]["sha256"] == "cd" * 32
    assert graph["record.json"]["encodingFormat"] == "application/json"
    number = graph["#mIoU"]
    assert (number["value"], number["minValue"], number["maxValue"]) == (50.0, 48.9, 51.7)
    assert graph["#run"]["description"] == f"at commit {'c' * 40}"
