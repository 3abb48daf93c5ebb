"""`repro new`: an experiment folder from its nearest relative."""

from __future__ import annotations

from typing import Annotated

import typer

from repro.cli.common import Json, Name, answer


def new(
    name: Name,
    like: Annotated[str, typer.Option(help="Experiment whose settings are copied.")],
    json: Json = False,
) -> None:
    """Start an experiment from its nearest relative.

    The copy is the params.yaml as written without its heading, published rows, expected number and note.

    Example: repro new camvid_resnet18_os16 --like camvid_mobilenetv2_os16
    """
    from repro.params import find_project
    from repro.scaffold import new_experiment

    project = find_project()
    path = new_experiment(project, name, like)
    made = path.relative_to(project.root)
    told = f"made {made}: edit it, then `dvc repro {made.parent}`"
    answer({"experiment": name, "made": str(made)}, told, json=json)
