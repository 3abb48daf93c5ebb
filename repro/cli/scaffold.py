"""`repro new` and `repro sync`: experiment folders and generated DVC files."""

from __future__ import annotations

from typing import Annotated

import typer

from repro.cli.common import Name, console


def new(
    name: Name,
    like: Annotated[str, typer.Option(help="Experiment whose params.yaml is copied.")],
) -> None:
    """Start an experiment from its nearest relative.

    Example: repro new camvid_resnet18_os16 --like camvid_mobilenetv2_os16
    """
    from repro.params import find_project
    from repro.scaffold import new_experiment

    project = find_project()
    path = new_experiment(project, name, like)
    made = path.relative_to(project.root)
    console().print(f"made {made}: edit it, then `dvc repro {made.parent}`")


def sync(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when a file is stale.")
    ] = False,
) -> None:
    """Bring the generated DVC files up to date with params.yaml and the experiment folders.

    Example: repro sync --check
    """
    from repro.errors import CheckFailed
    from repro.params import find_project
    from repro.scaffold import drift
    from repro.scaffold import sync as write

    project = find_project()
    stale = [path for path, _ in drift(project)] if check else write(project)
    for path in stale:
        console().print(f"{'stale' if check else 'wrote'} {path.relative_to(project.root)}")
    if check and stale:
        raise CheckFailed(f"{len(stale)} generated files are stale", hint="run `repro sync` and commit")
