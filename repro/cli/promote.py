"""`repro promote`: name the champion of a data set."""

from __future__ import annotations

from typing import Annotated

import typer

from repro.cli.common import Name, console


def promote(
    name: Name,
    alias: Annotated[str, typer.Option(help="Alias in MLflow's registry.")] = "champion",
    force: Annotated[bool, typer.Option("--force", help="Also where the verdict is not a pass.")] = False,
) -> None:
    """Give the model of NAME an alias in MLflow's registry: one champion a data set.

    Example: repro promote camvid_mobilenetv2_os16
    """
    from repro.params import find_project, load_experiment
    from repro.records import read_record
    from repro.tracking.promote import promote as give

    project = find_project()
    record = read_record(project.rows / f"{load_experiment(project, name).name}.json")
    console().print(
        f"{alias}: {give(project, record, alias=alias, force=force)} ({record.experiment})", markup=False
    )
