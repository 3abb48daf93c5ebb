"""`repro init`: a new zoo."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import Json, console, emit_json

COMMIT = {"git add . && git commit -m 'New zoo'": "results name the commit that they were made with"}
NEXT = {
    "dvc repro": "prepare the built-in data, train, evaluate, record, make the tables (5 minutes on 2 cores)",
    "repro check": "does the measured number hold against the published one?",
}


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder; made if missing.")] = Path(),
    json: Json = False,
) -> None:
    """Start a zoo: a project with one experiment on built-in data and a page of one row.

    Works in an empty folder and in a git repository. Existing files are kept; .gitignore gets what it lacks.

    Example: repro init myzoo
    """
    from repro.stages.init import init_zoo, without_git

    written = [os.path.relpath(path) for path in init_zoo(folder)]
    if json:
        return emit_json({"folder": str(folder.resolve()), "written": written})
    for path in written:
        console().print(f"wrote {path}", markup=False, highlight=False)
    console().print("Next:" if written else "Nothing is missing. Next:")
    enter = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    for command, what in (NEXT if without_git(folder) else COMMIT | NEXT).items():
        console().print(f"  {enter}{command}\n      {what}", markup=False, highlight=False)
        enter = ""
