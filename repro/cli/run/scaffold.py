"""`repro new`: a new experiment folder, copied from a similar one."""

from __future__ import annotations

from typing import Annotated

import typer

from repro.cli import completion
from repro.cli.console import Json, Name, answer
from repro.cli.reporter import note


def new(
    name: Name,
    like: Annotated[str, typer.Option(help="Experiment to copy.", autocompletion=completion.experiments)],
    json: Json = False,
) -> None:
    """Create an experiment from a similar one.

    Copies params.yaml without its heading, published rows, expected number and note.

    Example: repro new camvid_resnet18_os16 --like camvid_mobilenetv2_os16
    """
    from repro.params import find_project, read_yaml
    from repro.scaffold.new import new_experiment

    project = find_project()
    path = new_experiment(project, name, like)
    dataset = str(read_yaml(path).get("dataset", ""))
    if not path.parent.name.startswith(f"{dataset}_"):
        copied = f"`dataset: {dataset}` is copied from {like}"
        note(f"{copied}, and the name does not begin with {dataset}_: change whichever is wrong")
    made = path.relative_to(project.root)
    text = f"created {made}: edit it, then `dvc repro {made.parent}`"
    answer({"experiment": name, "made": str(made)}, text, json=json)
