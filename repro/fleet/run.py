"""Run a list of experiments in parallel, with logs, retries and resumable stops."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from repro.fleet.launcher import POLL_SECONDS, Handle, Launcher, LocalLauncher, end, signals_as_ctrl_c
from repro.fleet.workspace import dvc_repro, has_dvc
from repro.params import Project, read_yaml

State = Literal["waiting", "running", "done", "failed", "stopped", "left out"]
ATTEMPTS = 2  # one retry after a crash; a training resumes from its last checkpoint


@dataclass(kw_only=True)
class Job:
    """An experiment of the fleet. Times are seconds of a monotonic clock."""

    name: str
    dataset: str  # "" if it needs none
    log: Path
    seconds: float = 0.0  # estimated
    state: State = "waiting"
    attempts: int = 0
    slot: int | None = None
    began: float = 0.0
    ended: float = 0.0
    code: int | None = None
    handle: Handle | None = None

    def elapsed(self) -> float:
        return (self.ended or time.monotonic()) - self.began if self.began else 0.0

    def leave_out(self) -> None:
        """Skip the job, or its retry after a crash, for lack of time."""
        self.state = "failed" if self.attempts and self.code else "left out"


@dataclass(kw_only=True)
class Fleet:
    """Runs `jobs` in `slots` parallel slots, each with one of `gpus`; `budget` is in seconds of wall time.

    A job fails by an exit status that is not in `succeeds`; it is started up to `attempts` times.
    """

    project: Project
    jobs: Sequence[Job]
    slots: int = 1
    gpus: Sequence[str] = ()
    budget: float | None = None
    attempts: int = ATTEMPTS
    succeeds: Collection[int] = (0,)
    launcher: Launcher = field(default_factory=LocalLauncher)
    is_here: bool = True  # the slots share the cores of this machine
    command: Callable[[Project, str], list[str]] = field(default_factory=lambda: experiment_command)
    shown: Callable[[Sequence[Job]], None] = lambda jobs: None
    began: float = field(default_factory=time.monotonic)

    def run(self) -> list[Job]:
        """Run all jobs in order; a signal or the end of the budget stops running jobs, which can resume."""
        for job in self.jobs:
            job.log.parent.mkdir(parents=True, exist_ok=True)
        with signals_as_ctrl_c():
            try:
                self._share()
                while self._step():
                    self.shown(self.jobs)
                    time.sleep(POLL_SECONDS)
            except BaseException:  # a signal or a failing launcher: stop all jobs
                self._stop()
                self.shown(self.jobs)
                raise
        self.shown(self.jobs)
        return list(self.jobs)

    def _share(self) -> None:
        """Prepare shared data sets first, one by one: DVC cannot run a stage twice at the same time."""
        for dataset in sorted({job.dataset for job in self.jobs} - {""}) if has_dvc(self.project) else ():
            if not self._over_budget():
                self._prepare(dataset)

    def _prepare(self, dataset: str) -> None:
        """Prepare one data set; if that fails, its experiments fail."""
        log = self.jobs[0].log.with_name(f"prepare-{dataset}.log")
        command = dvc_repro(f"prepare@{dataset}")
        handle = self.launcher(command, environment={}, log=log, folder=self.project.root)
        try:
            while (code := handle.poll()) is None and not self._over_budget():
                time.sleep(POLL_SECONDS)
        finally:
            end([handle])
        if code:
            why = f"data set '{dataset}' could not be prepared: `repro data list {dataset}`, {log}"
            for job in (job for job in self.jobs if job.dataset == dataset):
                job.state, job.code = "failed", code
                job.log.write_text(f"{why}\n", encoding="utf-8")

    def _step(self) -> bool:
        """Update running jobs and start waiting ones; returns False when all are finished."""
        for job in self.jobs:
            if job.state == "running":
                self._update(job)
        if self._over_budget():
            self._stop()
            for job in (job for job in self.jobs if job.state == "waiting"):
                job.leave_out()
        for job in self.jobs:
            if job.state == "waiting" and self._free() is not None:
                self._start(job)
        return any(job.state in ("running", "waiting") for job in self.jobs)

    def _start(self, job: Job) -> None:
        left = self._left()
        if left is not None and job.seconds > left:
            return job.leave_out()
        job.slot, job.state, job.attempts = self._free(), "running", job.attempts + 1
        job.began, job.ended = time.monotonic(), 0.0
        job.handle = self.launcher(
            self.command(self.project, job.name),
            environment=self._environment(job),
            log=job.log,
            folder=self.project.root,
        )

    def _environment(self, job: Job) -> dict[str, str]:
        """The job's GPU, or its share of the cores."""
        if self.gpus and job.slot is not None:
            return {"CUDA_VISIBLE_DEVICES": self.gpus[job.slot % len(self.gpus)]}
        if self.is_here and self.slots > 1 and "OMP_NUM_THREADS" not in os.environ:
            return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // self.slots))}
        return {}

    def _update(self, job: Job) -> None:
        code = job.handle.poll() if job.handle else 0
        if code is None:
            return
        job.code, job.ended, job.slot = code, time.monotonic(), None
        if code in self.succeeds:
            job.state = "done"
        else:
            job.state = "waiting" if job.attempts < self.attempts else "failed"

    def _free(self) -> int | None:
        taken = {job.slot for job in self.jobs if job.state == "running"}
        return next((slot for slot in range(self.slots) if slot not in taken), None)

    def _left(self) -> float | None:
        return None if self.budget is None else self.budget - (time.monotonic() - self.began)

    def _over_budget(self) -> bool:
        left = self._left()
        return left is not None and left <= 0

    def _stop(self) -> None:
        """Stop running jobs, which save their state."""
        running = [(job, job.handle) for job in self.jobs if job.state == "running" and job.handle]
        end([handle for _, handle in running])
        for job, handle in running:
            job.code = handle.poll()
            job.state = "done" if job.code == 0 else "stopped"  # it may have just finished
            job.ended, job.slot = time.monotonic(), None


def experiment_command(project: Project, name: str) -> list[str]:
    """The command that runs one experiment in parallel with others."""
    if not has_dvc(project):
        return [sys.executable, "-m", "repro", "run", name]
    return dvc_repro("--single-item", *stages_of(project, name))


def stages_of(project: Project, name: str) -> list[str]:
    """DVC targets of an experiment and of those it starts from, without shared data.

    Even checking whether shared data is up to date takes a lock, for which DVC does not wait while a training
    reads the data ("is busy"); the fleet prepares it first.
    """
    start = read_yaml(project.params_of(name)).get("start_from")
    before = stages_of(project, start) if start else []
    return [*before, f"experiments/{name}/dvc.yaml", f"experiments/{name}"]
