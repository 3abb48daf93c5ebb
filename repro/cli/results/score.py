"""`repro score`: measure label maps that any other program made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli import completion
from repro.cli.arguments import Out, ProtocolName
from repro.cli.console import Json
from repro.cli.progress import bar
from repro.cli.results.evaluation_view import report

if TYPE_CHECKING:
    from repro.datasets.prepare.prepared_split import Split
    from repro.evaluation.label_folder import LabelFolder
    from repro.params import Project, Protocol


def score(
    predictions: Annotated[Path, typer.Option("--predictions", help="Folder of label maps.")],
    dataset: Annotated[
        str | None,
        typer.Option("--dataset", "-d", help="Data set, e.g. camvid.", autocompletion=completion.datasets),
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", "-s", help="Split, e.g. test.", autocompletion=completion.splits)
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Folder of true label maps instead of a prepared split.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", help="With --labels: how many classes, or names: road,car.")
    ] = None,
    protocol: ProtocolName = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Score label maps against a prepared split, or a folder of labels: <id>.png, <id>.npy, or an .npz.

    A PNG may have train ids or the data set's colours.

    Same counting, metrics and interval as `repro evaluate`; --out also writes metrics.json, confusion.npz
    and confusion.csv, which `repro compare` reads: give it the protocol of what you will compare with.
    With --labels no project is needed; 255 marks pixels that are not counted.

    Example: repro score --predictions maps/ --dataset camvid --split test --protocol whole --out scored/
    """
    from repro.evaluation.outputs import write_result
    from repro.evaluation.score import score as run
    from repro.params.project import project_here
    from repro.stages.evaluate import require_outside

    truth, name = truth_of(dataset, split, labels, classes)
    project = project_here()
    folder = require_outside(project, out) if project and out else out
    with bar("score") as progress:
        result = run(
            predictions, truth, palette=truth.palette, protocol=counting(project, protocol), progress=progress
        )
    if folder is not None:
        write_result(result, folder, split=name)
    report(result, name, as_json=json)


def truth_of(
    dataset: str | None, split: str | None, labels: Path | None, classes: str | None
) -> tuple[Split | LabelFolder, str]:
    """What is scored against, and the name of its split: a prepared split, or a folder of labels."""
    from repro.errors import ParamsError
    from repro.evaluation.label_folder import LabelFolder, class_names
    from repro.params import find_project
    from repro.stages.lookup import prepared_split

    if labels is not None and classes is not None and dataset is None and split is None:
        return LabelFolder(labels, class_names(classes)), labels.name or "labels"
    if dataset is None or split is None or labels is not None or classes is not None:
        allowed = "--dataset NAME --split SPLIT, or --labels FOLDER --classes N"
        raise ParamsError("unclear what to score against", allowed=allowed)
    return prepared_split(find_project(), dataset, split), split


def counting(project: Project | None, name: str | None) -> Protocol:
    """The protocol whose counting rules hold; what concerns the network has been done elsewhere."""
    from repro.params import Protocol, find_project
    from repro.stages.lookup import protocol_named

    return Protocol(mode="whole") if name is None else protocol_named(project or find_project(), name)
