"""`repro fleet` and `repro campaign`: many experiments, cheapest first, within a budget."""

from __future__ import annotations

from typing import Annotated

import typer

from repro.cli.console import experiments_like
from repro.cli.reporter import name_broken
from repro.cli.run.fleet_options import How, with_how
from repro.cli.run.fleet_run import run_names


@with_how
def fleet(
    patterns: Annotated[
        list[str],
        typer.Argument(help="Names or patterns, e.g. 'camvid_*'.", autocompletion=experiments_like),
    ],
    how: How,
) -> None:
    """Run many experiments, the cheapest first, some at a time; stopped, the same command goes on.

    Example: repro fleet 'camvid_*' --gpus 0,1 --budget 3h
    """
    from repro.params import experiment_names, find_project, matching

    project = find_project()
    run_names(project, matching(patterns, experiment_names(project)), how, asked=patterns)


@with_how
def campaign(
    page: Annotated[str, typer.Option(help="Published page, e.g. 003.")],
    how: How,
    dataset: Annotated[str | None, typer.Option(help="Only this data set.")] = None,
) -> None:
    """Run the rows of a published page that are not measured yet, the cheapest first, as far as time allows.

    Example: repro campaign --page 003 --dataset camvid --budget 3h --dry-run
    """
    from repro.errors import ParamsError
    from repro.params import find_project
    from repro.reports.results import load_results, require_page

    project = find_project()
    found = load_results(project)
    name_broken(found.broken)
    prefix = require_page(page)
    names = [
        name
        for name, one in found.experiments.items()
        if any(row.startswith(prefix) for row in one.rows) and dataset in (None, one.dataset)
    ]
    if not names:
        raise ParamsError(f"page {prefix} has no experiments on '{dataset}'", hint="`repro list --page`")
    run_names(project, names, how)
