"""Run all stages of an experiment, through DVC if the project uses it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

from repro.errors import CheckFailed, Interrupted, ReproError
from repro.fleet.workspace import has_dvc, run_dvc
from repro.params import AnyExperiment, Experiment, Project
from repro.stages.reporter import Reporter, Say
from repro.stages.summary import show_in_mlflow, summary
from repro.stages.up_to_date import is_up_to_date, params_stamp, remember

E = TypeVar("E", bound=Experiment)


def each(experiments: Sequence[E], do: Callable[[E], None], note: Say) -> None:
    """Call `do` for every experiment; failures are reported and the others continue.

    With a single experiment its error is raised unchanged. Unexpected errors are reported with a traceback.

    Raises:
        CheckFailed: some experiments failed; it lists their names.
    """
    failed = []
    for number, experiment in enumerate(experiments, start=1):
        try:
            do(experiment)
        except Exception as error:
            if len(experiments) == 1 or _is_stop(error):
                raise
            failed.append(experiment.name)
            note(f"{number}/{len(experiments)} {experiment.name}: {_format(error)}")
    if failed:
        listed = ", ".join(failed[:10])
        raise CheckFailed(f"{len(failed)} of {len(experiments)} experiments failed", where=listed)


def _is_stop(error: Exception) -> bool:
    return isinstance(error, Interrupted)


def _format(error: Exception) -> str:
    return str(error) if isinstance(error, ReproError) else "".join(traceback.format_exception(error))


def run_pipeline(
    project: Project, experiment: AnyExperiment, device: str, reporter: Reporter, *, stdout: int | None = None
) -> None:
    """Run `dvc repro experiments/NAME`, or without DVC the same stages in this process.

    DVC is not started if the experiment is up to date since the last run.
    `stdout` is the file descriptor for DVC's output, see `run_dvc`. Raises CheckFailed if a stage failed
    under DVC; without DVC, what the stage raises.
    """
    if not has_dvc(project):
        from repro.stages.local_runner import run_stages  # torch

        made = run_stages(project, experiment, device, reporter=reporter)
        reporter.say(summary(made))
        return show_in_mlflow(project, made, reporter.note)
    if is_up_to_date(project, experiment):
        return reporter.say(f"{experiment.name} is up to date")
    before = params_stamp(project, experiment)
    code = run_dvc(project, "repro", experiment.folder, stdout=stdout)
    if code:
        raise CheckFailed(
            f"a stage failed (dvc exit code {code})", where=experiment.folder, hint="see its output above"
        )
    if params_stamp(project, experiment) == before:
        remember(project, experiment)
