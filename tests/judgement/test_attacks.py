"""Forged numbers never pass, in record, metrics.json, cost.json, matrices, params.yaml or several of them."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from repro.cli.app import app
from repro.io.atomic import canonical, sha256_text
from repro.params import Project
from repro.records import Expected, write_json
from repro.reports import compare_revision, gate
from repro.reports.results import load_results
from tests.reports.kit import a_project, a_record, add, git

NAME = "camvid_x"
Attack = Callable[[Project], None]


def of_record(edit: Callable[[dict[str, Any]], Any]) -> Attack:
    """An edit of the record with an updated hash."""

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
    """The same false number in the record and in metrics.json."""

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
        return gate.finding(load_results(project, thorough=True), NAME)


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
def test_a_good_result_that_was_tampered_with_does_not_pass_either(attack: str) -> None:
    assert not verdict_after([attack], mIoU=50.0).passes


@pytest.mark.parametrize(("value", "band"), [(10.0, 0.8), (50.0, 45.0)], ids=["lowered", "wider"])
def test_an_expectation_that_was_changed_with_its_result(tmp_path: Path, value: float, band: float) -> None:
    """After recording again the files are consistent: only a comparison with a revision detects it."""
    project = a_project(tmp_path, a_record(NAME, row=None))
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "before"]):
        git(tmp_path, *arguments)
    changed = Expected(metric="mIoU", value=value, band=band, source="test")
    add(project, a_record(NAME, row=None, metrics={"mIoU": 10.0}, expectation=changed))
    found = load_results(project)
    assert gate.finding(found, NAME).verdict == "holds"
    (compared,) = compare_revision.compare(found, "HEAD", [NAME])
    assert compared.verdict == "drifted"
    assert compared.reason.startswith("what is expected was changed since HEAD: own mIoU 50.0 ± 0.8, now own")


# --- what git alone shows -----------------------------------------------------------------------------------

OTHER = "camvid_y"
SAME_SPLIT, OWN_WEIGHTS = "a" * 32, {NAME: "b" * 32, OTHER: "c" * 32}
SHA256 = {NAME: "12" * 32, OTHER: "34" * 32}


def write_lock(project: Project, name: str, *, weights: str, split: str = SAME_SPLIT) -> None:
    """Write dvc.lock for an experiment's files, and for a split and weights that are missing."""
    folder = project.experiments / name
    found = {one: (folder / one).read_bytes() for one in ("confusion.csv", "cost.json", "curve.csv")}
    found["metrics.json"] = (folder / "metrics.json").read_bytes()
    digests = {one: hashlib.md5(content).hexdigest() for one, content in found.items()}
    outs = "".join(f"    - path: {one}\n      md5: {md5}\n" for one, md5 in digests.items())
    (folder / "dvc.lock").write_text(
        f"stages:\n  evaluate:\n    deps:\n    - path: ../../prepared/camvid/test.zip\n      md5: {split}\n"
        f"    outs:\n    - path: model.safetensors\n      md5: {weights}\n{outs}"
    )


@contextmanager
def two_results() -> Iterator[Project]:
    """A commit of two results on the same prepared file, without data, weights and per-image matrices."""
    with tempfile.TemporaryDirectory() as folder:
        project = a_project(Path(folder))
        for name, row in ((NAME, "003-028"), (OTHER, None)):
            add(project, a_record(name, row=row, model_sha256=SHA256[name]))
            write_lock(project, name, weights=OWN_WEIGHTS[name])
        for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "before"]):
            git(project.root, *arguments)
        yield project


def verdicts(project: Project, rev: str = "") -> dict[str, bool]:
    """Whether each experiment passes, in the gate or against a revision."""
    found = load_results(project, thorough=True)
    names = sorted(found.records)
    findings = compare_revision.compare(found, rev, names) if rev else gate.check(found, names=names)
    return {one.experiment: one.passes for one in findings}


def other_weights(project: Project) -> None:
    write_lock(project, NAME, weights=OWN_WEIGHTS[OTHER])


SEEN_BY_OTHERS: dict[str, Attack] = {
    "data": of_record(lambda r: r.update(dataset_fingerprint="ff" * 32)),
    "sha256 of another": of_record(lambda r: r.update(model_sha256=SHA256[OTHER])),
    "weights of another": other_weights,
}
SEEN_BY_REV: dict[str, Attack] = SEEN_BY_OTHERS | {
    "sha256": of_record(lambda r: r.update(model_sha256="ff" * 32)),
    "run key": of_record(lambda r: r.update(run_key="f" * 16)),
    "new file, old sha256": lambda project: write_lock(project, NAME, weights="d" * 32),
}


@pytest.mark.parametrize("attack", SEEN_BY_OTHERS)
def test_results_that_name_one_file_must_say_the_same_of_it(attack: str) -> None:
    with two_results() as project:
        assert verdicts(project) == {NAME: True, OTHER: True}
        SEEN_BY_OTHERS[attack](project)
        assert not verdicts(project)[NAME]


@pytest.mark.parametrize("attack", SEEN_BY_REV)
def test_weights_that_are_the_same_file_as_at_the_revision(attack: str) -> None:
    with two_results() as project:
        assert verdicts(project, "HEAD") == {NAME: True, OTHER: True}
        SEEN_BY_REV[attack](project)
        assert not verdicts(project, "HEAD")[NAME]


def test_another_prepared_file_may_have_another_fingerprint() -> None:
    with two_results() as project:
        SEEN_BY_OTHERS["data"](project)
        write_lock(project, NAME, weights=OWN_WEIGHTS[NAME], split="e" * 32)
        assert verdicts(project) == {NAME: True, OTHER: True}


def test_weights_that_were_trained_again_have_another_sha256_and_run_key() -> None:
    with two_results() as project:
        of_record(lambda r: r.update(model_sha256="56" * 32, run_key="f" * 16))(project)
        write_lock(project, NAME, weights="d" * 32)
        assert verdicts(project, "HEAD") == {NAME: True, OTHER: True}


def test_nothing_measured_does_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(app, ["check"])
    assert (answer.exit_code, "nothing was compared" in answer.output) == (2, True)
    assert CliRunner().invoke(app, ["check", "--allow-empty"]).exit_code == 0


def with_matrices(project: Project, name: str) -> None:
    """Write dvc.lock with the per-image matrices, which are missing."""
    write_lock(project, name, weights=OWN_WEIGHTS[name])
    lock = project.experiments / name / "dvc.lock"
    lock.write_text(lock.read_text() + f"    - path: confusion.npz\n      md5: {'9' * 32}\n")


def wide_interval(project: Project) -> None:
    of_record(lambda r: r["intervals"].update(mIoU=[1.0, 99.0]))(project)
    of_json("metrics.json", lambda m: m.update(mIoU_low=1.0, mIoU_high=99.0))(project)
    with_matrices(project, NAME)


def no_lock(project: Project) -> None:
    (project.experiments / NAME / "dvc.lock").unlink()


@pytest.mark.parametrize(
    "attack", [wide_interval, no_lock, lambda project: write_lock(project, NAME, weights="b" * 32)]
)
def test_what_follows_from_the_same_matrices_is_the_same_as_at_the_revision(attack: Attack) -> None:
    """Without confusion.npz intervals are not recomputed; without a lock files are not compared."""
    with two_results() as project:
        with_matrices(project, NAME)
        git(project.root, "commit", "-qam", "matrices")
        assert verdicts(project, "HEAD")[NAME]
        attack(project)
        assert not verdicts(project, "HEAD")[NAME]
