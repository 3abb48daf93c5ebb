"""`repro gc`: old files of runs on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from repro.cli.console import Json, console, emit_json
from repro.cli.tables import print_table


def gc(
    apply: Annotated[bool, typer.Option("--yes", help="Delete; without it they are only listed.")] = False,
    days: Annotated[float, typer.Option(min=0, help="Keep what was used in the last DAYS days.")] = 7.0,
    as_json: Json = False,
) -> None:
    """List, and with --yes delete, old work folders, fleet logs and caches.

    Running jobs, records, weights, data and MLflow are never touched. A training that could be resumed is
    marked.

    Example: repro gc --yes
    """
    from repro.fleet.workspace import garbage, remove, size_of
    from repro.params import find_project

    project = find_project()
    found = [(path, why, size_of(path)) for path, why in garbage(project, older_than=days * 86400)]
    if apply:
        for path, _, _ in found:
            remove(path)
    if as_json:
        lines = [{"path": str(path), "why": why, "bytes": size} for path, why, size in found]
        return emit_json({"deleted": apply, "found": lines})
    if found:
        rows = [
            (f"{size / 2**20:.1f}", str(path.relative_to(project.root)), why) for path, why, size in found
        ]
        print_table(("MiB", "path", "why"), rows, numbers=["MiB"], wide=True)
    total = sum(size for _, _, size in found) / 2**20
    word = "deleted" if apply else "could be deleted with --yes"
    console().print(f"{len(found)} folders and files, {total:.1f} MiB, {word}")
