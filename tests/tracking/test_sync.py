"""`repro sync` with what is damaged, foreign or changed: the rest is sent, and MLflow says what git says."""

from __future__ import annotations

import json
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import ParamsError, StorageError
from repro.judgement import Judgement
from repro.params import Project
from repro.records import Journal, Record, write_record
from repro.tracking.address import tracking_uri
from repro.tracking.mirror import Mirror
from repro.tracking.promote import promote
from repro.tracking.record_upload import finished, journals, send_record
from repro.tracking.registry import champions, note_champion
from repro.tracking.report import Report
from repro.tracking.seed_groups import note, spread
from repro.tracking.store import open_client
from repro.tracking.sync import judge_of, sync
from tests.reports.kit import ROOT, a_record, add
from tests.tracking.kit import (
    KEY,
    WITH_MLFLOW,
    a_project,
    a_run,
    add_record,
    free_port,
    journal_of,
    shown,
    the_run,
    train,
    written,
)

pytestmark = [*WITH_MLFLOW, pytest.mark.slow]


@pytest.fixture
def project(tmp_path: Path, empty_database: Path) -> Project:
    """A checkout with an empty local store."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return a_project(tmp_path)


def active_runs(client: Any) -> list[Any]:
    return list(client.search_runs([found.experiment_id for found in client.search_experiments()]))


# --- what is damaged or foreign -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        {"at": 1},
        {"at": 1, "kind": "run", "run": asdict(a_run()) | {"added_later": 1}, "pid": 1, "host": ""},
        {"at": 1, "kind": "run", "run": "of another program"},
    ],
)
def test_a_foreign_journal_keeps_no_other_from_being_sent(project: Project, line: dict[str, Any]) -> None:
    foreign = project.work / "aaaa" / "journal.jsonl"
    foreign.parent.mkdir(parents=True)
    foreign.write_text(json.dumps(line) + "\n")
    train(project, steps=1, live=False)
    with journal_of(project).open("a") as file:
        file.write('{"at": 1}\n')
    assert sync(project).sent == ["camvid_r18_os16"]


def test_logs_show_a_line_without_a_kind(capsys: pytest.CaptureFixture[str]) -> None:
    from repro.cli.run.logs import _say

    _say({"at": 1, "colour": "red"}, as_json=False)
    assert capsys.readouterr().out.endswith("damaged  colour red\n")


@pytest.mark.parametrize("wrong", ["50.25", "NaN"])
def test_a_damaged_record_is_reported_and_the_others_are_sent(
    project: Project, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    add_record(project, "camvid_a", key="a")
    add_record(project, "camvid_b", key="b")
    path = project.rows / "camvid_a.json"
    path.write_text(path.read_text().replace("50.3", wrong))
    report = sync(project)
    assert report.sent == ["camvid_b"]
    assert report.failed.keys() == {"camvid_a"}
    monkeypatch.chdir(project.root)
    monkeypatch.setattr("repro.stages.inputs_ready.write_files", lambda project: [])
    for words in (["sync"], ["sync", "--json"]):
        done = CliRunner().invoke(app, words)
        assert getattr(done.exception, "exit_code", 0) == 1, words
        assert "camvid_a" in done.stdout


def test_brackets_of_an_error_are_no_markup(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    from repro.cli.run.sync import print_report

    print_report(project, Report(failed={"camvid_a": "no [/path] such [red]thing"}))
    assert "no [/path] such [red]thing" in capsys.readouterr().out


# --- what changed -------------------------------------------------------------------------------------------


def test_a_journal_with_as_many_points_but_others_is_sent_again(project: Project) -> None:
    train(project, steps=3, live=False)
    sync(project)
    path = journal_of(project)
    path.write_text(path.read_text().replace('"train/loss": 0.5', '"train/loss": 0.25'))
    assert sync(project).sent == ["camvid_r18_os16"]
    client = open_client(project)
    assert shown(client, the_run(client).info.run_id) == written(project)
    assert sync(project).sent == []


def test_params_are_those_of_the_record_when_it_was_measured_under_another_protocol(project: Project) -> None:
    path, seen = journal_of(project), []
    params = {"seed": 0, "protocol": {"mode": "slide"}, "evaluation": {"protocol": "page003"}}
    run = replace(a_run(), name="camvid_a", params=params)
    with Journal(path) as journal, Mirror(project, path, run=run, live=False):
        journal.metrics({"train/loss": 1.0}, step=0)
    record = add_record(project, "camvid_a", key=KEY)
    for mode in ("slide", "whole"):
        now = params | {"protocol": {"mode": mode}}
        write_record(project.rows / "camvid_a.json", replace(record, params=now, protocol_hash=mode))
        sync(project)
        (found,) = active_runs(open_client(project))
        seen.append((found.data.params["protocol.mode"], found.data.tags["protocol_hash"]))
    assert seen == [("slide", "slide"), ("whole", "whole")]
    assert sync(project).sent == []


def test_a_record_made_again_leaves_one_model(project: Project) -> None:
    for measured in (50.0, 51.0, 52.0):
        add_record(project, "camvid_a", key=KEY, mIoU=measured)
        sync(project)
    client = open_client(project)
    (run,) = active_runs(client)
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert model.source_run_id == run.info.run_id


def test_more_experiments_than_a_page_of_mlflow_change_nothing(project: Project) -> None:
    """Runs that MLflow keeps back are not made again."""
    add_record(project, "camvid_a", key=KEY)
    sync(project)
    with closing(sqlite3.connect(project.root / "mlflow.db")) as database, database:
        columns = ("experiment_id", "name", "lifecycle_stage", "creation_time", "last_update_time")
        rows = [(1000 + i, f"other{i}", "active", 2**42 + i, 2**42 + i) for i in range(1100)]
        database.executemany(f"insert into experiments {columns} values (?, ?, ?, ?, ?)", rows)
    assert sync(project).unchanged == ["camvid_a"]


# --- seeds --------------------------------------------------------------------------------------------------


def parents_of(client: Any) -> list[Any]:
    return [run for run in active_runs(client) if run.data.tags.get("kind") == "seeds"]


def test_a_parent_of_seeds_says_what_its_records_say(project: Project) -> None:
    for measured in (60.0, 40.0):
        add_record(project, "camvid_x", key="a", seed=0, mIoU=50.0)
        add_record(project, "camvid_x_seed1", key="b", seed=1, mIoU=measured)
        sync(project)
    client = open_client(project)
    (parent,) = parents_of(client)
    history = client.get_metric_history(parent.info.run_id, "mIoU")
    assert [(metric.step, metric.value) for metric in history] == [(2, 45.0)]
    led = {run.data.tags.get("mlflow.parentRunId") for run in active_runs(client)} - {None}
    assert led == {parent.info.run_id}
    sync(project)
    assert parents_of(open_client(project))[0].info.run_id == parent.info.run_id


@pytest.mark.parametrize(
    "other", [{"n_images": 24}, {"dataset_fingerprint": "cd" * 32}, {"protocol_hash": "f"}]
)
def test_a_seed_that_was_measured_differently_is_not_in_the_mean(
    project: Project, other: dict[str, Any]
) -> None:
    """As the gate has it: other images, data or protocol say nothing about the same number."""
    for seed, measured in enumerate((50.0, 52.0, 10.0)):
        name = f"camvid_x_seed{seed}"
        record = add_record(project, name, key=str(seed), seed=seed, mIoU=measured)
    write_record(project.record(name), replace(record, **other))
    sync(project)
    (parent,) = parents_of(open_client(project))
    history = open_client(project).get_metric_history(parent.info.run_id, "mIoU")
    assert [(metric.step, metric.value) for metric in history] == [(2, 51.0)]
    lines = parent.data.tags["mlflow.note.content"].splitlines()
    assert ["not in the mean" in line for line in lines[2:]] == [False, False, True]


def test_one_seed_that_is_left_has_no_parent(project: Project) -> None:
    add_record(project, "camvid_x", key="a", seed=0)
    add_record(project, "camvid_x_seed1", key="b", seed=1)
    sync(project)
    (project.rows / "camvid_x_seed1.json").unlink()
    sync(project)
    runs = active_runs(open_client(project))
    assert {run.info.run_name for run in runs} == {"camvid_x", "camvid_x_seed1"}
    assert not any("mlflow.parentRunId" in run.data.tags for run in runs)


def test_a_run_that_was_created_again_for_its_journal_has_its_parent_again(project: Project) -> None:
    train(project, steps=3, live=False)
    add_record(project, "camvid_r18_os16", key=KEY, seed=0)
    add_record(project, "camvid_r18_os16_seed1", key="b", seed=1)
    sync(project)
    path = journal_of(project)
    path.write_text(path.read_text().replace('"train/loss": 0.5', '"train/loss": 0.25'))
    sync(project)
    client = open_client(project)
    (parent,) = parents_of(client)
    assert the_run(client).data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_the_mean_of_seeds_is_that_of_the_numbers_that_are_judged() -> None:
    """Where a page computed its metric otherwise, `mIoU_page` is compared."""
    pages = [a_record(metrics={"mIoU": 50.0, "mIoU_page": value}) for value in (40.0, 44.0)]
    assert spread(pages)["mIoU", 2] == 42.0
    judged = Judgement(
        verdict="regressed", reason="", metric="mIoU_page", measured=44.0, reference=50.0, band=0.8
    )
    assert "| 44.00 | regressed |" in note(pages, {"camvid_x": judged})


# --- what is judged -----------------------------------------------------------------------------------------


def judged_project(project: Project, **changes: Any) -> Record:
    """One record with every file that a result has."""
    shutil.copy(ROOT / "params.yaml", project.root)
    return add(project, a_record("camvid_x", **changes))


def test_the_verdict_is_the_judgement_of_now_not_the_word_of_the_record(project: Project) -> None:
    record = judged_project(project, metrics={"mIoU": 40.0}, verdict="reproduced")
    sync(project)
    tags = the_run(open_client(project), record.run_key).data.tags
    assert tags["verdict"] == "regressed"
    assert tags["mlflow.note.content"].startswith("## ❌ regressed: mIoU 40.00, published 50\n")
    assert sync(project).sent == []


def test_params_that_were_edited_change_the_verdict_of_a_run_that_was_sent(project: Project) -> None:
    record, client = judged_project(project), open_client(project)
    promote(project, record)
    sync(project)
    first = the_run(client, record.run_key)
    assert first.data.tags["verdict"] == "reproduced"
    params = project.experiments / "camvid_x" / "params.yaml"
    params.write_text(params.read_text().replace("lr: 0.03", "lr: 0.3"))
    assert "camvid_x" in sync(project).sent
    then = the_run(client, record.run_key)
    assert (then.info.run_id, then.data.tags["verdict"]) == (first.info.run_id, "incomparable")
    assert "params" in then.data.tags["mlflow.note.content"].splitlines()[2]
    champion = client.get_model_version_by_alias("deeplab-camvid", "champion")
    assert champion.description == then.data.tags["mlflow.note.content"]
    assert sync(project).sent == []


def test_a_note_that_somebody_changed_stays_while_the_judgement_does(project: Project) -> None:
    record, client = judged_project(project), open_client(project)
    sync(project)
    client.set_tag(the_run(client, record.run_key).info.run_id, "mlflow.note.content", "look at the sky")
    assert sync(project).sent == []
    assert the_run(client, record.run_key).data.tags["mlflow.note.content"] == "look at the sky"


def test_a_record_without_weights_has_no_model_and_no_empty_tag(project: Project) -> None:
    record, client = judged_project(project, model_sha256=None), open_client(project)
    assert sync(project).failed == {}
    run = the_run(client, record.run_key)
    assert not client.search_logged_models([run.info.experiment_id])
    assert not [name for name, value in run.data.tags.items() if not value]
    assert "model_sha256" not in run.data.tags


# --- rebuild ------------------------------------------------------------------------------------------------


def names_in(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return [name for (name,) in connection.execute("select name from runs")]


def test_no_rebuild_takes_the_backup_of_an_earlier_one(project: Project) -> None:
    client = open_client(project)
    client.create_run(client.create_experiment("theirs"), run_name="of another program")
    add_record(project, "camvid_a", key=KEY)
    for _ in range(3):
        sync(project, rebuild=True)
    backups = sorted(project.root.glob("mlflow.db.before-rebuild*"))
    assert [path.name.rpartition("before-rebuild")[2] for path in backups] == ["", ".2", ".3"]
    assert names_in(backups[0]) == ["of another program"]


def test_a_rebuild_that_fails_leaves_the_store(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    add_record(project, "camvid_a", key=KEY)
    sync(project)
    monkeypatch.setattr("repro.tracking.record_upload.send_numbers", lambda *_: 1 / 0)
    report = sync(project, rebuild=True)
    assert (report.sent, report.kept, report.failed.keys()) == ([], True, {"camvid_a"})
    assert names_in(project.root / "mlflow.db") == ["camvid_a"]
    assert {path.name for path in project.root.glob("mlflow.db*")} == {"mlflow.db", "mlflow.db.lock"}
    assert sync(project).unchanged == ["camvid_a"]


def test_a_lost_store_is_rebuilt_though_a_champion_has_no_record(project: Project) -> None:
    add_record(project, "camvid_a", key=KEY)
    (project.root / "reports" / "champions.yaml").write_text(
        "camvid: {champion: camvid_gone, second: camvid_a}\n"
    )
    (project.root / "mlflow.db").unlink()
    report = sync(project, rebuild=True)
    assert report.sent == ["camvid_a", "second of camvid"]
    assert report.failed.keys() == {"champion of camvid"}
    assert names_in(project.root / "mlflow.db") == ["camvid_a"]


# --- the registry, and what others wrote --------------------------------------------------------------------


def test_a_store_that_does_not_answer_is_reported_in_plain_words(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://u:secret@127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    record = add_record(project, "camvid_a", key=KEY)
    for call in (sync, lambda project: promote(project, record)):
        with pytest.raises(StorageError, match=r"cannot be used(?s:.*)start the server") as caught:
            call(project)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("alias", ["latest", "Latest", "v1", "a b", ""])
def test_an_alias_that_mlflow_refuses_is_refused_first(project: Project, alias: str) -> None:
    with pytest.raises(ParamsError, match="invalid alias"):
        promote(project, add_record(project, "camvid_a", key=KEY), alias=alias)
    assert active_runs(open_client(project)) == []


def test_an_alias_that_is_no_longer_noted_is_removed_and_one_set_manually_stays(project: Project) -> None:
    record = add_record(project, "camvid_a", key=KEY)
    for alias in ("champion", "Second"):
        promote(project, record, alias=alias)
    client = open_client(project)
    client.set_registered_model_alias("deeplab-camvid", "by_hand", "1")
    (project.root / "reports" / "champions.yaml").write_text("camvid: {Second: camvid_a}\n")
    assert sync(project).sent == []
    assert client.get_registered_model("deeplab-camvid").aliases.keys() == {"Second", "by_hand"}


def test_no_champion_is_lost_when_many_are_noted_at_once(project: Project) -> None:
    record = add_record(project, "camvid_a", key=KEY)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: note_champion(project, record, f"a{number}"), range(40)))
    assert len(champions(project)["camvid"]) == 40


def test_the_note_counts_the_published_rows(project: Project) -> None:
    add_record(project, "camvid_a", key=KEY)
    for headline in ("0 of 149 published rows reproduced", "1 of 149 published rows reproduced"):
        sync(project, headline=headline)
        note = open_client(project).get_experiment_by_name("camvid").tags["mlflow.note.content"]
        assert headline in note
        assert note.count("published rows reproduced") == 1
    sync(project)
    assert open_client(project).get_experiment_by_name("camvid").tags["mlflow.note.content"] == note


def test_the_command_sends_mlflow_the_headline_of_the_gate(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: dict[str, Any] = {}
    add_record(project, "camvid_a", key=KEY)
    monkeypatch.chdir(project.root)
    monkeypatch.setattr("repro.stages.inputs_ready.write_files", lambda project: [])
    monkeypatch.setattr("repro.tracking.sync.sync", lambda *_, **given: received.update(given) or Report())
    assert CliRunner().invoke(app, ["sync"]).exit_code == 0
    assert received["headline"].endswith("published mIoU reproduced")
    assert set(received["judge"].records) == {"camvid_a"}


def test_the_note_of_somebody_else_stays(project: Project) -> None:
    client = open_client(project)
    theirs = client.create_experiment("camvid", tags={"mlflow.note.content": "do not touch"})
    add_record(project, "camvid_a", key=KEY)
    sync(project)
    tags = client.get_experiment(theirs).tags
    assert tags["mlflow.note.content"] == "do not touch"
    assert "mlflow.sharedViewState.results" in tags


# --- repetitions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("live", [True, False], ids=["followed", "without a follower"])
def test_an_interrupted_repetition_leaves_what_was_recorded(project: Project, live: bool) -> None:
    add_record(project, "camvid_r18_os16", key=KEY, mIoU=50.3)
    assert sync(project).sent == ["camvid_r18_os16"]
    mirror = train(project, steps=3, live=live, error=KeyboardInterrupt())
    assert not live or mirror.drain(400)
    sync(project)
    run = the_run(open_client(project))
    assert (run.info.status, run.data.metrics["mIoU"]) == ("FINISHED", 50.3)
    assert sync(project).sent == []


def test_a_point_that_two_machines_sent_is_there_once(project: Project) -> None:
    """A machine without the journal sends the committed curve while the other sends the journal."""
    mirror = train(project, steps=2, live=False)
    sync(project)
    client = open_client(project)
    run_id = the_run(client).info.run_id
    client.log_metric(run_id, "train/loss", 1.0, timestamp=1, step=0)
    client.delete_tag(run_id, "repro.journal")  # that machine was last
    sync(project)
    assert shown(client, the_run(client).info.run_id) == written(project)
    assert mirror.journal_path.is_file()


def test_a_record_adds_no_curve_to_a_journal_that_was_not_sent(project: Project) -> None:
    train(project, steps=2, live=False)
    record = add_record(project, "camvid_r18_os16", key=KEY)
    client = open_client(project)
    judged = judge_of(project, [record]).judge(record.experiment)
    journal = finished(journals(project))[KEY, "camvid_r18_os16"]
    send_record(client, project, tracking_uri(project), record, judged, journal)
    assert "train/loss" not in the_run(client).data.metrics
    sync(project)
    assert shown(client, the_run(client).info.run_id) == written(project)
