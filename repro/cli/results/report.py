"""`repro report`: everything to look at, in one file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.console import Json, console, emit_json
from repro.cli.reporter import name_broken, note

if TYPE_CHECKING:
    from repro.params import Project


def report(
    out: Annotated[Path | None, typer.Option(help="File to write; reports/index.html.")] = None,
    as_json: Json = False,
) -> None:
    """Write reports/index.html: results, cost, classes, curves, predictions, two experiments side by side.

    It also renews reports/thumbnails, small images of predictions for git, of experiments evaluated here.

    Example: repro report
    """
    from repro.cli.output_path import require_target
    from repro.params import find_project
    from repro.records import write_bytes
    from repro.reports.html import html_report, is_report
    from repro.reports.results import load_results
    from repro.reports.thumbnails import write_thumbnails

    project = find_project()
    if out is not None:
        require_target(out, "a report", is_report)
    path = out or project.root / "reports" / "index.html"
    results = load_results(project)
    name_broken(results.left_out)
    small = write_thumbnails(project, results.records.values())
    content = html_report(results, missing=missing_data(project, results.datasets())).encode()
    write_bytes(path, content)
    if as_json:
        return emit_json({"file": str(path), "bytes": len(content)})
    console().print(f"wrote {path} ({len(content) / 2**20:.1f} MiB): open it in a browser")
    for one in small:
        note(f"wrote {one.relative_to(project.root)}: commit it")


def missing_data(project: Project, datasets: Iterable[str]) -> dict[str, str]:
    """Data sets that are not on this machine, each with the command that provides it."""
    from contextlib import suppress

    from repro.errors import ReproError
    from repro.stages.inputs_ready import is_available
    from repro.stages.prepare import data_command

    found = {}
    for name in datasets:
        with suppress(ReproError):  # a data set that only a page names
            if not is_available(project, name) and not (project.prepared / name).is_dir():
                found[name] = data_command(project, name)
    return found
