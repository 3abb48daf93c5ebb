"""Kept judgements: the answers are those of a fresh start, whatever changed in between."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from repro.params import Project
from repro.records import read_record, write_record
from repro.reports.gate import check
from repro.reports.listing import listing
from repro.reports.results import load_results
from repro.reports.tables import measured_table
from tests.reports.kit import a_project, a_record, add, seeded

Answers = tuple[object, ...]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = a_project(tmp_path)
    add(made, a_record("city_a", row="000-01"))
    add(made, a_record("voc_b", row=None, dataset="voc2012", metrics={"mIoU": 50.0}))
    for seed in (1, 2):
        add(made, seeded(seed, row=None, metrics={"mIoU": 40.0 + seed}))
    aged(made)
    return made


def aged(project: Project) -> None:
    """All files as if they had been written a minute ago: what is younger than a second is never kept."""
    before = time.time_ns() - 60 * 10**9
    for path in project.root.rglob("*"):
        if path.is_file() and ".repro" not in path.parts and path.stat().st_mtime_ns > before:
            os.utime(path, ns=(before, before + hash(path.stat().st_size) % 10**9))


def answers(project: Project, *, cache: bool = True) -> Answers:
    project = Project(project.root)  # as a new command: nothing is remembered in memory
    gate = check(load_results(project, thorough=True, cache=cache))
    results = load_results(project, cache=cache)
    return gate, listing(results), [(grid.rows, grid.notes) for grid in measured_table(results)]


def test_the_second_command_reads_no_record_and_gives_the_same(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = answers(project)
    with monkeypatch.context() as patch:
        patch.setattr("repro.reports.results.read_row", None)
        patch.setattr("repro.reports.claims.read_row", None)
        assert answers(project) == first
    assert answers(project, cache=False) == first


def _edit(name: str, old: str, new: str) -> Callable[[Project], None]:
    def edit(project: Project) -> None:
        path = project.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text, name
        path.write_text(text.replace(old, new), encoding="utf-8")

    return edit


def _record(name: str, **changes: object) -> Callable[[Project], None]:
    def change(project: Project) -> None:
        path = project.record(name)
        write_record(path, replace(read_record(path), **changes))  # type: ignore[arg-type]

    return change


def _another_seed(project: Project) -> None:
    add(project, seeded(3, row=None, metrics={"mIoU": 60.0}))


CHANGES: dict[str, Callable[[Project], None]] = {
    "a record that says something else": _record("city_a", metrics={"mIoU": 12.0}),
    "a record that is no longer one": lambda project: project.record("voc_b").write_text("{"),
    "a record that is gone": lambda project: project.record("voc_b").unlink(),
    "params.yaml of an experiment": _edit("experiments/city_a/params.yaml", "lr: 0.03", "lr: 0.04"),
    "a note": _edit("experiments/city_a/params.yaml", "# test", "note: be careful"),
    "a params.yaml that is none": lambda project: project.params_of("voc_b").write_text("[", "utf-8"),
    "the shared params": _edit("params.yaml", "momentum: 0.9", "momentum: 0.8"),
    "the matrices": _edit("experiments/city_a/confusion.csv", "class0", "class_0"),
    "a file that is gone": lambda project: (project.experiments / "city_a" / "cost.json").unlink(),
    "a further seed": _another_seed,
    "one of the seeds": _edit("experiments/camvid_s1/params.yaml", "lr: 0.03", "lr: 0.04"),
    "the published page": _edit("published/000.json", '"mIoU": 72.1', '"mIoU": 72.2'),
}


def test_every_change_is_seen(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    """After each change the answers are those of a fresh start, and not those of before."""
    before = answers(project)
    for number, (what, change) in enumerate(CHANGES.items()):
        root = tmp_path_factory.mktemp("changed") / str(number)
        changed = Project(shutil.copytree(project.root, root))
        assert answers(changed) == before, what
        change(changed)
        fresh = answers(changed, cache=False)
        assert answers(changed) == fresh, what
        assert fresh != before, what
        aged(changed)
        assert answers(changed) == fresh, what
        assert answers(changed) == fresh, what


def test_a_change_that_keeps_size_and_second_is_seen(project: Project) -> None:
    """Recent files are never kept: two edits within a tick of the clock could not be told apart."""
    path = project.params_of("city_a")
    path.write_text(path.read_text().replace("lr: 0.03", "lr: 0.05"))
    first = answers(project)
    path.write_text(path.read_text().replace("lr: 0.05", "lr: 0.03"))
    assert answers(project) != first


def test_a_damaged_or_foreign_cache_costs_time_only(project: Project) -> None:
    first = answers(project)
    store = project.cache_folder("results", "cache.sqlite")
    assert store.is_file()
    contents = {"garbage": b"SQLite format 3\0" + b"x" * 5000, "nothing": b"", "text": b"hello"}
    for what, content in contents.items():
        store.write_bytes(content)
        assert answers(project) == first, what
    store.unlink()
    with sqlite3.connect(store) as other:
        other.execute("CREATE TABLE entries (something TEXT)")
    other.close()
    assert answers(project) == first
    store.unlink()
    store.mkdir()
    assert answers(project) == first
