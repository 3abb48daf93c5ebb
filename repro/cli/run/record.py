"""`repro record`: the record of an experiment, from the outputs of its stages."""

from __future__ import annotations

from typing import Annotated

import typer

from repro.cli.console import Json, Name, emit_json
from repro.cli.reporter import note, say


def record(
    name: Name,
    mirror: Annotated[bool, typer.Option(help="Also log the record to MLflow.")] = True,
    as_json: Json = False,
) -> None:
    """Compare the measured numbers with the published row and write reports/rows/NAME.json.

    Example: repro record camvid_mobilenetv2_os16
    """
    from repro.params import find_project, load_experiment
    from repro.records import to_json
    from repro.stages.record import record_experiment
    from repro.stages.summary import show_in_mlflow, summary

    project = find_project()
    experiment = load_experiment(project, name)
    made = record_experiment(project, experiment)
    unknown = made.provenance["git"].get("unknown")
    if unknown:
        note(f"the record does not know its code: {unknown}")
    if as_json:
        emit_json(to_json(made))
    else:
        path = project.record(experiment.name).relative_to(project.root)
        say(f"{summary(made)}\nwrote {path}")
    if mirror:
        show_in_mlflow(project, made, note)
