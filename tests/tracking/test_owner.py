"""Several clones and projects on one store: nobody's runs are touched but one's own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import ParamsError, StorageError
from repro.params import Project
from repro.records import write_record
from repro.tracking.owned_runs import Known, superseded
from repro.tracking.owner import owner_of
from repro.tracking.promote import promote
from repro.tracking.run_reader import stored_records
from repro.tracking.store import open_client
from repro.tracking.sync import sync
from repro.tracking.tags import CLONE, IN_GIT, JOURNAL, MACHINE, PARENT, PROJECT, RECORD, USER
from repro.tracking.tags import KEY as KEY_TAG
from tests.tracking.kit import KEY, WITH_MLFLOW, a_project, add_record, server, train

pytestmark = [*WITH_MLFLOW, pytest.mark.slow]


@pytest.fixture
def clones(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Project, Project]:
    """Two clones of one project that share a store."""
    shutil.copy(empty_database, tmp_path / "shared.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")
    return a_clone(tmp_path / "one"), a_clone(tmp_path / "two")


def a_clone(root: Path, name: str = "zoo-1") -> Project:
    project = a_project(root)
    project.params.write_text(f"tracking: {{project: {name}}}\n")
    return project


def active(project: Project) -> list[Any]:
    client = open_client(project)
    experiments = [found.experiment_id for found in client.search_experiments()]
    return list(client.search_runs(experiments))


def records_in(project: Project) -> list[str]:
    return sorted(run.data.tags[RECORD] for run in active(project) if RECORD in run.data.tags)


def measure(project: Project, weights: str, mIoU: float) -> str:
    """The same experiment and run key, with weights that differ in their last bits; the record's hash."""
    record = add_record(project, "camvid_a", key=KEY, mIoU=mIoU)
    return write_record(project.record("camvid_a"), replace(record, model_sha256=weights * 64)).content_hash


def settled(*projects: Project) -> bool:
    """Whether a sync anywhere finds nothing to do, in any order."""
    before = sorted((run.info.run_id, sorted(run.data.tags.items())) for run in active(projects[0]))
    reports = [sync(project) for project in (*projects, *reversed(projects))]
    after = sorted((run.info.run_id, sorted(run.data.tags.items())) for run in active(projects[0]))
    return before == after and not any(one.sent or one.failed or one.deleted for one in reports)


def test_a_run_names_its_owner(clones: tuple[Project, Project]) -> None:
    one, two = clones
    add_record(one, "camvid_a", key="a")
    sync(one)
    (run,) = active(one)
    assert run.data.tags[PROJECT] == "zoo-1"
    assert run.data.tags[CLONE] == owner_of(one).clone != owner_of(two).clone
    assert run.data.tags[MACHINE]
    assert run.data.tags[USER]


def test_a_record_that_two_clones_sent_at_once_is_in_once(
    clones: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither saw the other's run; the twin of what stays is deleted without a question."""
    one, two = clones
    for clone in clones:
        add_record(clone, "camvid_a", key="a")
        with monkeypatch.context() as blind:
            blind.setattr("repro.tracking.sync.superseded", lambda *_: [])
            blind.setattr("repro.tracking.owned_runs.Known.holding", lambda *_: [])
            blind.setattr("repro.tracking.record_upload.is_sent_by_another_clone", lambda *_: False)
            sync(clone)
    assert len(active(one)) == 2
    for clone in clones:
        sync(clone, confirm=lambda runs: pytest.fail(f"asked about {runs}"))
    assert len(active(one)) == 1
    assert settled(one, two)


@pytest.mark.parametrize(("ours", "other", "gone"), [("a", "b", False), ("b", "a", False), ("b", "a", True)])
def test_of_twins_the_one_with_the_curves_stays(ours: str, other: str, gone: bool, tmp_path: Path) -> None:
    """Else the next sync would send the journal again, as the run of another machine."""
    owner = owner_of(a_clone(tmp_path))
    tags = {KEY_TAG: KEY, RECORD: "same"}
    curves = {} if gone else {JOURNAL: "2:FINISHED:x"}
    runs = [
        SimpleNamespace(
            info=SimpleNamespace(run_id=run_id, status="FINISHED"), data=SimpleNamespace(tags=tags | more)
        )
        for run_id, more in ((ours, owner.tags | curves), (other, {}))
    ]
    assert superseded(Known(owner=owner, runs=tuple(runs)), [], []) == (runs[:1] if gone else [])


def test_a_rebuild_keeps_the_runs_of_another_clone(clones: tuple[Project, Project]) -> None:
    one, two = clones
    add_record(one, "camvid_a", key="a")
    add_record(two, "camvid_b", key="b")
    sync(one)
    sync(two)
    before = {run.info.run_name: run.info.run_id for run in active(one)}
    report = sync(two, rebuild=True)
    assert report.sent == ["camvid_b"]
    assert [text.partition(" ")[0] for text in report.deleted] == ["camvid_b"]
    after = {run.info.run_name: run.info.run_id for run in active(one)}
    assert after["camvid_a"] == before["camvid_a"]
    assert after["camvid_b"] != before["camvid_b"]
    assert settled(one, two)


def test_a_rebuild_sends_before_it_deletes(
    clones: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = clones
    add_record(two, "camvid_c", key="c")
    sync(two)  # a file of one clone alone would be rebuilt as a new file
    add_record(one, "camvid_a", key="a")
    add_record(one, "camvid_b", key="b")
    sync(one)
    before = {run.info.run_name: run.info.run_id for run in active(one)}

    def full(client: Any, project: Project, record: Any, run_id: str) -> None:
        if record.experiment == "camvid_b":
            raise OSError(28, "no space left on device")

    monkeypatch.setattr("repro.tracking.record_upload.send_files", full)
    report = sync(one, rebuild=True)
    assert report.failed.keys() == {"camvid_b"}
    assert before["camvid_b"] in [run.info.run_id for run in active(one)]
    assert before["camvid_a"] not in [run.info.run_id for run in active(one)]
    monkeypatch.undo()


def test_one_training_on_two_machines_is_two_runs_under_one_parent(clones: tuple[Project, Project]) -> None:
    one, two = clones
    first, second = measure(one, "1", 50.31), measure(two, "2", 50.32)
    assert sync(one).sent == ["camvid_a"]
    assert sync(two).sent == ["camvid_a"]
    assert records_in(one) == sorted([first, second])
    parents = {run.data.tags.get(PARENT) for run in active(one) if RECORD in run.data.tags}
    (parent,) = (run for run in active(one) if RECORD not in run.data.tags)
    assert parents == {parent.info.run_id}
    assert parent.info.status == "FINISHED"
    note = parent.data.tags["mlflow.note.content"]
    assert "50.31" in note
    assert "50.32" in note
    sync(one)  # the note says what is there by now
    assert settled(one, two)


def test_the_record_in_git_is_marked_among_the_runs(clones: tuple[Project, Project]) -> None:
    one, two = clones
    first, second = measure(one, "1", 50.31), measure(two, "2", 50.32)
    sync(one)
    sync(two)
    shutil.copy(two.record("camvid_a"), one.record("camvid_a"))  # git pull
    assert sync(one).sent == []
    marks = {run.data.tags[RECORD]: run.data.tags[IN_GIT] for run in active(one) if RECORD in run.data.tags}
    assert marks == {first: "no", second: "yes"}
    assert stored_records(one)["camvid_a"].content_hash == second
    sync(two)
    assert settled(one, two)


def test_a_new_word_on_the_same_weights_takes_the_place_of_the_own_run(
    clones: tuple[Project, Project],
) -> None:
    one, two = clones
    measure(one, "1", 50.31)
    sync(one)
    second = measure(two, "1", 50.32)  # the same weights, recorded again elsewhere
    sync(two)
    shutil.copy(two.record("camvid_a"), one.record("camvid_a"))
    asked: list[str] = []
    report = sync(one, confirm=lambda runs: bool(asked.append(runs[0])))
    assert report.deleted == []
    assert asked[0].startswith("camvid_a (")
    assert len(sync(one).deleted) == 1
    assert records_in(one) == [second]


def test_a_journal_of_another_clone_stays_beside_ones_own(clones: tuple[Project, Project]) -> None:
    for steps, project in enumerate(clones, start=2):
        train(project, steps=steps, live=False)
        sync(project)
    runs = [run for run in active(clones[0]) if run.data.tags.get("kind") != "machines"]
    assert {run.data.tags[CLONE] for run in runs} == {owner_of(project).clone for project in clones}
    sync(clones[0])
    assert settled(*clones)


def test_other_projects_are_neither_counted_nor_shown(
    clones: tuple[Project, Project], tmp_path: Path
) -> None:
    one, _ = clones
    other = a_clone(tmp_path / "other", "zoo-2")
    add_record(one, "camvid_a", key="a")
    add_record(other, "camvid_a", key="a", mIoU=10.0)
    for project in (one, other):
        assert sync(project).sent == ["camvid_a"]
    assert stored_records(one)["camvid_a"].metrics["mIoU"] == 50.3
    assert stored_records(other)["camvid_a"].metrics["mIoU"] == 10.0
    assert settled(one, other)


def test_an_alias_of_another_project_stays(clones: tuple[Project, Project], tmp_path: Path) -> None:
    one, _ = clones
    other = a_clone(tmp_path / "other", "zoo-2")
    promote(one, add_record(one, "camvid_a", key="a"))
    assert sync(other).failed == {}
    client = open_client(one)
    assert client.get_model_version_by_alias("deeplab-camvid", "champion")
    with pytest.raises(ParamsError, match="belongs to the project 'zoo-1'"):
        promote(other, add_record(other, "camvid_b", key="b"))


def test_experiments_and_models_can_have_a_prefix(
    clones: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = clones
    one.params.write_text("tracking: {project: zoo-1, prefix: team/}\n")
    promote(one, add_record(one, "camvid_a", key="a"))
    names = {found.name for found in open_client(one).search_experiments()}
    assert "team/camvid" in names
    assert open_client(one).get_model_version_by_alias("team-deeplab-camvid", "champion")
    monkeypatch.setenv("REPRO_MLFLOW_PREFIX", "mine-")
    add_record(one, "ade_a", key="c", dataset="ade20k")
    sync(one)
    assert "mine-ade20k" in {found.name for found in open_client(one).search_experiments()}


@pytest.mark.parametrize("block", ["[a]", "{prefix: [a]}", '{prefix: "a\'b"}', "{colour: red}", "3"])
def test_a_wrong_block_is_a_clear_error(block: str, tmp_path: Path) -> None:
    project = a_project(tmp_path)
    project.params.write_text(f"tracking: {block}\n")
    with pytest.raises(ParamsError) as caught:
        owner_of(project)
    assert "tracking" in str(caught.value.where)


def test_a_copied_clone_is_another_owner_and_a_moved_one_the_same(tmp_path: Path) -> None:
    first = owner_of(a_clone(tmp_path / "one")).clone
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    assert owner_of(Project(tmp_path / "copy")).clone != first
    shutil.move(tmp_path / "one", tmp_path / "moved")
    assert owner_of(Project(tmp_path / "moved")).clone == first


def test_runs_from_before_owners_are_ones_own_in_the_own_store_alone(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = a_clone(tmp_path)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    add_record(project, "camvid_a", key="a")
    sync(project)
    client, (run,) = open_client(project), active(project)
    for name in (PROJECT, CLONE, MACHINE, USER):
        client.delete_tag(run.info.run_id, name)
    assert sync(project).unchanged == ["camvid_a"]
    (run,) = active(project)
    assert run.data.tags[CLONE] == owner_of(project).clone
    for name in (PROJECT, CLONE):
        client.delete_tag(run.info.run_id, name)
    shutil.copy(tmp_path / "mlflow.db", tmp_path / "shared.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")  # as on a server
    assert sync(project).unchanged == ["camvid_a"]
    assert PROJECT not in active(project)[0].data.tags


def test_a_missing_library_is_named_before_anything_is_sent(clones: tuple[Project, Project]) -> None:
    one, _ = clones
    open_client(one).create_experiment("camvid", "gs://bucket/runs")
    add_record(one, "camvid_a", key="a")
    with pytest.raises(StorageError, match="needs `google-cloud-storage`") as caught:
        sync(one)
    assert "pip install google-cloud-storage" in str(caught.value)
    assert active(one) == []


def test_a_run_whose_files_cannot_be_sent_is_finished(
    clones: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise ConnectionError("no answer")

    one, _ = clones
    add_record(one, "camvid_a", key="a")
    monkeypatch.setattr("repro.tracking.record_upload.send_files", down)
    assert sync(one).failed.keys() == {"camvid_a"}
    assert [run.info.status for run in active(one)] == ["FINISHED"]


def test_the_command_asks_and_where_it_cannot_deletes_nothing(
    clones: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = clones
    add_record(two, "camvid_b", key="b")
    sync(two)  # a store of this clone alone is rebuilt as a new file, and nothing is asked
    monkeypatch.chdir(one.root)
    monkeypatch.setattr("repro.stages.inputs_ready.write_files", lambda project: [])
    monkeypatch.setattr("sys.argv", ["repro", "sync", "--rebuild"])
    add_record(one, "camvid_a", key="a")
    sync(one)
    before = {run.info.run_name: run.info.run_id for run in active(one)}
    done = CliRunner().invoke(app, ["sync", "--rebuild"])
    assert getattr(done.exception, "exit_code", 0) == 2
    assert "repro sync --rebuild --yes" in str(done.exception)
    assert "camvid_a (" in done.stderr
    assert {run.info.run_name: run.info.run_id for run in active(one)} == before
    done = CliRunner().invoke(app, ["sync", "--rebuild", "--yes"])
    assert done.exit_code == 0
    after = {run.info.run_name: run.info.run_id for run in active(one)}
    assert after["camvid_b"] == before["camvid_b"]
    assert after["camvid_a"] != before["camvid_a"]


def test_two_clones_on_a_real_server(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_database, tmp_path / "server.db")
    one, two = a_clone(tmp_path / "one"), a_clone(tmp_path / "two")
    first, second = measure(one, "1", 50.31), measure(two, "2", 50.32)
    add_record(two, "camvid_b", key="b")
    with server(tmp_path, tmp_path / "server.db") as (address, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        sync(one)
        sync(two)
        sync(one, rebuild=True)
        sync(two)
        assert {first, second} <= set(records_in(one))
        assert len(records_in(one)) == 3
        assert settled(one, two)
