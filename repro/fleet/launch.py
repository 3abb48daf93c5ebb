"""Starting one experiment somewhere: a process here, or a job of SLURM; a dict of launchers, by name."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from repro.errors import ReproError

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


class SlurmHandle:
    """A job of submitit."""

    def __init__(self, job: Any) -> None:
        self.job = job

    def poll(self) -> int | None:
        if not self.job.done():
            return None
        return 0 if self.job.exception() is None else 1

    def stop(self, *, hard: bool) -> None:
        self.job.cancel(check=False)  # scancel sends SIGTERM, on which a training saves itself


class SlurmLauncher:
    """Jobs of a SLURM cluster through submitit; the project lies on a disk that all nodes see.

    `executor` takes another submitit executor, for tests. `options` are submitit's: slurm_partition,
    gpus_per_node, timeout_min, ...
    """

    def __init__(
        self, *, executor: Callable[[Path], Any] | None = None, options: Mapping[str, Any] | None = None
    ) -> None:
        self.executor = executor or _slurm_executor
        self.options = dict(options or {})

    def __call__(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path, folder: Path
    ) -> Handle:
        try:
            from submitit.helpers import CommandFunction
        except ImportError:
            raise ReproError(
                "SLURM needs submitit", allowed="--launcher local", hint="pip install submitit"
            ) from None
        executor = self.executor(log.parent / "slurm")
        if self.options:
            executor.update_parameters(**self.options)
        settings = [f"{name}={value}" for name, value in environment.items()]
        function = CommandFunction(["env", *settings, *command], cwd=str(folder), verbose=True)
        return SlurmHandle(executor.submit(function))


def _slurm_executor(folder: Path) -> Any:
    import submitit

    return submitit.AutoExecutor(folder=folder, cluster="slurm")


LAUNCHERS: dict[str, Callable[[], Launcher]] = {"local": LocalLauncher, "slurm": SlurmLauncher}
