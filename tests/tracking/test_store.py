"""The store's address: what may be shown of it, and where."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from repro.cli.doctor import _mlflow
from repro.errors import ReproError, StorageError
from repro.io.redact import redact_text, redact_uri
from repro.params import Project
from repro.tracking.address import tracking_uri, with_driver
from repro.tracking.follower import Follower
from repro.tracking.health import store_state
from repro.tracking.run_reader import read_runs, stored_records
from repro.tracking.store import open_client
from repro.tracking.sync import sync
from tests.reports.kit import a_record
from tests.tracking.kit import a_project, add_record

pytestmark = [  # MLflow's own
    pytest.mark.mlflow,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
ADDRESSES = {
    "sqlite:////home/me@work/mlflow.db": "sqlite:////home/me@work/mlflow.db",
    "http://127.0.0.1:5000": "http://127.0.0.1:5000",
    "postgresql://u:secret@h:1/db": "postgresql://***@h:1/db",
    "postgresql://u:pa/secret@h/db": "postgresql://***@h/db",
    "postgresql://u:p@secret@h/db": "postgresql://***@h/db",
    "postgresql://u:p?secret@h/db": "postgresql://***",
    "postgresql://h/db?user=u&password=secret": "postgresql://h/db?***",
    "postgresql://h/db?password=p@secret": "postgresql://***",
    "mssql+pyodbc:///?odbc_connect=DRIVER={ODBC Driver 18};PWD=secret": "mssql+pyodbc:///?***",
    "u:p@secret@h": "***@h",
    "databricks": "databricks",
}

EMPTY = {"search_experiments.return_value": []}  # what a client of an empty store answers
NO_ADDRESSES = [
    *(
        "http://[::1",
        "http://h:port",
        "http://h:99999",
        "http://h:0",
        "http:// h",
        "http://.h",
        "localhost:5000",
    ),
    *("postgresql://u@h:port/db", "sqlite://", "sqlite:", "://", "http://" + "h" * 300, "databricks", "//h"),
]


@pytest.mark.parametrize("uri", NO_ADDRESSES)
def test_no_command_ends_in_a_traceback_over_an_address(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = a_project(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert not store_state(project)[1]
    for use in (sync, read_runs, stored_records):
        with pytest.raises(StorageError, match="not the address of an MLflow store"):
            use(project)


@pytest.mark.parametrize("uri", ADDRESSES)
def test_an_address_is_shown_without_its_secrets(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert redact_uri(uri) == ADDRESSES[uri]
    assert "secret" not in redact_text(f"OperationalError: no such host: {uri} (is it on?)")
    if "127.0.0.1" not in uri:
        assert store_state(a_project(tmp_path))[0] == ADDRESSES[uri]


@pytest.mark.parametrize("uri", ["file:///runs", "mlflow.db", "ftp://u:secret@h", "http://"])
def test_an_address_that_cannot_be_a_store_is_reported_with_those_that_can(uri: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not the address of an MLflow store") as caught:
        read_runs(a_project(tmp_path), uri)
    assert caught.value.where == redact_uri(uri)
    assert "sqlite:///FILE" in str(caught.value.allowed)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_bare_postgres_address_gets_the_driver_that_is_installed(
    driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repro.tracking.address.find_spec", lambda name: True if name == driver else None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://u:se cret@h/db")
    assert tracking_uri(a_project(tmp_path)) == f"postgresql+{driver}://u:se cret@h/db"
    assert "cret" not in redact_text(f"no answer: {tracking_uri(a_project(tmp_path))}")
    for named in ("postgresql+pg8000://h/db", "mysql://h/db", "sqlite:////x/postgresql://h"):
        assert with_driver(named) == named


def test_without_a_driver_the_address_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("repro.tracking.address.find_spec", lambda name: None)
    assert with_driver("postgresql://h/db") == "postgresql://h/db"


def test_an_error_that_quotes_a_part_of_an_address_contains_no_secret() -> None:
    text = redact_text('could not translate host name "secret@h" to an address: at http://a.b/c')
    assert text == 'could not translate host name "***@h" to an address: at http://a.b/c'


def test_the_log_of_the_follower_has_no_secret(tmp_path: Path) -> None:
    said: list[str] = []
    follower = Follower(project=a_project(tmp_path), journal=tmp_path / "j", parent=1, say=said.append)
    follower._failed(OSError("postgresql://u:pa/secret@h/db?password=secret"))
    assert said == ["OSError: postgresql://***@h/db?***"]


def damaged(folder: Path) -> Project:
    """A project whose mlflow.db is no database."""
    project = a_project(folder)
    (project.root / "mlflow.db").write_bytes(b"\x7f no database \x00" * 500)
    return project


REBUILD = "`repro sync --rebuild` recreates it"


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    project = damaged(tmp_path)
    for use in (read_runs, stored_records, sync):
        with pytest.raises(StorageError, match="file is not a database") as caught:
            use(project)
        assert REBUILD in str(caught.value.hint)
        assert "MLFLOW_TRACKING_URI" not in str(caught.value)


def test_a_rebuild_heals_a_damaged_store(tmp_path: Path) -> None:
    project = damaged(tmp_path)
    assert sync(project, rebuild=True).failed == {}
    assert read_runs(project) == []
    assert (tmp_path / "mlflow.db.before-rebuild").is_file()


def test_a_store_without_tables_is_refused(tmp_path: Path) -> None:
    (a_project(tmp_path).root / "mlflow.db").touch()
    with pytest.raises(StorageError, match="no such table: runs"):
        read_runs(a_project(tmp_path))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("mssql+pyodbc://u:secret@127.0.0.1/db", "No module named 'pyodbc'"),
        ("postgresql://u:secret@127.0.0.1:1/db", "onnection"),
        ("mysql+nothing://127.0.0.1/db", "nothing"),
    ],
)
def test_a_database_that_cannot_be_reached_is_refused(address: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=expected) as caught:
        read_runs(a_project(tmp_path), address)
    assert "check its address, driver and server" in str(caught.value.hint)
    assert "secret" not in str(caught.value)


def test_an_address_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://u:secret@127.0.0.1:port/db")
    for use in (read_runs, sync):
        with pytest.raises(StorageError, match="'port'") as caught:
            use(a_project(tmp_path))
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("locked", "expected"), [("mlflow.db", "make the file"), ("", "make the folder")])
def test_what_may_not_be_written_is_named(
    locked: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of the system: the tests may run as a user who may write everything."""
    project = damaged(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path / locked)
    with pytest.raises(StorageError) as caught:
        read_runs(project)
    advice = f"{expected} {(tmp_path / locked).name} writable"
    assert caught.value.hint == advice
    assert store_state(project)[1:] == (False, f"no permission: {advice}")


def state_of(project: Project, address: str, patch: pytest.MonkeyPatch) -> str:
    """The advice about a store that `repro doctor` finds to be unusable."""
    patch.setenv("MLFLOW_TRACKING_URI", address)
    shown, good, advice = store_state(project)
    assert not good
    assert "secret" not in shown + advice
    return advice


def test_doctor_sees_a_damaged_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = damaged(tmp_path)
    monkeypatch.chdir(project.root)
    (advice,) = (finding.advice for finding in _mlflow(project) if not finding.good)
    assert advice.startswith(f"file is not a database: {REBUILD}")
    assert state_of(project, f"sqlite:///{tmp_path}/no/x.db", monkeypatch).startswith("no such folder: ")


def test_doctor_distinguishes_busy_and_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = a_project(tmp_path)
    assert store_state(project)[1:] == (True, "")  # nothing yet: the first use makes it
    monkeypatch.setattr("repro.tracking.health.CHECK_SECONDS", 0.1)
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as other:
        other.execute("create table x (y)")
        other.execute("begin exclusive")
        assert store_state(project)[1:] == (True, "")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("mssql+pyodbc://u:secret@127.0.0.1/db", "No module named 'pyodbc'"),
        ("postgresql://u:secret@127.0.0.1:1/db", "onnection"),
        ("postgresql://u:secret@127.0.0.1:port/db", "port"),
        ("http://127.0.0.1:1", "ConnectionError"),
    ],
)
def test_doctor_sees_that_nothing_answers(
    address: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = state_of(a_project(tmp_path), address, monkeypatch)
    assert expected in advice
    assert "unset MLFLOW_TRACKING_URI" in advice


def test_doctor_does_not_wait_for_a_database_that_never_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repro.tracking.health.CHECK_SECONDS", 2)  # the least that PostgreSQL's library takes
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began, port = time.monotonic(), silent.getsockname()[1]
        assert "timeout" in state_of(a_project(tmp_path), f"postgresql://u@127.0.0.1:{port}/db", monkeypatch)
    assert time.monotonic() - began < 30


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_busy_port_is_said_before_mlflow_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from repro.cli.results.ui import ui

    monkeypatch.chdir(a_project(tmp_path).root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(os, "execv", lambda program, words: pytest.fail("MLflow was started"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ReproError, match=f"127.0.0.1:{port}: address already in use") as caught:
            ui(port=port)
    assert "--port" in str(caught.value.hint)
    assert not (tmp_path / "mlflow.db").exists()
    with pytest.raises(ReproError, match="cannot listen on no such host:"):
        ui(port=port, host="no such host")


def test_the_address_is_not_an_argument_of_the_web_interface(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repro.cli.results.ui import ui

    started: list[list[str]] = []
    (tmp_path / "experiments").mkdir()
    (tmp_path / "params.yaml").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://u:secret@h/db")
    for name in ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr("repro.tracking.store.open_client", lambda project: MagicMock(**EMPTY))
    monkeypatch.setattr(os, "execv", lambda program, words: started.append(words))
    ui(port=free_port())
    assert "secret" not in " ".join(started[0])
    assert os.environ["MLFLOW_BACKEND_STORE_URI"] == with_driver("postgresql://u:secret@h/db")


def test_a_record_that_mlflow_did_not_get_is_reported_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from repro.cli.reporter import note
    from repro.stages.summary import show_in_mlflow

    def down(*_: object, **__: object) -> None:
        raise ConnectionError("no answer from postgresql://u:pa/secret@h/db [red]")

    monkeypatch.setattr("repro.stages.summary.sync_record", down)
    monkeypatch.setattr("repro.stages.summary.is_wanted", lambda: True)
    show_in_mlflow(a_project(tmp_path), a_record(), note)
    assert "no answer from postgresql://***@h/db [red]" in capsys.readouterr().err


NAMES = [
    "a b",
    "100%",
    "%41",
    "what?",
    "a#b",
    "ünï",
    'it\'s "q"',
    "a\nb",
    "a;b&c=d",
    "a\\b",
    "a@b:c",
    "-x",
    "[x]",
]


@pytest.mark.parametrize("name", NAMES)
def test_the_store_is_in_the_project_whatever_its_folder_is_called(
    name: str, tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = a_project(tmp_path / "clones" / name)
    shutil.copy(empty_database, project.root / "mlflow.db")
    record = add_record(project, "camvid_a", key="a")
    assert sync(project).sent == ["camvid_a"]
    assert sync(project).unchanged == ["camvid_a"]
    assert [run.name for run in read_runs(project)] == ["camvid_a"]
    assert stored_records(project)["camvid_a"].content_hash == record.content_hash
    assert store_state(project)[1:] == (True, "")
    assert list((project.root / "mlartifacts").rglob("record.json"))
    assert os.listdir(tmp_path / "clones") == [name]


def test_a_rebuilt_store_is_in_the_project_too(
    tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = a_project(tmp_path / "clones" / "what? 100%25")
    shutil.copy(empty_database, project.root / "mlflow.db")
    add_record(project, "camvid_a", key="a")
    assert sync(project, rebuild=True).sent == ["camvid_a"]
    assert (project.root / "mlflow.db.before-rebuild").is_file()
    assert os.listdir(tmp_path / "clones") == ["what? 100%25"]


def test_a_folder_that_is_no_text_is_refused_in_words(tmp_path: Path) -> None:
    project = a_project(tmp_path / os.fsdecode(b"\xff"))
    with pytest.raises(StorageError, match="not UTF-8") as caught:
        sync(project)
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("version", "expected"), [("bd07f7e963c5", "an older MLflow"), ("0123456789ab", "another MLflow")]
)
def test_doctor_sees_tables_of_another_version(
    version: str, expected: str, tmp_path: Path, empty_database: Path
) -> None:
    project = a_project(tmp_path)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    assert store_state(project)[1:] == (True, "")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        connection.execute("update alembic_version set version_num = ?", (version,))
        connection.commit()
    _, good, advice = store_state(project)
    assert not good
    assert advice.startswith(f"its tables are of {expected}")
    assert "`repro sync --rebuild`" in advice
    with pytest.raises(StorageError, match="out-of-date database schema"):
        sync(project)


def test_eight_first_syncs_of_two_clones_share_one_absent_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock lies beside the store: each clone's own would let alembic meet itself."""
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  (once before the fork: seconds each)

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/store/mlflow.db")
    (tmp_path / "store").mkdir()
    projects = [a_project(tmp_path / name) for name in ("one", "two")]
    for project, key in zip(projects, ("a", "b"), strict=True):
        add_record(project, f"camvid_{key}", key=key)
    context = multiprocessing.get_context("fork")
    running = [context.Process(target=_sync_all, args=(projects[i % 2],)) for i in range(8)]
    for process in running:
        process.start()
    for process in running:
        process.join(500)
    assert [process.exitcode for process in running] == [0] * 8


def _sync_all(project: Project) -> None:
    assert sync(project).failed == {}


@pytest.mark.parametrize(
    "words",
    [
        "(psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint",
        '(psycopg2.errors.DuplicateTable) relation "experiments" already exists',
        "Detected out-of-date database schema (found version None, but expected 1b5f0d9ad7c1)",
    ],
)
def test_tables_that_another_clone_creates_at_once_are_waited_for(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the second of two clones got on the first `repro sync` into one PostgreSQL."""
    from mlflow.exceptions import MlflowException

    answers = [MlflowException(words)] * 2

    def client(**_: str) -> Any:
        if answers:
            raise answers.pop()
        return MagicMock()

    waited: list[float] = []
    monkeypatch.setattr("mlflow.MlflowClient", client)
    monkeypatch.setattr("time.sleep", waited.append)
    open_client(a_project(tmp_path), "postgresql://localhost/none")
    assert waited == [1.0, 2.0]


def test_a_database_that_refuses_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException

    refused = MlflowException("password authentication failed")
    monkeypatch.setattr("mlflow.MlflowClient", MagicMock(side_effect=refused))
    with pytest.raises(MlflowException, match="password"):
        open_client(a_project(tmp_path), "postgresql://localhost/none")
