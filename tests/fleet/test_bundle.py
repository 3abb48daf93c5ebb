"""Runs that travel, runs made again, and what a terminal shows of them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import random
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from typer.testing import CliRunner

from repro.checkpoints import save_model
from repro.cli.app import app
from repro.cli.results.show import sparkline
from repro.errors import ParamsError, RecordError, ReproError, StorageError
from repro.evaluation.confusion import Confusions
from repro.fleet.bundle import export_run, import_run
from repro.fleet.check_bundle import allowed, difference, verify_bundle
from repro.fleet.replay import compare_metrics, expected_here, first_divergence, replay, run_stage
from repro.fleet.workspace import garbage, remove, size_of
from repro.params import Project, load_experiment, to_plain
from repro.records import Journal, read_record, sha256_file, source_diff, to_json, write_record
from repro.records.build import expected, training_key
from repro.records.record import Expected, Measured
from repro.tracking.mirror import Mirror
from repro.tracking.run_info import Run
from tests.kit import copy_pages
from tests.reports.kit import a_record, write_files

ROOT = Path(__file__).parents[2]
NAME = "synthetic_mobilenetv2_os16"
INPUTS = {"training_fingerprint": "ef" * 32, "initial_sha256": ""}
KEY = training_key(load_experiment(Project(ROOT), NAME), INPUTS["training_fingerprint"], initial_sha256="")


def checkout(root: Path) -> Project:
    """The real params.yaml and one experiment of it."""
    folder = root / "experiments" / NAME
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", root / "params.yaml")
    copy_pages(root)
    shutil.copy(ROOT / "experiments" / NAME / "params.yaml", folder / "params.yaml")
    (root / "reports" / "rows").mkdir(parents=True)
    return Project(root)


def finish(project: Project, losses: Sequence[float] = (3.0, 2.0, 1.0), images: int = 48) -> None:
    """Outputs, journal and record of a sound run, as its stages would leave them."""
    folder, experiment = project.experiment_folder(NAME), load_experiment(project, NAME)
    save_model(project.weights(NAME), {"a": torch.zeros(3)}, {"experiment": NAME, "run_key": KEY})
    (folder / "overlays").mkdir(exist_ok=True)
    (folder / "overlays" / "0.png").write_bytes(b"picture")
    path = project.journal(KEY)
    run = Run(name=NAME, dataset="synthetic", run_key=KEY)
    with Journal(path) as journal, Mirror(project, path, run=run, live=False):
        for step, loss in enumerate(losses):
            journal.metrics({"train/loss": loss}, step=step)
    record = a_record(NAME, row=None, dataset="synthetic", n_images=images, run_key=KEY)
    record = replace(
        record,
        params=to_plain(experiment),
        expectation=expected(project, experiment, "trained", {}),
        model_sha256=sha256_file(project.weights(NAME)),
        provenance=record.provenance | {"inputs": INPUTS},
    )
    matrices = confusions(images, experiment.facts.classes)
    record = write_files(folder, project, record, dict.fromkeys(experiment.protocol.variants(), matrices))
    change_json(folder / "metrics.json", model_sha256=record.model_sha256)


def confusions(images: int, classes: int) -> Confusions:
    """Of every image 1000 pixels of the first class, 46.3 or 54.3 % of them found: a mIoU of 50.3."""
    found = np.where(np.arange(images) % 2, 463, 543)
    return Confusions(
        images=images,
        classes=classes,
        image=np.repeat(np.arange(images, dtype=np.int32), 2),
        cell=np.tile(np.array([0, classes], np.int32), images),
        pixels=np.stack([found, 1000 - found], 1).reshape(-1).astype(np.int64),
    )


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A checkout with a finished run."""
    made = checkout(tmp_path / "here")
    finish(made)
    return made


def outputs(project: Project) -> dict[str, bytes]:
    folders = (project.experiments / NAME, project.rows, project.work / KEY)
    found = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    files = (path for path in found if path.name != ".lock")  # an empty lock file does not count
    return {str(path.relative_to(project.root)): path.read_bytes() for path in files}


@pytest.mark.parametrize("year", [1975, 2150])
def test_a_clock_that_no_zip_can_hold(
    year: int, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal runs give equal files, whatever the clock and the dates of the files."""
    export_run(project, NAME, tmp_path / "now.zip")
    then = (year - 1970) * 365 * 86_400
    for path in (path for path in project.root.rglob("*") if path.is_file()):
        os.utime(path, (then, then))
    monkeypatch.setattr(time, "time", lambda: float(then))
    monkeypatch.setattr(time, "localtime", lambda seconds=then: time.gmtime(seconds))
    export_run(project, NAME, tmp_path / "then.zip")
    assert (tmp_path / "then.zip").read_bytes() == (tmp_path / "now.zip").read_bytes()
    assert verify_bundle(project, tmp_path / "then.zip").record.experiment == NAME


# --- export and import --------------------------------------------------------------------------------------


def test_a_run_arrives_as_it_left(project: Project, tmp_path: Path) -> None:
    diff, record = project.work / KEY / "source.diff", read_record(project.record(NAME))
    diff.write_text("what was not committed")
    named = {"git": {**(record.provenance.get("git") or {}), "diff_sha256": sha256_file(diff)}}
    write_record(project.record(NAME), replace(record, provenance={**record.provenance, **named}))
    bundle = export_run(project, NAME, tmp_path / "run.zip")
    assert "ro-crate-metadata.json" in bundle.members, "it describes the others, and is not imported"
    home = checkout(tmp_path / "home")
    record = import_run(home, bundle.path)
    assert record == read_record(project.record(NAME))
    assert outputs(home) == outputs(project)
    assert not (home.root / ".repro" / "import" / NAME).exists()


def test_results_under_further_protocols_travel_too(project: Project, tmp_path: Path) -> None:
    home, other = checkout(tmp_path / "home"), checkout(tmp_path / "other")
    under = other.params_of(NAME)
    under.write_text(under.read_text().replace("protocol: whole", "protocol: page000"))
    finish(other)
    for one in (project, home):
        with one.params_of(NAME).open("a") as file:
            file.write("also: [page000]\n")
    folder = project.experiment_folder(NAME) / "also" / "page000"
    (folder / "overlays").mkdir(parents=True)
    for name in ("metrics.json", "confusion.npz", "confusion.csv", "overlays/0.png"):
        shutil.copy(other.experiment_folder(NAME) / name, folder / name)
    measured = read_record(other.record(NAME))
    also = {"page000": Measured(**{key: getattr(measured, key) for key in Measured.__dataclass_fields__})}
    params = to_plain(load_experiment(project, NAME))
    write_record(project.record(NAME), replace(read_record(project.record(NAME)), also=also, params=params))
    bundle = export_run(project, NAME, tmp_path / "run.zip")
    import_run(home, bundle.path)
    assert outputs(home) == outputs(project)
    assert any("also/page000/overlays/0.png" in name for name in outputs(home))


def test_a_second_import_replaces_everything(project: Project, tmp_path: Path) -> None:
    bundle = export_run(project, NAME, tmp_path / "run.zip")
    home = checkout(tmp_path / "home")
    finish(home, losses=(9.0,))
    (home.experiments / NAME / "overlays" / "old.png").write_bytes(b"old")
    import_run(home, bundle.path)
    assert outputs(home) == outputs(project)


def test_what_the_file_does_not_hold_is_not_left_from_before(project: Project, tmp_path: Path) -> None:
    folder = project.experiments / NAME
    shutil.rmtree(folder / "overlays")
    (folder / "confusion.csv").unlink()
    bundle = export_run(project, NAME, tmp_path / "run.zip")
    home = checkout(tmp_path / "home")
    finish(home)
    (home.work / KEY / "source.diff").write_text("of an earlier training")
    import_run(home, bundle.path)
    assert outputs(home) == outputs(project)


def test_a_running_training_keeps_its_journal(project: Project, tmp_path: Path) -> None:
    bundle = export_run(project, NAME, tmp_path / "run.zip")
    home = checkout(tmp_path / "home")
    finish(home, losses=(9.0,))
    before = outputs(home)
    with FileLock(home.work / KEY / ".lock"), pytest.raises(StorageError, match="is running here"):
        import_run(home, bundle.path)
    assert outputs(home) == before


def a_split(project: Project, fingerprint: str) -> None:
    """A prepared test split with only what identifies its data."""
    path = project.prepared / "synthetic" / "test.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("index.csv", "id,image,label,height,width\n")
        facts = {"fingerprint": fingerprint, "classes": [], "palette": []}
        archive.writestr("fingerprint.json", json.dumps(facts))


@pytest.mark.parametrize("same", [True, False])
def test_a_run_on_other_data_than_here_is_refused(project: Project, tmp_path: Path, same: bool) -> None:
    bundle = export_run(project, NAME, tmp_path / "run.zip")
    home = checkout(tmp_path / "home")
    a_split(home, bundle.record.dataset_fingerprint if same else "0" * 64)
    before = outputs(home)
    if same:
        import_run(home, bundle.path)
        return
    with pytest.raises(RecordError, match="measured on different data"):
        import_run(home, bundle.path)
    assert outputs(home) == before


@pytest.mark.parametrize("name", ["model.safetensors", "metrics.json"])
def test_what_was_made_again_since_its_record_cannot_be_exported(
    project: Project, tmp_path: Path, name: str
) -> None:
    path = project.experiments / NAME / name
    path.write_bytes(path.read_bytes().replace(b"50.3", b"51.3").replace(b"F32", b"I32"))
    with pytest.raises(RecordError, match=r"differ|the weights are") as found:
        export_run(project, NAME, tmp_path / "run.zip")
    assert f"repro record {NAME}" in str(found.value)
    assert list(tmp_path.glob("*.zip")) == []


def test_where_an_export_goes(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    os.utime(project.experiments / NAME / "cost.json", (0, 0))  # a zip knows no time before 1980
    assert CliRunner().invoke(app, ["bundle", "export", NAME, "--out", str(tmp_path)]).exit_code == 0
    assert verify_bundle(project, tmp_path / f"{NAME}.repro.zip").record.experiment == NAME
    absent = CliRunner().invoke(app, ["bundle", "export", NAME, "--out", str(tmp_path / "no" / "run.zip")])
    assert isinstance(absent.exception, StorageError)
    ignored = subprocess.run(["git", "check-ignore", "-q", f"{NAME}.repro.zip"], cwd=ROOT, check=False)
    assert ignored.returncode == 0, "it would be provenance of every later record"


def test_an_unfinished_run_cannot_be_exported(project: Project, tmp_path: Path) -> None:
    (project.experiments / NAME / "cost.json").unlink()
    with pytest.raises(RecordError, match=r"cost\.json is missing"):
        export_run(project, NAME, tmp_path / "run.zip")
    assert list(tmp_path.glob("*.zip")) == []


def _rewrite(path: Path, changes: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (content | changes).items():
            archive.writestr(name, data)


def forge(path: Path, changes: dict[str, bytes], *, without: Sequence[str] = ()) -> None:
    """Change members, and the manifest with them: every sha256 is right."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name not in ("manifest.json", *without)]
        members = {name: archive.read(name) for name in names} | changes
    files = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", json.dumps({"name": NAME, "files": files}))
        for name, data in members.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("name", ["model.safetensors", "metrics.json"])
def test_a_file_with_other_results_than_its_record_is_refused(
    project: Project, tmp_path: Path, name: str
) -> None:
    path = export_run(project, NAME, tmp_path / "run.zip").path
    forge(path, {name: b"{}"})
    with pytest.raises(RecordError, match=r"differ|not a complete safetensors file"):
        verify_bundle(project, path)


@pytest.mark.parametrize("name", ["model.safetensors", "metrics.json", "cost.json", "confusion.npz"])
def test_a_file_without_a_result_is_refused(project: Project, tmp_path: Path, name: str) -> None:
    path = export_run(project, NAME, tmp_path / "run.zip").path
    forge(path, {}, without=[name])
    with pytest.raises(RecordError, match=f"{name} is missing"):
        verify_bundle(project, path)


@pytest.mark.parametrize("key", ["{tmp}/evil", "../evil", "0011223344556677/..", "ABCDEF0123456789"])
def test_a_run_key_names_no_other_folder(project: Project, tmp_path: Path, key: str) -> None:
    path = export_run(project, NAME, tmp_path / "run.zip").path
    record = replace(read_record(project.record(NAME)), run_key=key.format(tmp=tmp_path))
    forge(path, {"record.json": json.dumps(to_json(record)).encode()})
    home = checkout(tmp_path / "home")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RecordError, match=r"run.key"):
        import_run(home, path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("member", "content"),
    [
        *(
            ("manifest.json", text)
            for text in ("[1]", "null", '{"files": ["record.json"]}', '{"files": null}')
        ),
        *(("record.json", text) for text in ("[]", "null", "1", '{"schema": 1, "x": NaN}')),
        ("metrics.json", '{"mIoU_low": 1}'),
    ],
)
def test_what_is_not_an_exported_run_is_said_plainly(
    project: Project, tmp_path: Path, member: str, content: str
) -> None:
    path = export_run(project, NAME, tmp_path / "run.zip").path
    change = _rewrite if member == "manifest.json" else forge
    change(path, {member: content.encode()})
    with pytest.raises(
        RecordError, match=r"not an exported run|not a record|cannot be read|files are invalid"
    ):
        verify_bundle(project, path)


def test_damage_anywhere_is_a_clear_error(project: Project, tmp_path: Path) -> None:
    lines = "".join(f"road,sky,{number * 7919 % 1000}\n" for number in range(2000))
    (project.experiments / NAME / "overlays" / "0.png").write_text(lines)  # so that some of it is compressed
    path = export_run(project, NAME, tmp_path / "run.zip").path
    data, chosen = path.read_bytes(), random.Random(0)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
        path.write_bytes(damaged)
        with suppress(ReproError):  # some bits say nothing: times, attributes
            verify_bundle(project, path)


@pytest.mark.parametrize("name", ["model.safetensors", "metrics.json", "overlays/0.png", "journal.jsonl"])
def test_a_changed_member_is_found_and_nothing_is_written(
    project: Project, tmp_path: Path, name: str
) -> None:
    bundle = export_run(project, NAME, tmp_path / "run.zip")
    _rewrite(bundle.path, {name: b"something else"})
    home = checkout(tmp_path / "home")
    before = outputs(home)
    with pytest.raises(RecordError, match=f"'{name}' is corrupt"):
        import_run(home, bundle.path)
    assert outputs(home) == before


def test_a_cut_off_file_is_found(project: Project, tmp_path: Path) -> None:
    path = export_run(project, NAME, tmp_path / "run.zip").path
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RecordError, match="not an exported run"):
        verify_bundle(project, path)
    with pytest.raises(RecordError, match="no such file"):
        verify_bundle(project, tmp_path / "absent.zip")


@pytest.mark.parametrize(
    "member",
    [
        *("../evil", "/etc/passwd", "overlays/../../x.png", "params.yaml", "overlays/a/b.png", "dvc.yaml"),
        *("also/../metrics.json", "also/x/../../metrics.json", "also/x/dvc.yaml", "also/metrics.json"),
        *("also/x/journal.jsonl", "also/x/overlays/../a.png"),
    ],
)
def test_members_cannot_leave_the_folder(project: Project, tmp_path: Path, member: str) -> None:
    assert not allowed(member)
    path = export_run(project, NAME, tmp_path / "run.zip").path
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    manifest["files"][member] = "0" * 64
    _rewrite(path, {"manifest.json": json.dumps(manifest).encode(), member: b"x"})
    with pytest.raises(RecordError, match="the file holds"):
        verify_bundle(project, path)


def test_other_parameters_are_named(project: Project, tmp_path: Path) -> None:
    path = export_run(project, NAME, tmp_path / "run.zip").path
    home = checkout(tmp_path / "home")
    params = home.experiments / NAME / "params.yaml"
    params.write_text(re.sub(r"lr: [\d.]+", "lr: 0.01", params.read_text()))
    there = load_experiment(project, NAME).training.lr
    with pytest.raises(RecordError, match=rf"training\.lr: 0\.01 here, {there} there"):
        import_run(home, path)


def test_difference_names_every_key() -> None:
    here, there = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 1, "c": 4}, "e": 5}
    assert list(difference(here, there)) == [
        "a.c: 2 here, 4 there",
        "d: 3 here, None there",
        "e: None here, 5 there",
    ]


# --- replay -------------------------------------------------------------------------------------------------


def _git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.check_output(["git", *identity, *arguments], cwd=root, text=True)


@pytest.fixture
def committed(project: Project) -> Project:
    """The checkout in git, its run made by code that was edited after the commit."""
    (project.root / ".gitignore").write_text(".repro/\ndata\nprepared\nmodel.safetensors\n")
    (project.root / "repro").mkdir()
    (project.root / "repro" / "code.py").write_text("first\n")
    (project.prepared / "synthetic").mkdir(parents=True)
    (project.prepared / "synthetic" / "split.zip").write_text("data")
    _git(project.root, "init", "-q")
    _git(project.root, "add", ".")
    _git(project.root, "commit", "-qm", "first")
    (project.root / "repro" / "code.py").write_text("second\n")
    finish(project)
    record = read_record(project.record(NAME))
    entries = [json.loads(line) for line in project.journal(KEY).read_text().splitlines()]
    training = [entry["found"] for entry in entries if entry["kind"] == "provenance"][-1]
    record = replace(record, provenance={"git": training["git"], "training": training})
    write_record(project.record(NAME), record)
    return project


def test_a_replay_runs_the_recorded_code_on_the_same_data(committed: Project) -> None:
    seen: list[tuple[str, str, str]] = []
    metrics = dict(read_record(committed.record(NAME)).metrics)
    assert source_diff(committed.root)
    (committed.root / "repro" / "code.py").write_text("third\n")  # edited since: the replay must not see it

    def run(tree: Path, arguments: Sequence[str]) -> None:
        code, data = (
            (tree / "repro" / "code.py").read_text(),
            (tree / "prepared/synthetic/split.zip").read_text(),
        )
        seen.append((arguments[0], code, data))
        folder = tree / "experiments" / NAME
        assert not (folder / "metrics.json").exists()
        if arguments[0] == "evaluate":
            shutil.copy(committed.experiments / NAME / "model.safetensors", folder)
            (folder / "metrics.json").write_text(json.dumps(metrics | {"mIoU": 50.5}))
            finish_journal(Project(tree), (3.0, 2.0, 1.5))

    found = {one.output: one for one in replay(committed, NAME, run=run)}
    assert seen == [("train", "second\n", "data"), ("evaluate", "second\n", "data")]
    assert found["model.safetensors"].outcome == "bit-equal"
    assert found["metrics.json"].outcome == "inside tolerance"
    assert "mIoU differs by 0.2000" in found["metrics.json"].detail
    assert (found["journal"].outcome, found["journal"].detail) == (
        "different",
        "first at step 2: 1.0 then 1.5",
    )
    assert len(_git(committed.root, "worktree", "list").splitlines()) == 1  # the replay's is gone
    assert (committed.root / "repro" / "code.py").read_text() == "third\n"


def finish_journal(project: Project, losses: Sequence[float]) -> None:
    with Journal(project.journal(KEY)) as journal:
        for step, loss in enumerate(losses):
            journal.metrics({"train/loss": loss}, step=step)


@pytest.mark.parametrize("is_worktree", [True, False])
def test_what_an_ended_replay_left_is_not_an_obstacle(committed: Project, is_worktree: bool) -> None:
    tree = committed.root / ".repro" / "replay" / NAME
    if is_worktree:
        _git(committed.root, "worktree", "add", "--detach", str(tree))
    tree.mkdir(parents=True, exist_ok=True)
    (tree / "left").write_text("over")
    (tree / "data").symlink_to(committed.prepared)
    replay(committed, NAME, run=lambda tree, arguments: None)
    assert not tree.exists()
    assert (committed.prepared / "synthetic" / "split.zip").is_file()


def test_a_replay_prepares_data_that_is_not_prepared_here(committed: Project) -> None:
    shutil.rmtree(committed.prepared)
    seen: list[Sequence[str]] = []
    replay(committed, NAME, run=lambda tree, arguments: seen.append(arguments))
    assert seen == [["prepare", "synthetic"], ["train", NAME], ["evaluate", NAME]]
    assert not committed.prepared.exists()


def test_what_the_replayed_commands_print_is_not_the_answer(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`repro replay --json` is one document, so theirs goes to standard error."""
    (tmp_path / "repro").mkdir()
    (tmp_path / "repro" / "__main__.py").write_text("import sys; print('trained', sys.argv[1:])")
    run_stage(tmp_path, ["train", "x"])
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "trained ['train', 'x']\n")


def test_uncommitted_code_without_its_difference_is_refused(committed: Project) -> None:
    (committed.work / KEY / "source.diff").unlink()
    with pytest.raises(ReproError, match="the code was not committed"):
        replay(committed, NAME, run=lambda tree, arguments: None)


def test_metrics_outside_the_band_are_different(project: Project, tmp_path: Path) -> None:
    record = read_record(project.record(NAME))
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(dict(record.metrics) | {"mIoU": 60.0}))
    assert compare_metrics(record, path).outcome == "different"
    path.write_text(json.dumps(dict(record.metrics)))
    assert compare_metrics(record, path).outcome == "bit-equal"
    assert compare_metrics(record, tmp_path / "none").outcome == "missing"


def test_journals_of_different_length_part_at_the_missing_step() -> None:
    found = first_divergence({0: 1.0, 1: 0.5}, {0: 1.0})
    assert found.detail == "first at step 1: 0.5 then None"
    assert first_divergence({}, {0: 1.0}).outcome == "missing"


# --- terminal -----------------------------------------------------------------------------------------------


def test_show_reports_result_and_course(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    shown = CliRunner().invoke(app, ["show", NAME])
    assert shown.exit_code == 0, shown.output
    for text in (
        "verdict  holds",
        "50.30  (49.13 to 51.47)",
        "FINISHED, iteration 2",
        "█▅▁",
        "mobilenetv2",
    ):
        assert text in shown.output
    assert "training.momentum" not in shown.output, "at its default"
    assert "training.momentum" in CliRunner().invoke(app, ["show", NAME, "--all"]).output
    plain = json.loads(CliRunner().invoke(app, ["show", NAME, "--json"]).output)
    assert plain["record"]["metrics"]["mIoU"] == 50.3
    assert plain["experiment"]["model"]["backbone"] == "mobilenetv2"
    assert plain["runs"][0]["losses"] == [3.0, 2.0, 1.0]


def test_logs_follow_until_the_end(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    shown = CliRunner().invoke(app, ["logs", NAME, "-f", "-n", "3"])
    assert shown.exit_code == 0
    assert [line.split()[1] for line in shown.output.splitlines()] == ["1", "2", "end"]
    assert "train/loss 2" in shown.output
    lines = CliRunner().invoke(app, ["logs", NAME, "-n", "0", "--json"]).output.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["run", "provenance", *["metrics"] * 3, "end"]


def test_logs_of_a_run_that_never_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout(tmp_path / "new").root)
    found = CliRunner().invoke(app, ["logs", NAME])
    assert isinstance(found.exception, ReproError)
    assert "repro train" in str(found.exception)
    assert "none exist yet" in str(found.exception)


def test_logs_name_the_experiments_that_ran_here(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    shutil.copytree(project.experiments / NAME, project.experiments / "camvid_other")
    found = CliRunner().invoke(app, ["logs", "camvid_other"])
    assert isinstance(found.exception, ReproError)
    assert found.exception.what == "camvid_other has no run on this machine"
    assert found.exception.allowed == NAME
    assert found.exception.hint == "`repro train camvid_other` starts one"


def test_a_shell_completes_commands_and_experiments(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)

    def completed(words: str) -> list[str]:
        position = str(len(words.split(" ")) - 1)
        asked = {"_REPRO_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": position}
        return CliRunner().invoke(app, [], env=asked, prog_name="repro").output.split()

    assert completed("repro weights pro") == ["promote"]
    assert completed("repro show synth") == [NAME]
    assert completed("repro show nothing") == []
    monkeypatch.chdir("/")
    assert completed("repro show synth") == []


def test_sparklines() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, 5]) == "▁▁"
    assert sparkline([]) == ""


def test_gc_shows_first_and_keeps_what_is_needed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    target = project.root / "data"
    target.mkdir()
    (target / "precious").touch()
    smoke = project.root / ".repro" / "smoke" / NAME
    smoke.mkdir(parents=True)
    (smoke / "data").symlink_to(target)
    stopped = project.work / "stopped"
    with Journal(stopped / "journal.jsonl") as journal:
        journal.event("run", run=vars(Run(name="x", dataset="d", run_key="stopped")), pid=1 << 22, host="")
    (stopped / "step-000000001-0123456789abcdef.ckpt").write_bytes(b"0" * 1000)
    assert list(garbage(project, older_than=3600)) == []
    _make_old(project.root / ".repro")
    found = dict(garbage(project, older_than=3600))
    assert found[project.work / KEY].startswith("recorded")
    assert stopped not in found  # its process may live on the machine called ""
    before = outputs(project)
    assert CliRunner().invoke(app, ["gc"]).exit_code == 0
    assert outputs(project) == before
    shown = CliRunner().invoke(app, ["gc", "--yes", "--json"])
    assert {Path(one["path"]).name for one in json.loads(shown.output)["found"]} == {KEY, NAME}
    assert not smoke.exists()
    assert (target / "precious").exists()
    assert (project.experiments / NAME / "model.safetensors").exists()


def test_gc_reports_a_repetition_that_can_be_resumed(project: Project) -> None:
    """Parameters that are recorded, trained again and stopped: not what the record came from."""
    path = project.journal(KEY)
    with Journal(path) as journal:
        journal.event(
            "run", run=vars(Run(name=NAME, dataset="synthetic", run_key=KEY)), pid=1, host=platform.node()
        )
        journal.metrics({"train/loss": 1.0}, step=38)
        journal.event("end", status="KILLED")
    (path.parent / "step-000000038-0123456789abcdef.ckpt").write_bytes(b"0")
    _make_old(project.root / ".repro")
    assert dict(garbage(project, older_than=3600))[path.parent] == "killed, can be resumed from iteration 38"


def test_gc_leaves_a_training_that_has_not_begun_to_write(project: Project) -> None:
    work = project.work / "begun"
    work.mkdir()
    with FileLock(work / ".lock"):
        assert work not in dict(garbage(project, older_than=0))
    assert work in dict(garbage(project, older_than=0))


def _make_old(folder: Path) -> None:
    long_ago = time.time() - 30 * 86400
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (long_ago, long_ago), follow_symlinks=False)


def test_sizes_do_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"0" * 1000)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "big")
    (folder / "small").write_bytes(b"0" * 10)
    assert size_of(folder) < 200
    remove(folder / "link")
    assert (tmp_path / "big").exists()


def test_a_replay_is_compared_with_the_number_expected_on_its_device(
    committed: Project, tmp_path: Path
) -> None:
    record = read_record(committed.record(NAME))
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(dict(record.metrics) | {"mIoU": 44.1}))
    here = Expected(metric="mIoU", value=44.0, band=0.5, source="this device")
    assert compare_metrics(record, path, record.expectation).outcome == "different"
    found = compare_metrics(record, path, here)
    assert found.outcome == "inside tolerance"
    assert found.detail.endswith("44 ± 0.5 is expected here")
    assert expected_here(committed, record) == record.expectation, "one number is for every device"
    several = [{"mIoU": 44.0, "band": 0.5, "source": "x", "device": name} for name in ("No such device", "*")]
    varied = replace(record, params=dict(record.params) | {"expect": several})
    assert expected_here(committed, varied) == replace(here, source="x")
    with pytest.raises(ParamsError, match="no expected number for this result"):
        expected_here(committed, replace(record, params=dict(record.params) | {"expect": several[:1]}))
