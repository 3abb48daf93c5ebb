"""The follower: what it does about a training that is gone, and a store that is away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import repro.tracking.follower as follow
from repro.params import Project
from repro.records import Journal
from repro.tracking.run_info import start_fields
from repro.tracking.store import open_client
from tests.tracking.kit import KEY, WITH_MLFLOW, a_project, a_run, journal_of, shown, the_run, written

pytestmark = WITH_MLFLOW
ROOT = Path(__file__).parents[2]
DYING = """
import os, signal, sys
from pathlib import Path
from repro.params import Project
from repro.records import Journal
from repro.tracking.mirror import Mirror
from tests.tracking.kit import WITH_MLFLOW, a_run, journal_of
project = Project(Path(sys.argv[1]))
path = journal_of(project)
with Journal(path) as journal, Mirror(project, path, run=a_run()):
    journal.metrics({"train/loss": 1.0}, step=0)
    if sys.argv[2] == "KILLED":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("CUDA out of memory")
"""


@pytest.fixture
def project(tmp_path: Path, empty_database: Path) -> Project:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return a_project(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_a_training_that_dies_before_its_follower_has_started_is_shown(project: Project, status: str) -> None:
    subprocess.run(
        [sys.executable, "-c", DYING, str(project.root), status], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    log, until = journal_of(project).with_name("mirror.log"), time.monotonic() + 400
    while "done" not in log.read_text():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)
    client = open_client(project)
    run = the_run(client)
    assert run.info.status == status
    assert shown(client, run.info.run_id) == written(project)


def test_a_store_that_was_long_away_is_waited_for_after_the_end(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten hours of failing before the end are no reason to give up at the end."""
    with Journal(journal_of(project)) as journal:
        journal.event("run", **start_fields(a_run()))
        journal.metrics({"train/loss": 1.0}, step=0)
    attempts, clock = iter(range(4)), [0.0]

    def reached(project: Project) -> Any:
        attempt = next(attempts)
        if attempt == 3:
            return open_client(project)
        if attempt == 1:
            clock[0] = 36_000.0
            with Journal(journal_of(project)) as journal:
                journal.event("end", status="FINISHED", error="")
        raise ConnectionError("down")

    monkeypatch.setattr(follow, "open_client", reached)
    monkeypatch.setattr(follow.time, "monotonic", lambda real=time.monotonic: real() + clock[0])
    follower = follow.Follower(project=project, journal=journal_of(project), parent=os.getpid(), pause=0.1)
    monkeypatch.setattr(follower, "_parent_lives", lambda: True)
    assert follower.follow() == 0
    assert the_run(open_client(project), KEY).info.status == "FINISHED"
