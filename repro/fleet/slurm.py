"""Jobs on a SLURM cluster through submitit; the project must be on a disk that all nodes share.

Depending on the cluster's process tracking, SLURM's signals reach the first process of a job or all of them,
and a second SIGINT kills a training before it has saved. Jobs are therefore stopped by a file: the job's
wrapper on the node watches for it and sends a single signal.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.errors import ParamsError, ReproError
from repro.fleet.launcher import Handle, LocalLauncher

LOOK_SECONDS = 0.5
ASK_SECONDS = 5.0  # between two queries of the controller
DAY_MINUTES = 24 * 60  # submitit's default ends a job after five minutes
ENDED = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")
)
Executor = Callable[[Path], Any]


@dataclass(frozen=True, kw_only=True)
class OnNode:
    """Wrapper on a node: runs a command with output to `log` until it ends or the file `stop` exists."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    folder: Path
    stop: Path

    def __call__(self) -> int:
        """Run the command and return its exit status; on any end of the job it may save its state first."""
        before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # SLURM's warning; inherited by children
        handle = LocalLauncher()(self.command, environment=self.environment, log=self.log, folder=self.folder)
        signal.signal(signal.SIGUSR2, before)
        try:
            while (code := handle.poll()) is None and not self.stop.exists():
                time.sleep(LOOK_SECONDS)
        finally:
            if handle.poll() is None:
                handle.stop(hard=False)
            while (code := handle.poll()) is None:
                time.sleep(LOOK_SECONDS)
        return code


class SlurmHandle:
    """A submitit job."""

    def __init__(self, job: Any, stop: Path) -> None:
        self.job = job
        self.stop_file = stop
        self.asked, self.missed = 0.0, 0

    def poll(self) -> int | None:
        """The command's exit status, or 1 if SLURM ended the job without one."""
        if self.job.paths.result_pickle.exists():
            return int(self.job.result()) if self.job.exception() is None else 1
        if time.monotonic() - self.asked < ASK_SECONDS:
            return None
        self.asked = time.monotonic()
        self.missed = self.missed + 1 if self._is_gone() else 0
        return (
            1 if self.missed > 1 else None
        )  # two misses, since a shared disk may show the result with a delay

    def stop(self, *, hard: bool) -> None:
        self.stop_file.touch()
        if hard or self._state() == "PENDING":
            self.job.cancel(check=False)

    def _is_gone(self) -> bool:
        return self._state() in ENDED

    def _state(self) -> str:
        """SLURM's state of the job from squeue; sacct would need an accounting database."""
        command = ["squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={self.job.job_id}"]
        try:
            asked = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
        except FileNotFoundError:  # no cluster: submitit's local executor
            return "COMPLETED" if self.job.done() else "RUNNING"
        except subprocess.TimeoutExpired:
            return "UNKNOWN"
        forgotten = "Invalid job id" in asked.stderr  # after five minutes
        return "COMPLETED" if forgotten else asked.stdout.strip() or "UNKNOWN"


class SlurmLauncher:
    """Starts SLURM jobs.

    `options` are sbatch's in submitit's naming: partition, gpus_per_node, time, ... `executor` replaces
    submitit's executor in tests.
    """

    def __init__(self, *, executor: Executor | None = None, options: Mapping[str, Any] | None = None) -> None:
        self.executor = executor or slurm_executor
        self.options = dict(options or {})

    def __call__(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path, folder: Path
    ) -> Handle:
        stop = log.with_suffix(".stop")
        stop.unlink(missing_ok=True)
        job = OnNode(command=tuple(command), environment=dict(environment), log=log, folder=folder, stop=stop)
        executor = self.executor(log.parent / "slurm")
        if self.options:
            _update(executor, self.options)
        return SlurmHandle(_submit(executor, job), stop)


def slurm_executor(folder: Path) -> Any:
    """submitit's executor for SLURM, with its scripts and logs in `folder`."""
    try:
        import submitit
    except ImportError:
        raise ReproError(
            "SLURM needs submitit", allowed="--launcher local", hint="pip install submitit"
        ) from None
    try:
        executor = submitit.SlurmExecutor(folder=folder)
    except RuntimeError:
        raise ReproError("SLURM is not available: srun was not found", allowed="--launcher local") from None
    executor.update_parameters(job_name="repro", time=DAY_MINUTES)
    return executor


def _submit(executor: Any, job: OnNode) -> Any:
    from submitit.core.utils import FailedJobError

    try:
        return executor.submit(job)
    except FailedJobError:  # sbatch has printed the reason to standard error
        hint = "`sinfo` shows the available partitions"
        raise ReproError("sbatch refused the job: see above", where="--slurm", hint=hint) from None


def _update(executor: Any, options: Mapping[str, Any]) -> None:
    try:
        executor.update_parameters(**options)
    except (TypeError, ValueError) as error:
        raise ParamsError(
            str(error).strip(), where="--slurm", hint="use the names of sbatch's options"
        ) from None


def parse_options(settings: Sequence[str]) -> dict[str, Any]:
    """Parse ["partition=gpu", "gpus_per_node=1"]; numbers become int, except with leading zeros."""
    pairs = [setting.partition("=") for setting in settings]
    wrong = next((name for name, equals, value in pairs if not (name and equals and value)), None)
    if wrong is not None:
        raise ParamsError(f"invalid option '{wrong}'", where="--slurm", allowed="KEY=VALUE")
    number = re.compile(r"0|[1-9][0-9]*")
    return {name: int(value) if number.fullmatch(value) else value for name, _, value in pairs}
