"""Reports: a thousand records rendered and gated; runs of a tracking store beside MLflow's own way."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.large_project import large_project
from tests.bench.row import Row
from tests.reports.kit import a_project

RECORDS = 1_000
RUNS = 1_000
PEER = "import sys, mlflow; frame = mlflow.search_runs(search_all_experiments=True); frame.to_csv(sys.stdout)"
STORE = """
import sys, mlflow
from mlflow.entities import Metric, Param, RunTag
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
experiment = client.create_experiment("camvid", artifact_location="/nowhere")
for i in range(int(sys.argv[2])):
    run = client.create_run(experiment, run_name=f"run{i}").info.run_id
    metrics = [Metric(f"m{k}", i + k / 7, 0, 0) for k in range(30)]
    client.log_batch(run, metrics, [Param(f"p{k}", str(k)) for k in range(20)], [RunTag("page", "003")])
"""


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield _thousand_records(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield _from_mlflow(Path(folder), RUNS)


def _thousand_records(folder: Path) -> Row:
    """CPU seconds of `repro table` and `repro check`, start-up included, once the judgements are kept."""
    root = large_project(folder / "project", RECORDS).root
    commands = [("-m", "repro", name) for name in ("table", "check")]
    for command in commands:
        cpu(*command, cwd=root)
    time.sleep(1.1)  # files younger than a second are judged again
    cpu(*commands[1], cwd=root)
    seconds = sum(cpu(*command, cwd=root) for command in commands)
    name = f"table + check of {RECORDS:,} records, judgements kept"
    return Row(name=name, peer_name="3 s of CPU", ours=seconds, peer=3.0, bound=1.0)


def _from_mlflow(folder: Path, runs: int) -> Row:
    """CPU seconds, start-up included, until every run with every metric and param is printed."""
    project, uri = a_project(folder), f"sqlite:///{folder / 'mlflow.db'}"
    cpu("-W", "ignore", "-c", STORE, uri, str(runs), cwd=folder)
    ours = cpu("-m", "repro", "table", "--from", "mlflow", "--format", "csv", "--uri", uri, cwd=project.root)
    peer = cpu("-W", "ignore", "-c", PEER, cwd=folder, MLFLOW_TRACKING_URI=uri)
    name = f"table --from mlflow, {runs:,} runs"
    return Row(name=name, peer_name="import mlflow + search_runs + pandas", ours=ours, peer=peer, bound=0.10)


def cpu(*arguments: str, cwd: Path, **environment: str) -> float:
    """User and system seconds of a Python process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": path} | environment,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
