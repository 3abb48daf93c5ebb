"""Launchers: start and stop experiments; `LocalLauncher` starts processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol

GRACE_SECONDS = 60.0  # for a training to save its state after SIGINT
KILL_SECONDS = 10.0
POLL_SECONDS = 0.2


class Handle(Protocol):
    """A started job."""

    def poll(self) -> int | None:
        """Exit status, None while it is running."""

    def stop(self, *, hard: bool) -> None:
        """Request it to save and end, or kill it if `hard`."""


class Launcher(Protocol):
    """Starts a command with extra environment variables; its output goes to `log`."""

    def __call__(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path, folder: Path
    ) -> Handle: ...


class LocalHandle:
    """A process and its children."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.is_asked = False

    def poll(self) -> int | None:
        return self.process.poll()

    def stop(self, *, hard: bool) -> None:
        if self.is_asked and not hard:  # a second SIGINT would kill a training before it has saved
            return
        self.is_asked = True
        try:  # the process group contains dvc, its shell and the training
            os.killpg(self.process.pid, signal.SIGKILL if hard else signal.SIGINT)
        except ProcessLookupError:
            return


class LocalLauncher:
    """Starts processes on this machine."""

    def __call__(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path, folder: Path
    ) -> Handle:
        with log.open("ab") as output:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                env=os.environ | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return LocalHandle(process)


def end(handles: Sequence[Handle]) -> None:
    """Request running jobs to save and end; kill those still running after GRACE_SECONDS."""
    for hard, patience in ((False, GRACE_SECONDS), (True, KILL_SECONDS)):
        for handle in handles:
            if handle.poll() is None:
                handle.stop(hard=hard)
        until = time.monotonic() + patience
        while time.monotonic() < until and any(handle.poll() is None for handle in handles):
            time.sleep(POLL_SECONDS)


@contextmanager
def signals_as_ctrl_c() -> Iterator[None]:
    """Raise KeyboardInterrupt for SIGTERM and SIGHUP, which do not reach the sessions of started jobs.

    After the first signal both are ignored, since a shutdown sends both. Signals ignored by `nohup` stay
    ignored.
    """
    both = (signal.SIGTERM, signal.SIGHUP)
    wanted = [one for one in both if signal.getsignal(one) not in (signal.SIG_IGN, None)]

    def stop(number: int, frame: FrameType | None) -> None:
        for one in wanted:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    try:
        before = {number: signal.signal(number, stop) for number in wanted}
    except ValueError:  # only the main thread receives signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
