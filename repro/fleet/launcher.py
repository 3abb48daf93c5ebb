"""Starting one experiment somewhere and ending it: what a launcher is, and processes of this machine."""

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
    """Something that was started."""

    def poll(self) -> int | None:
        """Exit status, None while it runs."""

    def stop(self, *, hard: bool) -> None:
        """Ask it to save and end, or end it at once."""


class Launcher(Protocol):
    """Starts a command with extra environment variables; its output goes to `log`."""

    def __call__(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path, folder: Path
    ) -> Handle: ...


class LocalHandle:
    """A process and everything it started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.is_asked = False

    def poll(self) -> int | None:
        return self.process.poll()

    def stop(self, *, hard: bool) -> None:
        if self.is_asked and not hard:  # a second SIGINT would end a training before it has saved
            return
        self.is_asked = True
        try:  # its own session, so the group is all of it: dvc, the shell between, the training
            os.killpg(self.process.pid, signal.SIGKILL if hard else signal.SIGINT)
        except ProcessLookupError:
            return


class LocalLauncher:
    """Processes of this machine."""

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
    """Ask what runs to save and end, and end what has not after a minute."""
    for hard, patience in ((False, GRACE_SECONDS), (True, KILL_SECONDS)):
        for handle in handles:
            if handle.poll() is None:
                handle.stop(hard=hard)
        until = time.monotonic() + patience
        while time.monotonic() < until and any(handle.poll() is None for handle in handles):
            time.sleep(POLL_SECONDS)


@contextmanager
def signals_as_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP are Ctrl-C: what was started here lives in sessions that neither would reach.

    A shutdown sends both; those after the first one must not disturb the stop. What `nohup` ignores stays so.
    """
    both = (signal.SIGTERM, signal.SIGHUP)
    wanted = [one for one in both if signal.getsignal(one) not in (signal.SIG_IGN, None)]

    def stop(number: int, frame: FrameType | None) -> None:
        for one in wanted:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    try:
        before = {number: signal.signal(number, stop) for number in wanted}
    except ValueError:  # not the main thread: signals go to somebody else
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
