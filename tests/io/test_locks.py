"""Locks: waiting for a working holder, and errors that name the holder."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from repro.errors import StorageError
from repro.io import locks
from repro.records import is_locked, locked

HOLD = """
import sys, time
from pathlib import Path
from repro.records import locked
with locked(Path(sys.argv[1]), "the store is in use", timeout=float(sys.argv[2])):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""


@contextmanager
def holder(path: Path, seconds: float, *, timeout: float = 60) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(path), str(timeout), str(seconds), "--password=hunter2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_holder_is_named_at_once_where_nobody_waits(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".lock"
    path.parent.mkdir()
    with holder(path, 600) as other:
        assert is_locked(path)
        with pytest.raises(StorageError, match="the store is in use already, by process") as caught:
            locked(path, "the store is in use").__enter__()
    words = str(caught.value)
    assert f"process {other.pid} on {platform.node()}" in words
    assert "since 20" in words
    assert "hunter2" not in words
    assert caught.value.exit_code == 2


def test_a_killed_holder_leaves_a_lock_that_can_be_taken(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with holder(path, 600):
        pass
    assert not is_locked(path)
    with locked(path, "x"):
        assert is_locked(path)
        assert locks.holder_of(path)
    assert not list(tmp_path.glob("*.holder"))


def test_who_waits_reads_for_whom_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "NOTICE_SECONDS", 0.2)
    path = tmp_path / ".lock"
    with holder(path, 2) as other, locked(path, "the store is in use", timeout=60):
        pass
    assert f"the store is in use already; waiting for process {other.pid}" in caplog.text


def test_a_holder_without_signs_of_life_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that only locks the file, or a process that was stopped."""
    monkeypatch.setattr(locks, "SILENT_SECONDS", 1.0)
    path, began = tmp_path / ".lock", time.monotonic()
    with FileLock(path), pytest.raises(StorageError, match="by an unknown program"):
        locked(path, "the store is in use", timeout=600).__enter__()
    assert time.monotonic() - began < 60


def test_a_note_of_the_dead_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with holder(path, 600) as other:
        note = json.loads(path.with_name(".lock.holder").read_text())
    assert note["pid"] == other.pid
    assert locks.holder_of(path) is None


def test_one_thread_may_take_it_twice(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path, "x"), locked(path, "x"):
        assert locks.holder_of(path)
    assert not is_locked(path)
    assert os.listdir(tmp_path) == [".lock"]
