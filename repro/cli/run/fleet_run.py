"""Several experiments as one fleet: plan, preflight, run, report."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import TYPE_CHECKING

from repro.cli.console import emit_json
from repro.cli.reporter import name_broken, note, require_asked, say
from repro.cli.run.fleet_options import FleetOptions, parse_duration, visible_gpus
from repro.cli.run.fleet_view import line, live, print_nothing_to_run, show_plan

if TYPE_CHECKING:
    from repro.errors import ReproError
    from repro.fleet import Estimate, Job, Launcher
    from repro.params import AnyExperiment, Project


def run_names(
    project: Project, names: Sequence[str], options: FleetOptions, *, asked: Sequence[str] = ()
) -> None:
    """Plan, run and report; exit 1 when an experiment failed. `asked`: the names and patterns typed."""
    from repro.fleet import Fleet, plan, speeds
    from repro.params import load_experiment
    from repro.stages.inputs_ready import regenerate_files

    launcher = launcher_of(options)
    places = visible_gpus(options.gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))
    slots, seconds = options.jobs or len(places) or 1, parse_duration(options.budget)
    broken: dict[str, ReproError] = {}
    speed = speeds(project, "cuda" if places or _has_gpu() else "cpu")
    fitting, left_out = plan(
        project,
        names,
        speed=speed,
        refused=broken.__setitem__,
        budget=seconds,
        jobs=slots,
        again=options.again,
    )
    if not fitting:
        print_nothing_to_run(len(names), len(left_out))
    name_broken(broken)
    experiments = [load_experiment(project, one.name) for one in fitting]
    stopped = before_start(project, experiments, options, with_gpu=options.launcher == "local")
    if options.dry_run:
        show_plan(fitting, left_out, options.as_json)
        return require_asked(asked, broken)
    regenerate_files(project, note)
    with live(len(left_out)) as shown:
        done = Fleet(
            project=project,
            jobs=[make_job(project, one) for one in fitting if one.name not in stopped],
            slots=slots,
            gpus=places,
            budget=seconds,
            launcher=launcher,
            is_here=options.launcher == "local",
            shown=shown,
        ).run()
    if options.as_json:
        emit_json([line(job) for job in done])
    require_all(done, stopped, broken, project)


def run_fleet(
    project: Project, names: Sequence[str], options: FleetOptions, seeds: int, *, asked: Sequence[str]
) -> None:
    """Schedule experiments, each with its other seeds if any; `asked`: the names and patterns typed."""
    if seeds > 1:
        run_seed_fleet(project, names, options, seeds)
    else:
        run_names(project, names, options, asked=asked)


def run_seed_fleet(project: Project, names: Sequence[str], options: FleetOptions, seeds: int) -> None:
    """Schedule experiments with their other seeds, then renew their records from all seeds."""
    from repro.errors import CheckFailed, ParamsError
    from repro.params import load_experiment
    from repro.stages.seeds import seed_family, without_copies

    if options.dry_run:
        raise ParamsError(
            "--dry-run makes no copies for --seeds", hint="without --seeds it shows one of them"
        )
    bases = [load_experiment(project, name) for name in without_copies(names)]
    families = [seed_family(project, base, seeds) for base in bases]
    try:
        run_names(project, [seed.name for family in families for seed in family], options)
    except CheckFailed:
        print_seeds(project, bases, options)
        raise
    print_seeds(project, bases, options)


def print_seeds(project: Project, bases: Iterable[AnyExperiment], options: FleetOptions) -> None:
    """Print the spread over the seeds; on standard error where standard output is JSON."""

    from repro.stages.seeds import report_seeds

    report_seeds(project, bases, note if options.as_json else say, note)


def require_all(
    done: Sequence[Job], stopped: Sized, broken: Mapping[str, ReproError], project: Project
) -> None:
    """An error where an experiment failed, cannot run here, or cannot be read; all others are done."""
    from repro.errors import CheckFailed
    from repro.params import broken_error

    failed = [job for job in done if job.state == "failed"]
    if failed:
        logs = ", ".join(str(job.log.relative_to(project.root)) for job in failed[:5])
        raise CheckFailed(f"{len(failed)} of {len(done)} experiments failed", where=logs)
    if broken:
        raise broken_error(broken, done="the others were run")
    if stopped:
        raise CheckFailed(f"cannot run here: {len(stopped)}", hint="see the lines above")


def before_start(
    project: Project, experiments: Sequence[AnyExperiment], options: FleetOptions, *, with_gpu: bool = True
) -> dict[str, list[str]]:
    """Experiment -> reasons why it cannot run; ParamsError unless --keep-going, which prints them."""
    from repro.stages.preflight import blocked, cannot_start, this_machine

    found = blocked(project, experiments, this_machine(with_gpu=with_gpu))
    nothing_left = len(found) == len(experiments)
    if found and not options.dry_run and (nothing_left or not options.keep_going):
        raise cannot_start(found, len(experiments))
    for name, why in found.items():
        note(f"cannot run {name}: {'; '.join(why)}")
    return found


def launcher_of(options: FleetOptions) -> Launcher:
    """What starts the experiments; ParamsError for options that it does not understand."""
    from repro.errors import ParamsError
    from repro.fleet import LocalLauncher, SlurmLauncher
    from repro.fleet.slurm import parse_options

    if options.launcher == "local":
        if options.slurm:
            raise ParamsError("--slurm is for --launcher slurm", where="--launcher local")
        return LocalLauncher()
    if options.gpus:
        hint = "--slurm gpus_per_node=1 --jobs N"
        raise ParamsError("--gpus names GPUs of this machine", where="--launcher slurm", hint=hint)
    return SlurmLauncher(options=parse_options(options.slurm))


def make_job(project: Project, one: Estimate) -> Job:
    from repro.fleet import Job
    from repro.io.names import plain_name
    from repro.params import read_yaml

    where = project.params_of(one.name)
    own = read_yaml(where)
    dataset = "" if own.get("measure") == "cost" else plain_name(own["dataset"], "data set", where=where)
    log = project.cache_folder("fleet", f"{one.name}.log")
    return Job(name=one.name, dataset=dataset, log=log, seconds=one.seconds)


def _has_gpu() -> bool:
    from repro.records.device import gpu_driver

    return gpu_driver() is not None
