"""No planted number passes, in record, metrics.json, cost.json, matrices, params.yaml or several of them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from repro.cli.app import app
from repro.params import Project
from repro.records import Expected, write_json
from repro.records.files import canonical, sha256_text
from repro.reports import against, gate
from repro.reports.results import load_results
from tests.reports_kit import a_project, a_record, add, git

NAME = "camvid_x"
Attack = Callable[[Project], None]


def of_record(edit: Callable[[dict[str, Any]], Any]) -> Attack:
    """An edit of the record, which is hashed again as this project does it."""

    def attack(project: Project) -> None:
        path = project.record(NAME)
        raw = json.loads(path.read_text())
        edit(raw)
        del raw["content_hash"]
        write_json(path, raw | {"content_hash": sha256_text(canonical(raw))})

    return attack


def of_json(name: str, edit: Callable[[dict[str, Any]], Any]) -> Attack:
    def attack(project: Project) -> None:
        path = project.experiments / NAME / name
        raw = json.loads(path.read_text())
        edit(raw)
        write_json(path, raw)

    return attack


def both(edit: Callable[[dict[str, Any]], Any]) -> Attack:
    """The same lie in the record and in metrics.json."""

    def attack(project: Project) -> None:
        of_record(lambda raw: edit(raw["metrics"]))(project)
        of_json("metrics.json", edit)(project)

    return attack


def of_params(project: Project) -> None:
    (project.experiments / NAME / "params.yaml").unlink(missing_ok=True)


def of_matrices(project: Project) -> None:
    path = project.experiments / NAME / "confusion.csv"
    path.write_text(path.read_text().replace("road,road,", "road,road,9", 1))


ATTACKS: dict[str, Attack] = {
    "the page's own number": both(lambda m: m.update(mIoU_page=50.0)),
    "mIoU": both(lambda m: m.update(mIoU=50.0)),
    "mIoU of 200": both(lambda m: m.update(mIoU=200.0)),
    "ms_flip below 0": both(lambda m: m.update(mIoU_ms_flip=-2.88)),
    "another metric": both(lambda m: m.update(aAcc=99.0)),
    "metrics.json alone": of_json("metrics.json", lambda m: m.update(mIoU=49.0)),
    "images of metrics.json": of_json("metrics.json", lambda m: m.update(n_images=1)),
    "cost.json": of_json("cost.json", lambda m: m.update(params_M=1.0)),
    "cost.json empty": of_json("cost.json", lambda m: m.clear()),
    "protocol_hash": of_record(lambda r: r.update(protocol_hash="f" * 12)),
    "protocol": of_record(lambda r: r["protocol"].update(scales=[0.5])),
    "kind": of_record(lambda r: r.update(kind="released")),
    "size": of_record(lambda r: r.update(kind="cost")),
    "images": of_record(lambda r: r.update(n_images=24)),
    "split": of_record(lambda r: r.update(split="val")),
    "weights": of_record(lambda r: r.update(model_sha256=None)),
    "per class": of_record(lambda r: r["per_class"].update(road=99.0)),
    "interval": of_record(lambda r: r["intervals"].update(mIoU=[90.0, 80.0])),
    "run key": of_record(lambda r: r.update(run_key="../../x")),
    "data set": of_record(lambda r: r.update(dataset="../../x")),
    "params": of_record(lambda r: r["params"]["training"].update(lr=1.0)),
    "expectation": of_record(lambda r: r["expectation"].update(value=9.25)),
    "band": of_record(lambda r: r["expectation"].update(band=50.0)),
    "published": of_record(lambda r: r["published"].update(mIoU=9.25)),
    "matrices": of_matrices,
    "no params.yaml": of_params,
}


def verdict_after(attacks: list[str], *, mIoU: float) -> gate.Finding:
    with tempfile.TemporaryDirectory() as folder:
        project = a_project(Path(folder), a_record(NAME, metrics={"mIoU": mIoU}))
        for name in attacks:
            ATTACKS[name](project)
        return gate.finding(load_results(project, strict=False, thorough=True), NAME)


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_single_attack_passes(attack: str) -> None:
    found = verdict_after([attack], mIoU=3.55)
    assert not found.passes, found.reason
    assert verdict_after([], mIoU=50.0).passes, "the same result, honest and good, does"


@settings(max_examples=40, deadline=None)
@given(attacks=st.lists(st.sampled_from(sorted(ATTACKS)), min_size=2, max_size=4, unique=True))
def test_no_combination_passes(attacks: list[str]) -> None:
    assert not verdict_after(attacks, mIoU=3.55).passes


@settings(max_examples=40, deadline=None)
@given(attack=st.sampled_from(sorted(set(ATTACKS) - {"mIoU"})))
def test_a_good_result_that_was_tampered_with_is_no_pass_either(attack: str) -> None:
    assert not verdict_after([attack], mIoU=50.0).passes


@pytest.mark.parametrize(("value", "band"), [(10.0, 0.8), (50.0, 45.0)], ids=["lowered", "wider"])
def test_an_expectation_that_was_changed_with_its_result(tmp_path: Path, value: float, band: float) -> None:
    """Recorded again with it, the tree agrees with itself: only a revision shows what was expected before."""
    project = a_project(tmp_path, a_record(NAME, row=None))
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "before"]):
        git(tmp_path, *arguments)
    changed = Expected(metric="mIoU", value=value, band=band, source="test")
    add(project, a_record(NAME, row=None, metrics={"mIoU": 10.0}, expectation=changed))
    found = load_results(project)
    assert gate.finding(found, NAME).verdict == "holds"
    (compared,) = against.compare(found, "HEAD", [NAME])
    assert compared.verdict == "drifted"
    assert compared.reason.startswith("what is expected was changed since HEAD: own mIoU 50.0 ± 0.8, now own")


def test_nothing_measured_is_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(app, ["check"])
    assert (answer.exit_code, "nothing was compared" in answer.output) == (2, True)
    assert CliRunner().invoke(app, ["check", "--allow-empty"]).exit_code == 0
