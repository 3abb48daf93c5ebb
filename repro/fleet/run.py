"""Running a list of experiments, some at a time: logs kept, failures survived, stops that can be resumed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from repro.fleet.launcher import POLL_SECONDS, Handle, Launcher, LocalLauncher, end, signals_as_ctrl_c
from repro.fleet.workspace import dvc_repro, has_dvc
from repro.params import Project, read_yaml

State = Literal["waiting", "running", "done", "failed", "stopped", "left out"]
ATTEMPTS = 2  # a crash is tried once more; a training goes on from its last checkpoint


@dataclass(kw_only=True)
class Job:
    """One experiment of the fleet. Times are seconds of a monotonic clock."""

    name: str
    dataset: str  # "": it needs none
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
        """No time is left for it, or for trying it again after a crash."""
        self.state = "failed" if self.attempts and self.code else "left out"


@dataclass(kw_only=True)
class Fleet:
    """Runs `jobs` on `slots` places; `gpus` gives each place a GPU. `budget` is seconds of wall time."""

    project: Project
    jobs: Sequence[Job]
    slots: int = 1
    gpus: Sequence[str] = ()
    budget: float | None = None
    launcher: Launcher = field(default_factory=LocalLauncher)
    is_here: bool = True  # the places share the cores of this machine
    command: Callable[[Project, str], list[str]] = field(default_factory=lambda: experiment_command)
    shown: Callable[[Sequence[Job]], None] = lambda jobs: None
    began: float = field(default_factory=time.monotonic)

    def run(self) -> list[Job]:
        """Everything, in order; a signal and the end of the budget stop what runs, and it can be resumed."""
        for job in self.jobs:
            job.log.parent.mkdir(parents=True, exist_ok=True)
        with signals_as_ctrl_c():
            try:
                self._share()
                while self._step():
                    self.shown(self.jobs)
                    time.sleep(POLL_SECONDS)
            except BaseException:  # a signal, or a launcher that can start nothing: nobody is left behind
                self._stop()
                self.shown(self.jobs)
                raise
        self.shown(self.jobs)
        return list(self.jobs)

    def _share(self) -> None:
        """Stages that several experiments share, one at a time: DVC refuses to build one twice at once."""
        for dataset in sorted({job.dataset for job in self.jobs} - {""}) if has_dvc(self.project) else ():
            if not self._over_budget():
                self._prepare(dataset)

    def _prepare(self, dataset: str) -> None:
        """Prepare one data set; its experiments fail where that fails, the others do not need it."""
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
        """Look at what runs, start what may start; False when nothing is left to do."""
        for job in self.jobs:
            if job.state == "running":
                self._look(job)
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
        """A GPU for the job, or its share of the processor."""
        if self.gpus and job.slot is not None:
            return {"CUDA_VISIBLE_DEVICES": self.gpus[job.slot % len(self.gpus)]}
        if self.is_here and self.slots > 1 and "OMP_NUM_THREADS" not in os.environ:
            return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // self.slots))}
        return {}

    def _look(self, job: Job) -> None:
        code = job.handle.poll() if job.handle else 0
        if code is None:
            return
        job.code, job.ended, job.slot = code, time.monotonic(), None
        if code == 0:
            job.state = "done"
        else:
            job.state = "waiting" if job.attempts < ATTEMPTS else "failed"

    def _free(self) -> int | None:
        taken = {job.slot for job in self.jobs if job.state == "running"}
        return next((slot for slot in range(self.slots) if slot not in taken), None)

    def _left(self) -> float | None:
        return None if self.budget is None else self.budget - (time.monotonic() - self.began)

    def _over_budget(self) -> bool:
        left = self._left()
        return left is not None and left <= 0

    def _stop(self) -> None:
        """End what runs, so that it saves itself."""
        running = [(job, job.handle) for job in self.jobs if job.state == "running" and job.handle]
        end([handle for _, handle in running])
        for job, handle in running:
            job.code = handle.poll()
            job.state = "done" if job.code == 0 else "stopped"  # it may just have reached its end
            job.ended, job.slot = time.monotonic(), None


def experiment_command(project: Project, name: str) -> list[str]:
    """The command that runs one experiment beside others."""
    if not has_dvc(project):
        return [sys.executable, "-m", "repro", "run", name]
    return dvc_repro("--single-item", *stages_of(project, name))


def stages_of(project: Project, name: str) -> list[str]:
    """DVC's targets of an experiment and of those it starts from, without the data that all share.

    Only looking whether shared data is up to date takes a lock that DVC does not wait for ("is busy") while
    any training reads that data: the fleet did it before.
    """
    start = read_yaml(project.params_of(name)).get("start_from")
    before = stages_of(project, start) if start else []
    return [*before, f"experiments/{name}/dvc.yaml", f"experiments/{name}"]
