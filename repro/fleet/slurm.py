"""Jobs of a SLURM cluster through submitit; the project lies on a disk that all nodes see.

What SLURM does to the processes of a job depends on how a cluster tracks them: with cgroups a signal reaches
only the first process, without them all. So a stop is a file that the node's side looks for, and the signal
to the training is always one, sent from its own machine: a second one would end it before it has saved.
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
ASK_SECONDS = 5.0  # between two questions to the controller
DAY_MINUTES = 24 * 60  # submitit's own default would end a job after five minutes
ENDED = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")
)
Executor = Callable[[Path], Any]


@dataclass(frozen=True, kw_only=True)
class OnNode:
    """What runs on a node: a command with its output in `log`, until it ends or the file `stop` appears."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    folder: Path
    stop: Path

    def __call__(self) -> int:
        """The exit status. However SLURM ends the job, the command is first asked to save itself."""
        before = signal.signal(
            signal.SIGUSR2, signal.SIG_IGN
        )  # SLURM's warning goes to all; children inherit
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
    """A job of submitit."""

    def __init__(self, job: Any, stop: Path) -> None:
        self.job = job
        self.stop_file = stop
        self.asked, self.missed = 0.0, 0

    def poll(self) -> int | None:
        """The command's exit status; 1 when SLURM ended the job before there was one."""
        if self.job.paths.result_pickle.exists():
            return int(self.job.result()) if self.job.exception() is None else 1
        if time.monotonic() - self.asked < ASK_SECONDS:
            return None
        self.asked = time.monotonic()
        self.missed = self.missed + 1 if self._is_gone() else 0
        return 1 if self.missed > 1 else None  # twice: the shared disk may show the result a moment later

    def stop(self, *, hard: bool) -> None:
        self.stop_file.touch()
        if hard or self._state() == "PENDING":
            self.job.cancel(check=False)

    def _is_gone(self) -> bool:
        return self._state() in ENDED

    def _state(self) -> str:
        """SLURM's word for it, by squeue: sacct needs a database that small clusters have not got."""
        command = ["squeue", "--noheader", "--states=all", "--format=%T", f"--jobs={self.job.job_id}"]
        try:
            asked = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
        except FileNotFoundError:  # no cluster: submitit's local executor
            return "COMPLETED" if self.job.done() else "RUNNING"
        except subprocess.TimeoutExpired:
            return "UNKNOWN"
        forgotten = "Invalid job id" in asked.stderr  # five minutes after its end
        return "COMPLETED" if forgotten else asked.stdout.strip() or "UNKNOWN"


class SlurmLauncher:
    """Starts jobs. `options` are sbatch's, as submitit names them: partition, gpus_per_node, time, ...

    `executor` takes another submitit executor, for tests.
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
    """submitit's executor for SLURM; its files (what sbatch got, what a node said) lie in `folder`."""
    try:
        import submitit
    except ImportError:
        raise ReproError(
            "SLURM needs submitit", allowed="--launcher local", hint="pip install submitit"
        ) from None
    try:
        executor = submitit.SlurmExecutor(folder=folder)
    except RuntimeError:
        raise ReproError("no SLURM here: srun was not found", allowed="--launcher local") from None
    executor.update_parameters(job_name="repro", time=DAY_MINUTES)
    return executor


def _submit(executor: Any, job: OnNode) -> Any:
    from submitit.core.utils import FailedJobError

    try:
        return executor.submit(job)
    except FailedJobError:  # sbatch has said why, on standard error
        raise ReproError(
            "sbatch refused the job: see above", where="--slurm", hint="`sinfo` shows what there is"
        ) from None


def _update(executor: Any, options: Mapping[str, Any]) -> None:
    try:
        executor.update_parameters(**options)
    except (TypeError, ValueError) as error:
        raise ParamsError(str(error).strip(), where="--slurm", hint="names are those of sbatch") from None


def parse_options(settings: Sequence[str]) -> dict[str, Any]:
    """["partition=gpu", "gpus_per_node=1"] as a mapping; numbers become int, account=0042 stays a name."""
    pairs = [setting.partition("=") for setting in settings]
    wrong = next((name for name, equals, value in pairs if not (name and equals and value)), None)
    if wrong is not None:
        raise ParamsError(f"not a setting: '{wrong}'", where="--slurm", allowed="KEY=VALUE")
    number = re.compile(r"0|[1-9][0-9]*")
    return {name: int(value) if number.fullmatch(value) else value for name, _, value in pairs}
