"""The gate fails on every regression, never passes what cannot be compared, and is not fooled."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import ReproError, UnknownNameError
from repro.evaluation.confusion import Confusions, collect, count, squeeze
from repro.records import PASSING, sha256_file, to_json, write_json, write_record
from repro.reports import ci_formats, compare_revision, gate
from repro.reports.results import Declared, Results, load_results
from tests.kit import PROJECT, PUBLISHED, every
from tests.reports.kit import a_project, a_record, add, git, results, seeded


def with_number() -> list[str]:
    return [row.id for row in PUBLISHED.rows.values() if "mIoU" in row.metrics]


def without_number() -> list[str]:
    return [row.id for row in PUBLISHED.rows.values() if not row.metrics]


def one(record: Any) -> gate.Finding:
    (found,) = gate.check(results(record))
    return found


@every("row", with_number)
def test_a_planted_regression_fails_in_every_row(row: str) -> None:
    record = a_record(row=row)
    assert record.expectation
    low = record.expectation.value - record.expectation.band - 0.01
    found = one(replace(record, metrics={"mIoU": low}))
    assert found.verdict == "regressed"
    assert gate.exit_code([found], strict=False) == 1


@every("row", without_number)
def test_a_row_without_a_number_never_passes(row: str) -> None:
    found = one(a_record(row=row, metrics={"mIoU": 99.0}, verdict="reproduced"))
    assert found.verdict == "incomparable"
    assert gate.exit_code([found], strict=False) == 2


@settings(max_examples=150, deadline=None)
@given(measured=st.floats(0, 100), stored=st.sampled_from(["reproduced", "improved", "regressed"]))
def test_the_verdict_comes_from_the_numbers_and_not_from_the_stored_word(
    measured: float, stored: Any
) -> None:
    record = a_record(metrics={"mIoU": measured}, verdict=stored)
    found = one(record)
    gap = measured - 50.0
    wanted = "reproduced" if abs(gap) <= 0.8 + 1e-9 else "improved" if gap > 0 else "regressed"
    assert found.verdict == wanted


@settings(max_examples=60, deadline=None)
@given(
    change=st.sampled_from(
        [
            {"kind": "smoke"},
            {"verdict": "incomparable", "notes": ("measured on 'val'",)},
            {"published": {"mIoU": 49.0}},
            {"rows": ("999-01",)},
            {"metrics": {}},
            {"metrics": {"mIoU": 200.0}},
            {"metrics": {"mIoU": -5.0}},
            {"expectation": None},
        ]
    ),
    measured=st.floats(0, 100),
)
def test_what_cannot_be_compared_never_passes(change: dict[str, Any], measured: float) -> None:
    found = one(a_record(**({"metrics": {"mIoU": measured}} | change)))
    assert found.verdict not in PASSING
    assert gate.exit_code([found], strict=True) == 2


@settings(max_examples=25, deadline=None)
@given(seeds=st.lists(st.floats(40, 60), min_size=3, max_size=6))
def test_three_seeds_are_judged_together(seeds: list[float]) -> None:
    records = [seeded(i, metrics={"mIoU": value}) for i, value in enumerate(seeds)]
    findings = gate.check(results(*records))
    assert len({found.verdict for found in findings}) == 1, "seeds of one family share the verdict"
    assert all("seeds" in found.reason for found in findings)


def test_a_seed_that_was_run_twice_counts_once() -> None:
    """Two experiments with equal parameters and seed give one number twice: no evidence of spread."""
    three = [seeded(i, metrics={"mIoU": 50.0 + i}) for i in range(3)]
    again = replace(three[0], experiment="camvid_t0")
    found = results(*three, again)
    assert found.seeds(three[0]) == found.seeds(again) == [50.0, 51.0, 52.0]
    for name in ("camvid_s0", "camvid_t0"):
        assert gate.finding(found, name).verdict == gate.finding(results(*three), "camvid_s0").verdict


@pytest.mark.parametrize(("wrong", "verdict"), [(176, "reproduced"), (250, "regressed")])
def test_page_000_tensorflow_is_compared_with_the_pages_own_formula(
    tmp_path: Path, wrong: int, verdict: str
) -> None:
    """648 pixels of one class are right, `wrong` are another class: TP / (2 GT - TP) is 64.8 % for 176."""
    matrix = np.zeros((19, 20), np.int64)
    matrix[0, :2] = 648, wrong
    project = a_project(tmp_path)
    one_image = {"": collect([squeeze(matrix)] * 500, classes=19)}
    stored = add(project, a_record(row="000-04"), protocol="page000_tf", confusions=one_image)
    assert stored.metrics["mIoU"] == round(100 * 648 / (648 + wrong) / 2, 4)
    found = gate.finding(load_results(project), "camvid_x")
    assert found.verdict == verdict, found.reason
    assert found.measured == stored.metrics["mIoU_page"] == round(100 * 648 / (648 + 2 * wrong), 4)


@pytest.fixture
def project(tmp_path: Path) -> Any:
    return a_project(tmp_path, a_record())


@pytest.mark.parametrize(
    "edit",
    [
        lambda raw: raw["metrics"].update(mIoU=60.0),
        lambda raw: raw["metrics"].update(mIoU=math.nan),
        lambda raw: raw["metrics"].pop("mIoU"),
        lambda raw: raw.update(verdict="improved"),
        lambda raw: raw["expectation"].update(band=50.0),
        lambda raw: raw.update(content_hash=""),
        lambda raw: raw.update(surprise=1),
        lambda raw: raw.update(schema=99),
        lambda raw: raw.clear(),
    ],
)
def test_an_edited_record_is_not_believed(project: Any, edit: Any) -> None:
    path = project.rows / "camvid_x.json"
    raw = json.loads(path.read_text())
    edit(raw)
    path.write_text(json.dumps(raw))
    findings = gate.check(load_results(project))
    assert [found.verdict for found in findings] == ["incomparable"]
    assert gate.exit_code(findings, strict=False) == 2


def test_nan_with_a_fitting_hash_is_not_believed(project: Any) -> None:
    path = project.rows / "camvid_x.json"
    text = path.read_text().replace('"mIoU": 50.0', '"mIoU": NaN', 1)
    path.write_text(text)
    assert "camvid_x" in load_results(project).damaged


def test_a_record_filed_under_another_name_is_not_believed(project: Any) -> None:
    (project.rows / "camvid_x.json").rename(project.rows / "camvid_y.json")
    (found,) = gate.check(load_results(project))
    assert (found.experiment, found.verdict) == ("camvid_y", "incomparable")


def test_unmeasured_counts_only_when_asked_for() -> None:
    found = results(
        a_record(), declared=[Declared(name="ade20k_r50_os16", dataset="ade20k", rows=("001-06",))]
    )
    assert [f.experiment for f in gate.check(found)] == ["camvid_x"]
    everything = gate.check(found, everything=True)
    assert [f.verdict for f in everything] == ["unmeasured", "reproduced"]
    assert gate.exit_code(everything, strict=False) == 0
    assert gate.exit_code(everything, strict=True) == 2
    assert [f.experiment for f in gate.check(found, dataset="ade20k")] == ["ade20k_r50_os16"]
    with pytest.raises(UnknownNameError, match="did you mean 'camvid_x'"):
        gate.check(found, names=["camvid_y"])
    assert [one.experiment for one in gate.check(found, names=["camvid_*"])] == ["camvid_x"]


# --- output formats -------------------------------------------------------------------------------------


def findings() -> list[gate.Finding]:
    return gate.check(four_results(), everything=True)


@cache
def four_results() -> Results:
    bad = a_record("camvid_bad", metrics={"mIoU": 40.0}, row="003-029")
    smoke = a_record("camvid_smoke", kind="smoke", row="003-030")
    unmeasured = Declared(name="ade20k_r50_os16", dataset="ade20k", rows=("001-06",))
    return results(a_record(), bad, smoke, declared=[unmeasured])


def test_junit_counts_failures_errors_and_skips() -> None:
    suite = ElementTree.fromstring(ci_formats.junit(findings()).split("\n", 1)[1])
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    (failure,) = suite.iter("failure")
    assert "mIoU 40.00, reference 52.70 ± 0.8 (-12.70): regressed" in (failure.get("message") or "")


def test_sarif_points_at_the_rows_line_of_params() -> None:
    document = json.loads(ci_formats.sarif(findings()))
    (run,) = document["runs"]
    places = {
        r["partialFingerprints"]["experiment"]: r["locations"][0]["physicalLocation"] for r in run["results"]
    }
    place = places["camvid_bad"]
    assert place["artifactLocation"]["uri"] == "experiments/camvid_bad/params.yaml"
    line, root = place["region"]["startLine"], four_results().project.root
    text = (root / place["artifactLocation"]["uri"]).read_text().splitlines()[line - 1]
    assert text.startswith("rows:")
    assert "camvid_x" not in places, "what holds is not reported"
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} >= {r["ruleId"] for r in run["results"]}


def test_comment_and_annotations_name_what_regressed() -> None:
    text = ci_formats.comment(findings(), 1)
    assert text.startswith(
        "## Results: regressed\n\n1 regressed, 1 incomparable, 1 reproduced, 1 unmeasured\n"
    )
    assert "| camvid_bad" in text
    assert "| camvid_x" not in text
    lines = ci_formats.github(findings()).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(
        "::error file=experiments/camvid_bad/params.yaml,line=3,title=camvid_bad::mIoU 40.00"
    )


@pytest.mark.parametrize(("metrics", "code"), [({"mIoU": 50.0}, 0), ({"mIoU": 48.0}, 1), ({}, 2)])
def test_command_exits_and_writes_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metrics: dict[str, float], code: int
) -> None:
    a_project(tmp_path, a_record(metrics=metrics))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    answer = CliRunner().invoke(app, ["check", "--junit", "j.xml", "--sarif", "s.json"])
    assert answer.exit_code == code, answer.output
    assert ("::error" in answer.stderr) == (code > 0)
    assert all((tmp_path / name).stat().st_size for name in ("j.xml", "s.json"))
    answer = CliRunner().invoke(app, ["check", "--markdown"])
    assert answer.exit_code == code
    assert answer.stdout.startswith("## Results: ")
    assert "::error" not in answer.stdout
    answer = CliRunner().invoke(app, ["check", "camvid_x", "--json"])
    assert answer.exit_code == code
    assert json.loads(answer.stdout)["exit_code"] == code


# --- against a revision -----------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Any:
    """A committed record with its matrices in DVC's cache, as after `dvc repro`."""
    project = a_project(tmp_path)
    measure(project, wrong=[0.1] * 12)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "before")
    return project


def measure(project: Any, *, wrong: Sequence[float], seed: int = 0, **changes: Any) -> float:
    """A record and its matrices with these shares of wrong pixels an image, in DVC's cache; the mIoU."""
    sizes = project.params.read_text().replace("test: 233", f"test: {len(wrong)}")
    project.params.write_text(sizes)
    record = a_record(n_images=len(wrong), **changes)
    stored = add(project, record, confusions={"": confusions_of(wrong, seed)})
    lock(project, record.experiment)
    return stored.metrics["mIoU"]


def confusions_of(wrong: Sequence[float], seed: int = 0) -> Confusions:
    """Of images with the first two of CamVid's classes, and these shares of their pixels exchanged."""
    generator, found = np.random.default_rng(seed), []
    for share in wrong:
        truth = generator.integers(0, 2, (20, 50), dtype=np.uint8)
        flips = generator.random(truth.shape) < share
        found.append(squeeze(count(truth, np.where(flips, 1 - truth, truth).astype(np.uint8), classes=11)))
    return collect(found, classes=11)


def lock(project: Any, name: str) -> None:
    """dvc.lock of an experiment's files as they are, the matrices in DVC's cache, and what git leaves out."""
    folder, lines = project.experiments / name, ["stages:", "  evaluate:", "    outs:"]
    for path in sorted(folder.iterdir()):
        if path.suffix in (".npz", ".json", ".csv"):
            md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            lines += [f"    - path: {path.name}", "      hash: md5", f"      md5: {md5}"]
            if path.suffix == ".npz":
                cached = project.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
                cached.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, cached)
    (folder / "dvc.lock").write_text("\n".join(lines) + "\n")
    (project.root / ".gitignore").write_text("/.dvc/cache\nconfusion.npz\n")


def compare(project: Any) -> gate.Finding:
    (found,) = compare_revision.compare(load_results(project), "HEAD", ["camvid_x"])
    return found


def test_no_change_holds(repository: Any) -> None:
    found = compare(repository)
    assert found.passes, found.reason
    assert found.difference == 0


def test_a_large_significant_drop_fails(repository: Any) -> None:
    measure(repository, wrong=[0.2] * 12)
    found = compare(repository)
    assert found.verdict == "regressed"
    assert "interval of the difference -" in found.reason


def test_a_large_drop_within_the_noise_of_images_holds(repository: Any) -> None:
    """Half of the images gain what the other half loses, and a little more is lost."""
    before = measure(repository, wrong=[0.02, 0.3] * 6)
    git(repository.root, "commit", "-q", "-a", "-m", "noisy")
    after = measure(repository, wrong=[0.3, 0.05] * 6)
    assert before - after > 1.6, "larger than the band"
    found = compare(repository)
    assert found.passes, found.reason
    assert "interval of the difference -" in found.reason


@pytest.mark.parametrize("planted", [-2.0, -30.0])
def test_a_number_that_its_matrices_do_not_give_does_not_pass(repository: Any, planted: float) -> None:
    """Equal matrices would call any number of the record reproduced."""
    record = load_results(repository).records["camvid_x"]
    forged = {**record.metrics, "mIoU": record.metrics["mIoU"] + planted}
    write_record(repository.record("camvid_x"), replace(record, metrics=forged))
    found = compare(repository)
    assert found.verdict == "incomparable"
    assert found.reason == "the metrics of the record and of metrics.json differ"


def test_a_small_drop_needs_no_matrices(repository: Any) -> None:
    before = load_results(repository).records["camvid_x"].metrics["mIoU"]
    assert before - 1 < measure(repository, wrong=[0.103] * 12) < before
    for path in (repository.root / ".dvc" / "cache").rglob("*"):
        if path.is_file():
            path.unlink()
    found = compare(repository)
    assert (found.passes, found.reason) == (True, "within the band of HEAD")


def test_a_large_drop_without_matrices_does_not_pass(repository: Any) -> None:
    measure(repository, wrong=[0.2] * 12)
    for path in (repository.root / ".dvc" / "cache").rglob("*"):
        if path.is_file():
            path.unlink()
    found = compare(repository)
    assert found.verdict == "incomparable"
    assert "not in DVC's cache" in found.reason


@pytest.mark.parametrize(
    "change",
    [{"protocol_hash": "f" * 12}, {"dataset_fingerprint": "cd" * 32}, {"split": "val"}, {"kind": "smoke"}],
)
def test_another_protocol_or_data_is_never_compared(repository: Any, change: dict[str, Any]) -> None:
    measure(repository, wrong=[0.01] * 12)
    assert compare(repository).passes
    stored = load_results(repository).records["camvid_x"]
    write_record(repository.record("camvid_x"), replace(stored, **change))
    assert compare(repository).verdict == "incomparable"


def test_other_data_than_before_is_never_compared(repository: Any) -> None:
    """Everything in this tree agrees: only the revision shows that it was other data."""
    add(repository, a_record(metrics={"mIoU": 99.0}, n_images=12, dataset_fingerprint="cd" * 32))
    assert gate.finding(load_results(repository), "camvid_x").passes
    found = compare(repository)
    assert (found.verdict, found.reason) == ("incomparable", "dataset_fingerprint differs from HEAD")


def test_other_images_are_never_compared(repository: Any) -> None:
    """What is recorded here was measured on the 24 images that the split has by now."""
    repository.params.write_text(repository.params.read_text().replace("test: 12", "test: 24"))
    add(repository, a_record(metrics={"mIoU": 99.0}, n_images=24))
    found = compare(repository)
    assert (found.verdict, found.reason) == ("incomparable", "n_images differs from HEAD")


@pytest.mark.parametrize(
    "change",
    [
        {"n_images": 24, "verdict": "incomparable", "notes": ("24 images were counted, the split has 233",)},
        {"n_images": 24},
        {"published": {"mIoU": 60.0}},
        {"verdict": "incomparable", "notes": ("recorded with a doubt",)},
    ],
)
@pytest.mark.parametrize("gain", [0.0, 5.0])
def test_what_the_gate_doubts_passes_against_no_revision(
    repository: Any, change: dict[str, Any], gain: float
) -> None:
    """A result that must not be compared with its row must not be compared with an earlier one either."""
    before = load_results(repository).records["camvid_x"].metrics["mIoU"]
    add(repository, a_record(metrics={"mIoU": before + gain}, **change))
    (alone,) = gate.check(load_results(repository))
    assert (alone.verdict, compare(repository).verdict) == ("incomparable", "incomparable")


def test_params_that_changed_since_are_compared_with_no_revision(repository: Any) -> None:
    path = repository.experiments / "camvid_x" / "params.yaml"
    path.write_text(path.read_text().replace("lr: 0.03", "lr: 0.3"))
    assert compare(repository).reason.startswith("params changed since it was measured (training)")


def test_what_check_fails_passes_against_no_revision(tmp_path: Path) -> None:
    """Nothing is expected of it, so an equal number at a revision is no reference either."""
    own = a_record(row=None, expectation=None, verdict="incomparable")
    project = a_project(tmp_path, own)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "before")
    assert compare(project).verdict == "incomparable"
    add(project, replace(own, metrics={"mIoU": 55.0}))
    assert compare(project).verdict == "incomparable"


def test_a_wider_band_excuses_no_regression_of_a_revision(tmp_path: Path) -> None:
    record = a_record(metrics={"mIoU": 49.0})
    made_with = {"locks": {"params.yaml": sha256_file(PROJECT.params)}}
    project = a_project(tmp_path, replace(record, provenance=record.provenance | made_with))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "before")
    text = project.params.read_text()
    project.params.write_text(text.replace("camvid: {value: 0.8", "camvid: {value: 2.0"))
    (alone,) = gate.check(load_results(project))
    against = compare(project)
    assert (alone.verdict, against.verdict) == ("reproduced", "regressed")
    assert "what is expected was changed since HEAD" in against.reason
    git(tmp_path, "commit", "-q", "-a", "-m", "a wider band that was merged")
    assert compare(project).verdict == "reproduced"


@pytest.mark.parametrize("row", ["003-028", None])
def test_a_committed_regression_passes_against_no_revision(tmp_path: Path, row: str | None) -> None:
    project = a_project(tmp_path, a_record(row=row, metrics={"mIoU": 6.94}))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "a regression that was merged")
    found = compare(project)
    assert found.verdict == ("regressed" if row else "drifted")
    assert (found.measured, found.reference) == (6.94, 50.0)


@pytest.mark.parametrize("name", ["camvid_é", "camvid x", "camvid_x"])
@pytest.mark.parametrize("folder", [".", "inner/project"])
def test_every_record_of_a_revision_is_found(tmp_path: Path, folder: str, name: str) -> None:
    """Also in a project that is a folder of a repository, and with a name that git would quote."""
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    project = a_project(tmp_path / folder, a_record(name))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "before")
    (found,) = compare_revision.compare(load_results(project), "HEAD", [name])
    assert found.verdict == "reproduced"
    project.record(name).unlink()
    (found,) = compare_revision.compare(load_results(project), "HEAD", [])
    assert (found.experiment, found.verdict) == (name, "incomparable")


def test_matrices_are_found_in_a_folder_of_a_repository(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    project = a_project(tmp_path / "inner", a_record())
    measure(project, wrong=[0.1] * 12)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "before")
    measure(project, wrong=[0.2] * 12)
    found = compare(project)
    assert found.verdict == "regressed"
    assert "interval of the difference -" in found.reason


def test_without_git_there_is_an_error_that_says_so(repository: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository.root))
    with pytest.raises(ReproError, match="git is not installed"):
        compare(repository)


def test_a_deleted_record_does_not_pass_and_a_new_one_is_judged_by_its_row(repository: Any) -> None:
    (repository.rows / "camvid_x.json").unlink()
    add(repository, a_record("camvid_new", row="003-029", metrics={"mIoU": 10.0}, n_images=12))
    found = compare_revision.compare(load_results(repository), "HEAD", ["camvid_new"])
    assert {f.experiment: f.verdict for f in found} == {"camvid_new": "regressed", "camvid_x": "incomparable"}


def test_an_improvement_passes(repository: Any) -> None:
    measure(repository, wrong=[0.05] * 12)
    assert compare(repository).verdict == "improved"


def test_a_damaged_old_record_does_not_pass(repository: Any) -> None:
    path = repository.rows / "camvid_x.json"
    raw = to_json(a_record())
    write_json(path, raw | {"n_images": 1})
    git(repository.root, "commit", "-q", "-a", "-m", "edited by hand")
    add(repository, a_record())
    assert compare(repository).verdict == "incomparable"


def test_an_unknown_revision_is_an_error(repository: Any) -> None:
    with pytest.raises(ReproError, match="'nowhere' is no git revision"):
        compare_revision.compare(load_results(repository), "nowhere", [])
