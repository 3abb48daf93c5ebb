"""Tracking: what a metric costs the training and a thousand runs the tools, beside MLflow's own way."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from repro.params import Project
from repro.records import Journal, Record, write_record
from repro.tracking.address import tracking_uri
from repro.tracking.run_reader import read_runs
from repro.tracking.store import open_client
from repro.tracking.sync import sync
from tests.bench.row import Row, best_of
from tests.tracking.kit import a_project, add_record

METRICS = 2000
RUNS = 1000  # that are read
REBUILT = int(os.environ.get("REPRO_BENCH_RUNS", "200"))  # that are sent; 1000 take minutes, and as long each
SEARCH = """
import mlflow
mlflow.set_tracking_uri({0!r})
mlflow.search_runs(search_all_experiments=True)
"""
READ = """
from pathlib import Path
from repro.params.project import Project
from repro.tracking.run_reader import read_runs
read_runs(Project(Path({0!r})))
"""


def rows() -> Iterator[Row]:
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        project = a_project(Path(name))
        open_client(project)
        yield _journal(project)
        yield from _thousand(project)


def _journal(project: Project) -> Row:
    """Seconds a metric on the training's thread: a line of the journal, fsync once a second included."""
    import mlflow

    mlflow.set_tracking_uri(tracking_uri(project))
    mlflow.set_experiment("bench")
    with mlflow.start_run():
        peer = best_of(lambda: [mlflow.log_metric("loss", 0.5, step=s) for s in range(100)], repeats=3)
    with Journal(project.work / "bench" / "journal.jsonl") as journal:
        ours = best_of(lambda: [journal.metrics({"loss": 0.5}, step=s) for s in range(METRICS)], repeats=3)
    each = {"ours": ours / METRICS, "peer": peer / 100}
    return Row(name="a metric in the journal", peer_name="mlflow.log_metric", **each, bound=0.006)


def _thousand(project: Project) -> Iterator[Row]:
    records = _records(project)
    began = time.perf_counter()
    report = sync(project, rebuild=True)
    ours = (time.perf_counter() - began) / len(report.sent)
    assert not report.failed
    name, fluent = f"sync --rebuild, {REBUILT} runs, each", "mlflow fluent, a call a value"
    yield Row(name=name, peer_name=fluent, ours=ours, peer=_fluent(project, records[:20]) / 20)
    again = best_of(lambda: sync(project), repeats=1)
    name = f"sync with nothing to do, {REBUILT} runs"
    yield Row(name=name, peer_name="sync --rebuild", ours=again, peer=ours * REBUILT)
    _multiply(project)
    assert len(read_runs(project)) >= RUNS
    peer = best_of(lambda: _python(SEARCH.format(tracking_uri(project))), repeats=2)
    ours = best_of(lambda: _python(READ.format(str(project.root))), repeats=2)
    fluent = "import mlflow, search_runs, pandas"
    yield Row(name="reading 1,000 runs, imports included", peer_name=fluent, ours=ours, peer=peer, bound=0.1)


def _records(project: Project) -> list[Record]:
    """Records of the usual size, each with a curve of 40 steps."""
    first = add_record(project, "bench_0", key="k0")
    (project.experiments / "bench_0" / "confusion.csv").unlink()  # matplotlib's time is not ours
    found = [first]
    for number in range(1, REBUILT):
        name = f"bench_{number}"
        folder = project.experiments / name
        folder.mkdir()
        (folder / "curve.csv").write_text(
            "step,loss,lr,val_mIoU\n" + "".join(f"{s},1.0,0.1,\n" for s in range(40))
        )
        params = {**first.params, "number": number}
        record = replace(first, experiment=name, run_key=f"k{number}", params=params)
        found.append(write_record(project.record(name), record))
    return found


def _multiply(project: Project) -> None:
    """Copies of the runs, row by row, until the database holds a thousand and more."""
    tables = {"runs": "run_uuid", "latest_metrics": "run_uuid", "params": "run_uuid", "tags": "run_uuid"}
    with closing(sqlite3.connect(project.root / "mlflow.db")) as connection:
        for copy in range(-(-RUNS // REBUILT)):
            for table, key in tables.items():
                columns = [row[1] for row in connection.execute(f"pragma table_info({table})")]
                values = [f"{key} || '-{copy}'" if column == key else column for column in columns]
                chosen = f"select {', '.join(values)} from {table} where {key} not like '%-%'"
                connection.execute(f"insert into {table} ({', '.join(columns)}) {chosen}")
        connection.commit()


def _fluent(project: Project, records: list[Record]) -> float:
    """The same runs as the tutorials write them."""
    import mlflow

    other = a_project(project.root / "other")
    open_client(other)
    mlflow.set_tracking_uri(tracking_uri(other))
    mlflow.set_experiment("bench")
    began = time.perf_counter()
    for record in records:
        with mlflow.start_run(run_name=record.experiment):
            _log(mlflow, record)
    return time.perf_counter() - began


def _log(mlflow: Any, record: Record) -> None:
    for name, value in record.metrics.items():
        mlflow.log_metric(name, value)
    for step in range(40):
        mlflow.log_metric("train/loss", 1.0, step=step)
        mlflow.log_metric("train/lr", 0.1, step=step)
    for name, value in (("seed", 0), ("backbone", "densenet"), ("family", "deeplabv2")):
        mlflow.log_param(name, value)
    mlflow.set_tags({"verdict": record.verdict, "dataset": record.dataset})
    mlflow.log_dict(dict(record.metrics), "metrics.json")


def _python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
