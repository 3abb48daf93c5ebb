"""Starting one experiment somewhere: what a launcher is, and processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

GRACE_SECONDS = 60.0  # for a training to save its state after SIGINT


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

    def poll(self) -> int | None:
        return self.process.poll()

    def stop(self, *, hard: bool) -> None:
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
