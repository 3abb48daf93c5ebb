"""`repro report`: everything to look at, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import Json, console, emit_json
from repro.cli.reporter import name_broken


def report(
    out: Annotated[Path | None, typer.Option(help="File to write; reports/index.html.")] = None,
    as_json: Json = False,
) -> None:
    """Write reports/index.html: results, cost, classes, curves, predictions, provenance.

    Example: repro report
    """
    from repro.cli.output_path import require_target
    from repro.params import find_project
    from repro.records import write_bytes
    from repro.reports.html import html_report, is_report
    from repro.reports.results import load_results

    project = find_project()
    if out is not None:
        require_target(out, "a report", is_report)
    path = out or project.root / "reports" / "index.html"
    results = load_results(project)
    name_broken(results.left_out)
    content = html_report(results).encode()
    write_bytes(path, content)
    if as_json:
        return emit_json({"file": str(path), "bytes": len(content)})
    console().print(f"wrote {path} ({len(content) / 2**20:.1f} MiB): open it in a browser")
