"""A project with short trainings, a real MLflow server, and a proxy that makes it slow, broken or absent."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from repro.params import Project
from repro.records import Expected, Journal, Record, read_journal, write_record
from repro.tracking.mirror import Mirror
from repro.tracking.run_info import Run
from tests.kit import copy_pages
from tests.reports.kit import a_record

Points = Counter[tuple[str, int, float]]
WITH_MLFLOW = [
    pytest.mark.mlflow,
    # what MLflow 3.17 and its database library say about each other at import
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
KEY = "0123456789abcdef"


def a_project(root: Path) -> Project:
    """An empty clone of one project."""
    for folder in ("experiments", "reports/rows"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text("tracking: {project: tests}\n")
    copy_pages(root)
    return Project(root)


def a_run(key: str = KEY) -> Run:
    return Run(
        name="camvid_r18_os16",
        dataset="camvid",
        run_key=key,
        split="trainval",
        dataset_fingerprint="ab" * 32,
        params={
            "seed": 0,
            "model": {"backbone": "resnet18"},
            "augmentation": {"scale": [0.5, 2.0]},
            "also": {"whole": {"crop": [321, 321]}},
        },
        tags={"stage": "train"},
    )


def journal_of(project: Project, key: str = KEY) -> Path:
    return project.journal(key)


def loss(step: int) -> float:
    return 1 / (step + 1)


def train(
    project: Project,
    *,
    steps: int = 40,
    key: str = KEY,
    live: bool = True,
    until: Callable[[], bool] = lambda: True,
    busy: list[float] | None = None,
    error: BaseException | None = None,
) -> Mirror:
    """A training of at least `steps` steps that continues until `until()`, and ends with `error`; its mirror.

    `busy` gets the seconds that each call of the mirror and the journal took on the training's thread.
    """
    path, calls = journal_of(project, key), [] if busy is None else busy
    mirror = Mirror(project, path, run=a_run(key), live=live)
    with Journal(path) as journal:
        calls.append(timed(mirror.__enter__))
        step, deadline = 0, time.monotonic() + 400  # backing off, on a loaded machine
        while step < steps or not until():
            assert time.monotonic() < deadline, "the fault did not come"
            values = {"train/loss": loss(step), "train/lr": 0.1}
            calls.append(timed(lambda values=values, step=step: journal.metrics(values, step=step)))  # type: ignore[misc]
            step += 1
            if live:
                time.sleep(0.02)
        calls.append(timed(lambda: mirror.__exit__(type(error) if error else None, error, None)))
    return mirror


def timed(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def written(project: Project, key: str = KEY) -> Points:
    """(metric, step, value) of the journal."""
    entries = [e for e in read_journal(journal_of(project, key)) if e["kind"] == "metrics"]
    return Counter((name, e["step"], value) for e in entries for name, value in e["values"].items())


def shown(client: Any, run_id: str) -> Points:
    """(metric, step, value) of a run in MLflow, with every duplicate."""
    histories = [client.get_metric_history(run_id, name) for name in ("train/loss", "train/lr")]
    return Counter((m.key, m.step, m.value) for history in histories for m in history)


def the_run(client: Any, key: str = KEY) -> Any:
    """The one active run of a run key in any experiment."""
    experiments = [found.experiment_id for found in client.search_experiments()]
    (run,) = client.search_runs(experiments, f"tags.`repro.run_key` = '{key}'")
    return run


def add_record(
    project: Project, name: str, *, key: str, seed: int = 0, mIoU: float = 50.3, dataset: str = "camvid"
) -> Record:
    """A record with its committed curve and confusion matrix."""
    folder = project.experiments / name
    folder.mkdir(exist_ok=True)
    (folder / "curve.csv").write_text("step,loss,lr,val_mIoU\n0,1.0,0.1,\n1,0.5,0.1,40.5\n")
    (folder / "confusion.csv").write_text("actual,predicted,count\nroad,road,9\nroad,sky,1\nsky,sky,5\n")
    record = a_record(
        name,
        dataset=dataset,
        metrics={"mIoU": mIoU, "aAcc": 81.25},
        per_class={"road": 90.0, "sky; (cloudy)": 88.125, "train": None},
        cost={"latency_ms_p50": 31.5, "device": {"type": "cpu"}},
        published={"mIoU": 50.0},
        expectation=Expected(metric="mIoU", value=50.0, band=0.8, source="row 003-028"),
        params={"seed": seed, "model": {"family": "deeplabv2", "backbone": "densenet", "output_stride": 16}},
        run_key=key,
    )
    return write_record(project.record(name), record)


@contextmanager
def server(folder: Path, database: Path) -> Iterator[tuple[str, int]]:
    """(address, process id) of a real MLflow server on a free loopback port."""
    port = free_port()
    environment = os.environ | {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{database}",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    # what `mlflow server` itself starts, without its launcher's three seconds
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "mlflow.server.fastapi_app:app"], env=environment, stdout=log, stderr=log
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.kill()
        process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 400
    while time.monotonic() < until and process.poll() is None:
        try:
            if requests.get(address, timeout=1).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise AssertionError("the server did not start")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Proxy:
    """A proxy that forwards requests after `delay` seconds, or answers with `status`."""

    def __init__(self, target: str, port: int | None = None) -> None:
        self.delay, self.status, self.asked = 0.0, 0, 0
        proxy, (host, _, number) = self, target.removeprefix("http://").partition(":")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                proxy.asked += 1
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                time.sleep(proxy.delay)
                if proxy.status:
                    return self.reply(proxy.status, b"broken on purpose", "text/plain")
                onward = http.client.HTTPConnection(host, int(number), timeout=30)
                headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
                onward.request(self.command, self.path, body, headers)
                found = onward.getresponse()
                self.reply(found.status, found.read(), found.getheader("Content-Type", ""))
                onward.close()

            do_GET = do_POST = do_PUT = do_PATCH = answer

            def reply(self, status: int, body: bytes, kind: str) -> None:
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True  # the client gave up waiting

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", port or 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def end(mirror: Mirror) -> None:
    """End a follower that would wait for its tracker for minutes; by its own process id."""
    if mirror.follower is not None and mirror.follower.poll() is None:
        mirror.follower.send_signal(signal.SIGKILL)
        mirror.follower.wait()


def postgres_tool(name: str) -> str | None:
    """Path of a program of PostgreSQL's server; Debian keeps them off the PATH."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name) or next((str(p / name) for p in places if (p / name).is_file()), None)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Address of a fresh PostgreSQL on a free loopback port, run by the user `postgres` where we are root."""
    initdb, serve = postgres_tool("initdb"), postgres_tool("postgres")
    assert initdb
    assert serve
    port, home = free_port(), folder / "pg"
    home.mkdir()
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to be root
        shutil.chown(home, "postgres")
        for parent in home.parents:
            if parent.stat().st_uid == 0 and str(parent).startswith(tempfile.gettempdir() + "/"):
                parent.chmod(parent.stat().st_mode | 0o011)
        as_user = {"user": "postgres", "cwd": home}
    command = [initdb, "-D", str(home / "data"), "-U", "repro", "-A", "trust", "--no-sync"]
    subprocess.run(command, check=True, capture_output=True, **as_user)
    options = ["-D", str(home / "data"), "-p", str(port), "-h", "127.0.0.1", "-k", str(home), "-F"]
    with (folder / "pg.log").open("wb") as log:
        process = subprocess.Popen([serve, *options], stdout=log, stderr=log, **as_user)
    try:
        _until_it_listens(port)
        yield f"postgresql://repro@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # its fast shutdown; SIGTERM would wait for pooled connections
        process.wait()


def _until_it_listens(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("PostgreSQL did not start")
