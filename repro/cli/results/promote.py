"""`repro weights promote`: name the champion of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.console import Json, Name, console, emit_json

if TYPE_CHECKING:
    from repro.params import Project


def promote(
    name: Name,
    alias: Annotated[str, typer.Option(help="Alias in MLflow's registry.")] = "champion",
    force: Annotated[bool, typer.Option("--force", help="Also where the verdict is not a pass.")] = False,
    as_json: Json = False,
) -> None:
    """Give the model of NAME an alias in MLflow's registry: one champion per data set.

    reports/champions.yaml notes it, so that `repro sync` brings it into any store; commit that file.

    Example: repro weights promote camvid_mobilenetv2_os16
    """
    from repro.params import find_project, load_experiment
    from repro.records import read_row
    from repro.tracking.promote import promote as give

    project = find_project()
    record = read_row(project.record(load_experiment(project, name).name))
    if not force:
        require_pass(project, record.experiment)
    version = give(project, record, alias=alias)
    if as_json:
        return emit_json({"experiment": record.experiment, "alias": alias, "model": version})
    console().print(f"{alias}: {version} ({record.experiment})")


def require_pass(project: Project, name: str) -> None:
    """CheckFailed unless the gate passes NAME now: the record's own word may be older than its params."""
    from repro.errors import CheckFailed
    from repro.records import PASSING
    from repro.reports.gate import finding
    from repro.reports.results import load_results

    found = finding(load_results(project, thorough=True), name)
    if not found.passes:
        allowed = f"verdict {' or '.join(sorted(PASSING))}, or --force"
        raise CheckFailed(f"{name} is '{found.verdict}': {found.reason}", allowed=allowed)
