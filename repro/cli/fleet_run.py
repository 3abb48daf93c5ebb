"""Experiments as one fleet with the options that a person typed: `repro fleet`, `campaign` and `run`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from repro.cli.common import emit_json
from repro.cli.fleet_view import line, live, show_plan, tell_nothing
from repro.cli.how import How, parse_duration, visible_gpus
from repro.cli.voice import note

if TYPE_CHECKING:
    from repro.errors import ParamsError
    from repro.fleet import Estimate, Job, Launcher
    from repro.params import Project

LAUNCHERS = ("local", "slurm")


def run_names(project: Project, names: Sequence[str], how: How) -> None:
    """Plan, show, run, tell; exit 1 when an experiment failed."""
    from repro.errors import CheckFailed
    from repro.fleet import Fleet, plan, speeds
    from repro.stages.ready import renew_files

    launcher = launcher_of(how)
    places = visible_gpus(how.gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
    slots, seconds = how.jobs or len(places) or 1, parse_duration(how.budget)
    speed = speeds(project, "cuda" if places or _has_gpu() else "cpu")
    fitting, left_out = plan(
        project, names, speed=speed, refused=refuse, budget=seconds, jobs=slots, again=how.again
    )
    if not fitting:
        tell_nothing(len(names), len(left_out))
    if how.dry_run:
        return show_plan(fitting, left_out, how.as_json)
    renew_files(project, note)
    with live(len(left_out)) as shown:
        done = Fleet(
            project=project,
            jobs=[make_job(project, one) for one in fitting],
            slots=slots,
            gpus=places,
            budget=seconds,
            launcher=launcher,
            is_here=how.launcher == "local",
            shown=shown,
        ).run()
    if how.as_json:
        emit_json([line(job) for job in done])
    failed = [job for job in done if job.state == "failed"]
    if failed:
        logs = ", ".join(str(job.log.relative_to(project.root)) for job in failed[:5])
        raise CheckFailed(f"{len(failed)} of {len(done)} experiments failed", where=logs)


def refuse(name: str, error: ParamsError) -> None:
    """Say why an experiment is left out."""
    note(f"left out {name}: {error.what}")


def launcher_of(how: How) -> Launcher:
    """What starts the experiments; ParamsError for options that contradict it."""
    from repro.errors import ParamsError, UnknownNameError
    from repro.fleet import LocalLauncher, SlurmLauncher
    from repro.fleet.slurm import parse_options

    if how.launcher not in LAUNCHERS:
        raise UnknownNameError("launcher", how.launcher, LAUNCHERS)
    if how.launcher == "local":
        if how.slurm:
            raise ParamsError("--slurm is for --launcher slurm", where="--launcher local")
        return LocalLauncher()
    if how.gpus:
        hint = "--slurm gpus_per_node=1 --jobs N"
        raise ParamsError("--gpus names GPUs of this machine", where="--launcher slurm", hint=hint)
    return SlurmLauncher(options=parse_options(how.slurm))


def make_job(project: Project, one: Estimate) -> Job:
    from repro.fleet import Job
    from repro.params import read_yaml

    dataset = str(read_yaml(project.experiments / one.name / "params.yaml")["dataset"])
    log = project.root / ".repro" / "fleet" / f"{one.name}.log"
    return Job(name=one.name, dataset=dataset, log=log, seconds=one.seconds)


def _has_gpu() -> bool:
    from repro.records.device import gpu_driver

    return gpu_driver() is not None
