"""`repro promote`: name the champion of a data set."""

from __future__ import annotations

from typing import Annotated

import typer

from repro.cli.common import Json, Name, console, emit_json


def promote(
    name: Name,
    alias: Annotated[str, typer.Option(help="Alias in MLflow's registry.")] = "champion",
    force: Annotated[bool, typer.Option("--force", help="Also where the verdict is not a pass.")] = False,
    as_json: Json = False,
) -> None:
    """Give the model of NAME an alias in MLflow's registry: one champion a data set.

    reports/champions.yaml notes it, so that `repro sync` brings it into any store; commit that file.

    Example: repro promote camvid_mobilenetv2_os16
    """
    from repro.params import find_project, load_experiment
    from repro.records import read_record
    from repro.tracking.promote import promote as give

    project = find_project()
    record = read_record(project.rows / f"{load_experiment(project, name).name}.json")
    version = give(project, record, alias=alias, force=force)
    if as_json:
        return emit_json({"experiment": record.experiment, "alias": alias, "model": version})
    console().print(f"{alias}: {version} ({record.experiment})", markup=False)
