"""`repro gc`: old leftovers on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from repro.cli.console import Json, console, emit_json


def gc(
    apply: Annotated[bool, typer.Option("--yes", help="Really delete; without it only shown.")] = False,
    days: Annotated[float, typer.Option(min=0, help="Keep what was used since so many days.")] = 7.0,
    as_json: Json = False,
) -> None:
    """Show, and with --yes delete, work folders that were not used for a week, fleet logs and caches.

    What is running is never touched, nor are records, weights, data and MLflow. A stopped training that could
    be resumed is marked so.

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
    for path, why, size in found:
        console().print(f"{size / 2**20:>9.1f} MiB  {path.relative_to(project.root)}  {why}")
    total = sum(size for _, _, size in found) / 2**20
    word = "deleted" if apply else "could be deleted with --yes"
    console().print(f"{len(found)} folders and files, {total:.1f} MiB, {word}")
