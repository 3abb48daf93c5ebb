"""A mirror: nothing lost, nothing twice, and a training that does not notice what befalls its tracker.

The faults are real: a server process that is absent, killed, slow or broken, a locked and a full database.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from repro.cli.app import app
from repro.errors import ParamsError, StorageError
from repro.params import Project
from repro.records import Journal, write_record
from repro.tracking.address import tracking_uri
from repro.tracking.health import store_state
from repro.tracking.mirror import Mirror
from repro.tracking.run_info import read_state
from repro.tracking.run_reader import read_runs, stored_records
from repro.tracking.run_writer import send_journal
from repro.tracking.store import open_client
from repro.tracking.sync import sync, sync_record
from repro.tracking.views import results_pages
from tests.tracking.kit import (
    KEY,
    WITH_MLFLOW,
    Proxy,
    a_project,
    a_run,
    add_record,
    end,
    free_port,
    journal_of,
    postgres,
    postgres_tool,
    server,
    shown,
    the_run,
    train,
    written,
)

pytestmark = [*WITH_MLFLOW, pytest.mark.slow]  # the store of all of them is made by eight processes
# Seconds that no call of a training may take, on a machine that does other things too: less than one answer
# of the slow server, one timeout, or one wait for a lock.
CALM = 3.0
Served = tuple[str, int, Path]  # address, process id, database
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def first_use(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[int]]:
    """A project whose absent database was opened by eight processes at once, and their exit statuses."""
    project = a_project(tmp_path_factory.mktemp("empty"))
    # once before the fork, instead of two seconds in each of them
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=open_client, args=(project,)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(500)
    return project, [worker.exitcode or 0 for worker in workers]


@pytest.fixture(scope="module")
def empty_database(first_use: tuple[Project, list[int]]) -> Path:
    """A migrated sqlite store without runs: making one costs seconds, copying it nothing."""
    return first_use[0].root / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, empty_database: Path) -> Project:
    """A checkout with an empty local store."""
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return a_project(tmp_path)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Served]:
    """(address, process id, database) of one real server for all tests of this module."""
    folder = tmp_path_factory.mktemp("server")
    database = Path(shutil.copy(empty_database, folder / "server.db"))
    with server(folder, database) as (address, pid):
        yield address, pid, database


def key_of(request: pytest.FixtureRequest) -> str:
    """A run key of this test alone: all tests share one server."""
    return request.node.name.replace("[", "-").replace("]", "")


# --- live ---------------------------------------------------------------------------------------------------


def test_a_training_is_shown_whole_and_once(project: Project) -> None:
    mirror = train(project)
    assert mirror.drain(400)
    client = open_client(project)
    run = the_run(client)
    assert shown(client, run.info.run_id) == written(project)
    assert sum(written(project).values()) == 80
    assert (run.info.status, run.info.run_name) == ("FINISHED", "camvid_r18_os16")
    # Not the further protocol: it may change later, and the compare view would open with it.
    assert run.data.params == {"seed": "0", "model.backbone": "resnet18", "augmentation.scale": "0.5, 2.0"}
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("camvid/trainval", ("ab" * 32)[:36])
    assert client.get_experiment(run.info.experiment_id).name == "camvid"
    assert sync(project).sent == []


def test_a_killed_training_ends_as_killed_and_resumes_without_a_repeated_step(project: Project) -> None:
    """kill -9 in the middle; the resumed run writes the steps since its checkpoint again."""
    code = f"""
import time
from pathlib import Path
from repro.params import Project
from repro.records import Journal, write_record
from repro.tracking.mirror import Mirror
from tests.tracking.kit import a_run, loss
project, path = Project(Path({str(project.root)!r})), Path({str(journal_of(project))!r})
with Journal(path) as journal, Mirror(project, path, run=a_run()):
    for step in range(1000):
        journal.metrics({{"train/loss": loss(step), "train/lr": 0.1}}, step=step)
        time.sleep(0.1)
"""
    training = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    client = open_client(project)
    try:
        _until(lambda: _count(client) > 20)
    finally:
        training.kill()
        training.wait()
    _until(lambda: the_run(client).info.status == "KILLED")
    lines = journal_of(project).read_bytes().splitlines(keepends=True)
    journal_of(project).write_bytes(b"".join(lines[:6]))  # back to the checkpoint
    assert train_from(project, start=5, steps=40).drain(400)
    run = the_run(client)
    assert run.info.status == "FINISHED"
    assert shown(client, run.info.run_id) == written(project)
    assert max(shown(client, run.info.run_id).values()) == 1


def train_from(project: Project, *, start: int, steps: int) -> Mirror:
    path = journal_of(project)
    with Journal(path) as journal, Mirror(project, path, run=a_run()) as mirror:
        for step in range(start, steps):
            journal.metrics({"train/loss": 1 / (step + 1), "train/lr": 0.1}, step=step)
    return mirror


def _count(client: Any) -> int:
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return sum(shown(client, runs[0].info.run_id).values()) if runs else 0


def _until(condition: Any, seconds: float = 400.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.2)


# --- how it ended -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "KILLED"), (SystemExit(143), "KILLED"), (RuntimeError("loss is nan"), "FAILED")],
)
def test_how_a_training_ended_is_in_its_journal(project: Project, error: BaseException, status: str) -> None:
    path = journal_of(project)
    with pytest.raises(type(error)), Mirror(project, path, run=a_run(), live=False):
        raise error
    state = read_state(path)
    assert state is not None
    assert state.status == status
    client = open_client(project)
    send_journal(client, project, tracking_uri(project), state)
    run = the_run(client)
    assert run.info.status == status
    assert ("loss is nan" in run.data.tags.get("repro.error", "")) == (status == "FAILED")


def test_the_error_of_an_earlier_try_does_not_stay(project: Project) -> None:
    path, client = journal_of(project), open_client(project)
    with pytest.raises(RuntimeError), Mirror(project, path, run=a_run(), live=False):
        raise RuntimeError("the disk is full")
    send_journal(client, project, tracking_uri(project), _state(project))
    assert "the disk is full" in the_run(client).data.tags["repro.error"]
    with Mirror(project, path, run=a_run(), live=False):
        send_journal(client, project, tracking_uri(project), _state(project))
        assert "repro.error" not in the_run(client).data.tags
    send_journal(client, project, tracking_uri(project), _state(project))
    assert the_run(client).info.status == "FINISHED"
    assert "repro.error" not in the_run(client).data.tags


def test_a_resumed_run_that_differs_is_created_again(project: Project) -> None:
    train(project, steps=10, live=False)
    client, uri = open_client(project), tracking_uri(project)
    before = send_journal(client, project, uri, _state(project))
    path = journal_of(project)
    path.write_text(path.read_text().replace('"train/loss": 0.5', '"train/loss": 0.25'))
    after = send_journal(client, project, uri, _state(project))
    assert after.run_id != before.run_id
    assert shown(client, the_run(client).info.run_id) == written(project)


def _state(project: Project) -> Any:
    state = read_state(journal_of(project))
    assert state is not None
    return state


def test_a_journal_without_a_process_is_killed(project: Project) -> None:
    train(project, steps=3, live=False)
    path = journal_of(project)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))  # no end line
    text = path.read_text().replace(f'"pid": {os.getpid()}', '"pid": 4194305')
    path.write_text(text)
    assert _state(project).status == "KILLED"
    assert sync(project).sent == ["camvid_r18_os16"]
    assert the_run(open_client(project)).info.status == "KILLED"


# --- faults -------------------------------------------------------------------------------------------------


def test_server_absent_then_broken_then_slow(
    tmp_path: Path,
    running: Served,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """One training under a server that is not there, then answers 500, then needs 5 s for every answer."""
    project, key, port = a_project(tmp_path), key_of(request), free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    moods = _moods(running[0], port, lambda: _log(project, key))
    busy: list[float] = []
    mirror = train(project, key=key, busy=busy, until=lambda: next(moods) == "all met")
    assert max(busy) < CALM
    end(mirror)
    proxy = next(moods)
    proxy.delay = proxy.status = 0
    _synced(project, key)
    proxy.close()


def _moods(target: str, port: int, log: Callable[[], str]) -> Iterator[Any]:
    """Yields until a mood was met, and continues with the next; at last "all met", and then the proxy."""
    while "Connection refused" not in log():
        yield "absent"
    proxy = Proxy(target, port)
    proxy.status = 500
    while proxy.asked < 2:
        yield "broken"
    proxy.status, proxy.delay, seen = 0, 5.0, proxy.asked
    while proxy.asked < seen + 2:
        yield "slow"
    yield "all met"
    yield proxy


def test_database_locked(project: Project) -> None:
    holder = sqlite3.connect(project.root / "mlflow.db")
    holder.execute("begin exclusive")
    busy: list[float] = []
    mirror = train(project, busy=busy, until=lambda: "locked" in _log(project, KEY))
    assert max(busy) < CALM
    end(mirror)
    holder.rollback()
    holder.close()
    _synced(project, KEY)


def test_disk_full_for_the_database(tmp_path: Path) -> None:
    """A limit on file size, inherited by the follower, simulates the full disk."""
    project = a_project(tmp_path)
    code = f"""
import resource
from pathlib import Path
from repro.params import Project
from tests.tracking.kit import KEY, journal_of, train
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
project, busy = Project(Path({str(tmp_path)!r})), []
log = journal_of(project).with_name("mirror.log")
mirror = train(project, busy=busy, until=lambda: "Error" in log.read_text())
mirror.follower.kill()
mirror.follower.wait()
print(log.read_text(), max(busy) < {CALM})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "disk" in done.stdout
    assert done.stdout.endswith("True\n")
    assert _state(project).status == "FINISHED"
    (tmp_path / "mlflow.db").unlink()  # what the full disk left half-made
    _synced(project, KEY)


def test_two_experiments_that_train_the_same_have_a_run_each(project: Project) -> None:
    """Their run keys are equal: the second record once took the place of the first."""
    records = [add_record(project, name, key="same") for name in ("camvid_a", "camvid_b")]
    sync(project)
    assert stored_records(project) == {record.experiment: record for record in records}
    assert sync(project).sent == []
    assert len(read_runs(project)) == 2, "equal seeds are no family"


def test_records_come_back_out_of_a_store_whole(project: Project) -> None:
    """The newest record of every experiment; runs of other programs carry none."""
    first = add_record(project, "camvid_r18_os16", key="first")
    other = add_record(project, "camvid_r18_os16_seed1", key="second", seed=1, mIoU=51.0)
    sync(project)
    client = open_client(project)
    client.create_run(client.create_experiment("theirs"), run_name="camvid_r18_os16")
    assert stored_records(project) == {one.experiment: one for one in (first, other)}
    later = first.provenance | {"at": "2036-11-20T00:00:00Z"}
    newer = write_record(
        project.rows / "camvid_r18_os16.json",
        replace(first, run_key="third", metrics=first.metrics | {"mIoU": 52.5}, provenance=later),
    )
    sync(project)
    assert stored_records(project)["camvid_r18_os16"] == newer
    shutil.rmtree(project.root / "mlartifacts")
    with pytest.raises(StorageError, match=r"the record of run '.*' cannot be downloaded"):
        stored_records(project)


def test_a_table_from_a_store_is_that_of_the_records(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_record(project, "camvid_r18_os16", key="only")
    sync(project)
    monkeypatch.chdir(project.root)
    for words in (["--dataset", "camvid"], ["--page", "003", "--values", "both"], ["--values", "measured"]):
        ours, theirs = (
            CliRunner().invoke(app, ["table", *words, *source], catch_exceptions=False).stdout
            for source in ([], ["--from", "mlflow"])
        )
        assert ours == theirs
        assert "50.3" in ours or words != ["--dataset", "camvid"]
    listed = CliRunner().invoke(app, ["table", "--from", "mlflow", "--dataset", "camvid", "--columns", "*"])
    assert "metrics.mIoU" in listed.stdout
    refused = CliRunner().invoke(app, ["table", "--from", "mlflow", "--write"])
    assert isinstance(refused.exception, ParamsError)


def test_two_machines_that_sync_at_once_make_one_run(
    tmp_path: Path,
    running: Served,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    key = key_of(request)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", running[0])
    machines = [a_project(tmp_path / name) for name in ("a", "b")]
    train(machines[0], key=key, live=False)
    add_record(machines[0], "camvid_r18_os16", key=key)
    for part in (".repro", "experiments", "reports"):
        shutil.copytree(machines[0].root / part, machines[1].root / part, dirs_exist_ok=True)
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=_sync_quietly, args=(machine,)) for machine in machines]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    for machine in machines:  # a clone deletes only its own run: the one with the larger id is of either
        sync(machine)
    for machine in machines:
        _synced(machine, key)
    client = open_client(machines[0])
    run = the_run(client, key)
    assert shown(client, run.info.run_id) == written(machines[0], key)
    assert len(client.get_metric_history(run.info.run_id, "mIoU")) == 1


def _sync_quietly(project: Project) -> None:
    sync(project)


def test_server_killed_in_the_middle(
    tmp_path: Path,
    running: Served,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """The last test that uses the shared server: it is killed for good."""
    address, pid, database = running
    project, key = a_project(tmp_path), key_of(request)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    path = journal_of(project, key)
    with Journal(path) as journal, Mirror(project, path, run=a_run(key)) as mirror:
        for step in range(20):
            journal.metrics({"train/loss": 1.0, "train/lr": 0.1}, step=step)
        _until(lambda: _points_in(database, key) == 40)
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        for step in range(20, 40):
            journal.metrics({"train/loss": 1.0, "train/lr": 0.1}, step=step)
        assert time.monotonic() - began < 0.5
    end(mirror)
    assert 40 <= _points_in(database, key) < 80
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")  # the same store, reached otherwise
    _synced(project, key)


def _points_in(database: Path, key: str) -> int:
    question = """
        select count(*) from metrics join tags on metrics.run_uuid = tags.run_uuid
        where tags.key = 'repro.run_key' and tags.value = ?
    """
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    (count,) = connection.execute(question, (key,)).fetchone()
    connection.close()
    return int(count)


def _log(project: Project, key: str) -> str:
    path = journal_of(project, key).with_name("mirror.log")
    return path.read_text() if path.is_file() else ""


def _synced(project: Project, key: str) -> None:
    """`repro sync` brings everything over, and a second one finds nothing to do."""
    report = sync(project)
    assert report.failed == {}
    client = open_client(project)
    run = the_run(client, key)
    assert run.info.status == "FINISHED"
    assert shown(client, run.info.run_id) == written(project, key)
    assert sync(project).sent == []


def test_eight_processes_meet_an_absent_database(first_use: tuple[Project, list[int]]) -> None:
    project, statuses = first_use
    assert statuses == [0] * 8
    assert read_runs(project) == []
    assert open_client(project).get_experiment("0").name == "Default"


# --- records ------------------------------------------------------------------------------------------------


def test_a_store_is_rebuilt_from_the_records_alone(project: Project) -> None:
    for seed in (0, 1, 2):
        add_record(project, f"camvid_densenet_os16_seed{seed}", key=f"key{seed}", seed=seed, mIoU=50.0 + seed)
    assert len(sync(project).sent) == 3
    assert len(sync(project).unchanged) == 3
    (project.root / "mlflow.db").rename(project.root / "lost.db")
    (project.work / "key1").mkdir(parents=True)
    (project.work / "key1" / "source.diff").write_text("what was not committed")
    small = project.root / "reports" / "thumbnails" / "camvid_densenet_os16_seed1-cdcdcdcd.png"
    small.parent.mkdir()
    small.write_bytes(b"image")
    report = sync(project, rebuild=True)
    assert (len(report.sent), report.failed) == (3, {})
    runs = {run.tags["repro.run_key"]: run for run in read_runs(project)}
    assert len(runs) == 4
    child = runs["key1"]
    assert child.status == "FINISHED"
    assert child.metrics["mIoU"] == 51.0
    assert child.metrics["IoU/sky_ _cloudy_"] == 88.125
    assert child.metrics["train/loss"] == 0.5
    assert child.metrics["gap/mIoU"] == 1.0
    assert child.params["model.backbone"] == "densenet"
    expected = {"page": "003", "row": "003-028", "verdict": "incomparable", "output_stride": "16"}
    assert expected.items() <= child.tags.items()
    (parent,) = [run for run in runs.values() if run.tags.get("kind") == "seeds"]
    assert child.tags["mlflow.parentRunId"] == parent.id
    assert (parent.name, parent.metrics["mIoU_mean"]) == ("camvid_densenet_os16 (seeds)", 51.0)
    assert expected.items() <= parent.tags.items()
    assert (parent.metrics["published/mIoU"], parent.params["model.backbone"]) == (50.0, "densenet")
    assert "seed" not in {*parent.params, *parent.tags}
    artifacts = project.root / "mlartifacts" / "camvid" / child.id / "artifacts"
    names = {path.name for path in artifacts.iterdir()}
    assert {
        "record.json",
        "metrics.json",
        "per_class.csv",
        "per_class.png",
        "confusion.png",
        small.name,
        "curve.csv",
        "source.diff",
    } <= names
    assert json.loads((artifacts / "metrics.json").read_text())["mIoU"] == 51.0


def test_an_experiment_of_mlflow_opens_with_its_numbers(project: Project) -> None:
    """The saved view names metrics, tags and params that a run has; the note leads to it."""
    add_record(project, "x", key=KEY)
    sync(project)
    client = open_client(project)
    experiment, (run,) = client.get_experiment_by_name("camvid"), read_runs(project)
    view = json.loads(experiment.tags["mlflow.sharedViewState.results"])
    columns = [column.rstrip("`").split(".`") for column in json.loads(view["state"])["selectedColumns"]]
    present = [name for kind, name in columns if name in getattr(run, kind)]
    assert {"verdict", "mIoU", "published/mIoU", "gap/mIoU", "row", "model.backbone"} <= {*present}
    sections = [one["name"] for one in json.loads(view["state"])["compareRunSections"]]
    assert sections[:2] == ["train", "val"], "the learning curves first"
    address = "workflowType=machine_learning&viewStateShareKey=results"
    assert address in experiment.tags["mlflow.note.content"]
    assert [(name, path.endswith(address)) for name, path in results_pages(client)] == [("camvid", True)]
    old = json.dumps({**view, "state": json.dumps({"orderByAsc": True})})
    client.set_experiment_tag(experiment.experiment_id, "mlflow.sharedViewState.results", old)
    add_record(project, "y", key="y")
    sync(project)
    renewed = client.get_experiment(experiment.experiment_id).tags["mlflow.sharedViewState.results"]
    assert json.loads(renewed)["state"] == view["state"], "a view of an earlier version is renewed"


def test_a_record_that_changed_replaces_what_was_shown(project: Project) -> None:
    add_record(project, "x", key=KEY, mIoU=50.0)
    sync(project)
    add_record(project, "x", key=KEY, mIoU=51.5)
    assert sync(project).sent == ["x"]
    client = open_client(project)
    history = client.get_metric_history(the_run(client).info.run_id, "mIoU")
    assert [metric.value for metric in history] == [51.5]


def test_training_and_record_are_one_run(project: Project) -> None:
    train(project, live=False)
    add_record(project, "camvid_r18_os16", key=KEY)
    sync(project)
    client = open_client(project)
    run = the_run(client)
    assert shown(client, run.info.run_id) == written(project)  # not the committed curve on top
    assert run.data.metrics["mIoU"] == 50.3
    (output,) = run.outputs.model_outputs
    assert client.get_logged_model(output.model_id).name == "camvid_r18_os16"
    assert {i.dataset.name for i in run.inputs.dataset_inputs} == {"camvid/trainval", "camvid/test"}
    note = re.sub(" +", " ", run.data.tags["mlflow.note.content"])
    assert "003-028" in note
    assert "| mIoU | 50.30 | 48.90 to 51.70 | 50 |" in note


def test_reading_runs_gives_what_mlflow_gives(project: Project) -> None:
    add_record(project, "x", key=KEY)
    sync(project)
    client = open_client(project)
    expected = the_run(client)
    (found,) = read_runs(project)
    assert found.metrics == expected.data.metrics
    assert found.params == expected.data.params
    long = {"mlflow.note.content", "mlflow.user"}
    assert found.tags == {k: v for k, v in expected.data.tags.items() if k not in long}
    assert (found.id, found.name, found.status) == (expected.info.run_id, "x", "FINISHED")
    assert (found.experiment, found.started) == ("camvid", expected.info.start_time)


def test_a_stray_mlruns_folder_does_not_matter(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.root / "mlruns" / "0").mkdir(parents=True)
    (project.root / "mlruns" / "0" / "meta.yaml").write_text("name: Default\n")
    monkeypatch.chdir(project.root)
    add_record(project, "x", key=KEY)
    assert sync(project).sent == ["x"]


def test_journal_events_of_a_dying_mirror_do_not_hide_the_error(tmp_path: Path) -> None:
    project = a_project(tmp_path)
    with pytest.raises(RuntimeError, match="the real reason"):
        _fail_on_a_dead_disk(project)


def _fail_on_a_dead_disk(project: Project) -> None:
    path = journal_of(project)
    with Mirror(project, path, run=a_run(), live=False):
        shutil.rmtree(path.parent)
        path.parent.touch()  # no folder can be made here any more
        raise RuntimeError("the real reason")


def test_tracking_can_be_switched_off(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRO_TRACKING", "off")
    assert train(project, steps=3).follower is None
    assert Counter(name for name, _, _ in written(project)) == {"train/loss": 3, "train/lr": 3}


def test_a_champion_is_an_alias_in_the_registry(project: Project) -> None:
    from repro.tracking.promote import promote

    first = add_record(project, "camvid_a", key="a")
    second = add_record(project, "camvid_b", key="b", mIoU=52.0)
    assert promote(project, first) == promote(project, first) == "deeplab-camvid version 1"
    assert promote(project, second) == "deeplab-camvid version 2"
    client = open_client(project)
    champion = client.get_model_version_by_alias("deeplab-camvid", "champion")
    assert (champion.version, champion.tags["experiment"]) in [("2", "camvid_b"), (2, "camvid_b")]
    assert champion.run_id == the_run(client, "b").info.run_id
    model = client.get_logged_model(champion.tags["model_id"])
    assert model.name == "camvid_b"
    assert {m.key: m.value for m in model.metrics}["mIoU"] == 52.0


def test_aliases_are_in_git_and_follow_a_rebuild_and_a_new_record(project: Project) -> None:
    from repro.tracking.promote import promote

    for name in "ab":
        promote(project, add_record(project, f"camvid_{name}", key=name), alias=f"best_{name}")
    noted = yaml.safe_load((project.root / "reports" / "champions.yaml").read_text())
    assert noted == {"camvid": {"best_a": "camvid_a", "best_b": "camvid_b"}}
    assert len(sync(project).unchanged) == 4
    assert "best_a of camvid" in sync(project, rebuild=True).sent
    changed = add_record(project, "camvid_a", key="a", mIoU=51.0)
    sync_record(project, changed)
    client = open_client(project)
    for alias, key in (("best_a", "a"), ("best_b", "b")):
        version = client.get_model_version_by_alias("deeplab-camvid", alias)
        assert version.run_id == the_run(client, key).info.run_id


def test_an_alias_of_what_is_not_measured_is_reported(project: Project) -> None:
    path = project.root / "reports" / "champions.yaml"
    path.write_text("camvid: {champion: camvid_gone}\n")
    message = sync(project).failed["champion of camvid"]
    assert re.search(r"(?s)champion of camvid is 'camvid_gone'.*champions\.yaml", message)
    path.write_text("camvid: camvid_gone\n")
    assert "ALIAS: EXPERIMENT" in sync(project).failed["champions.yaml"]


DRIVERS = [name for name in ("psycopg", "psycopg2") if importlib.util.find_spec(name)]
POSTGRES = postgres_tool("initdb") and postgres_tool("postgres") and DRIVERS


@pytest.mark.skipif(not POSTGRES, reason="NO POSTGRES: the server or its driver is missing, it was not tried")
def test_postgres_by_its_address_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres(tmp_path) as address:
        project = a_project(tmp_path / "here")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert store_state(project) == (address.replace("repro@", "***@"), True, "")
        assert train(project).drain(400)  # followed live, into a database that was empty
        add_record(project, "camvid_r18_os16", key=KEY)
        _synced(project, KEY)
        (found,) = read_runs(project)
        assert found.metrics["mIoU"] == 50.3
        assert sync(project, rebuild=True).failed == {}
        assert [run.name for run in read_runs(project, address)] == ["camvid_r18_os16"]
