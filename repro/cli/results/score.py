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
    from repro.params import Project, Protocol


def score(
    predictions: Annotated[Path, typer.Option("--predictions", help="Folder of <id>.png label maps.")],
    dataset: Annotated[
        str,
        typer.Option("--dataset", "-d", help="Data set, e.g. camvid.", autocompletion=completion.datasets),
    ],
    split: Annotated[
        str, typer.Option("--split", "-s", help="Split, e.g. test.", autocompletion=completion.splits)
    ],
    protocol: ProtocolName = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Score label maps against a prepared split: one PNG an image, train ids or the data set's colours.

    Same counting, metrics and interval as `repro evaluate`; --out also writes metrics.json, confusion.npz
    and confusion.csv, which `repro compare` reads: give it the protocol of what you will compare with.

    Example: repro score --predictions maps/ --dataset camvid --split test --protocol whole --out scored/
    """
    from repro.evaluation.outputs import write_result
    from repro.evaluation.score import score as run
    from repro.params import find_project
    from repro.stages.evaluate import require_outside
    from repro.stages.lookup import prepared_split

    project = find_project()
    opened = prepared_split(project, dataset, split)
    folder = None if out is None else require_outside(project, out)
    with bar("score") as progress:
        result = run(
            predictions,
            opened,
            palette=opened.palette,
            protocol=counting(project, protocol),
            progress=progress,
        )
    if folder is not None:
        write_result(result, folder, split=split)
    report(result, split, as_json=json)


def counting(project: Project, name: str | None) -> Protocol:
    """The protocol whose counting rules hold; what concerns the network has been done elsewhere."""
    from repro.params import Protocol
    from repro.stages.lookup import protocol_named

    return Protocol(mode="whole") if name is None else protocol_named(project, name)
