"""What `repro run` goes through: all stages of an experiment, through DVC where it is installed."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

from repro.errors import CheckFailed, ReproError
from repro.fleet.workspace import has_dvc, run_dvc
from repro.params import Experiment, Project
from repro.stages.reporter import Say, Voice
from repro.stages.summary import show_in_mlflow, summary


def each(experiments: Sequence[Experiment], do: Callable[[Experiment], None], note: Say) -> None:
    """Do all of them, then CheckFailed with the names of those that failed; a single one fails by itself.

    Of an error that nobody foresaw the place is told too.
    """
    failed = []
    for number, experiment in enumerate(experiments, start=1):
        try:
            do(experiment)
        except Exception as error:
            if len(experiments) == 1 or _is_stop(error):
                raise
            failed.append(experiment.name)
            note(f"{number}/{len(experiments)} {experiment.name}: {_told(error)}")
    if failed:
        listed = ", ".join(failed[:10])
        raise CheckFailed(f"{len(failed)} of {len(experiments)} experiments failed", where=listed)


def _is_stop(error: Exception) -> bool:
    from repro.training.monitor import Interrupted  # torch: where DVC runs the stages this process needs none

    return isinstance(error, Interrupted)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, ReproError) else "".join(traceback.format_exception(error))


def run_chain(
    project: Project, experiment: Experiment, device: str, voice: Voice, *, stdout: int | None = None
) -> None:
    """`dvc repro experiments/NAME`, or without DVC the same stages one after another.

    `stdout` is where DVC prints, as run_dvc takes it.
    Raises CheckFailed when a stage failed under DVC, without it what the stage raises.
    """
    if not has_dvc(project):
        from repro.stages.local_runner import run_stages  # torch

        made = run_stages(project, experiment, device, voice=voice)
        voice.say(summary(made))
        return show_in_mlflow(project, made, voice.note)
    code = run_dvc(project, "repro", experiment.folder, stdout=stdout)
    if code:
        raise CheckFailed(f"a stage failed (dvc exit code {code})", where=experiment.folder, hint="see above")
