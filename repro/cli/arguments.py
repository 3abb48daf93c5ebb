"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from repro.cli import completion
from repro.cli.output_path import output_folder

Dataset = Annotated[
    str, typer.Argument(metavar="NAME", help="Data set, e.g. camvid.", autocompletion=completion.datasets)
]
WHICH = "Which experiments"  # panel of the options that choose several
Patterns = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="Experiments, or patterns such as 'camvid_*'.",
        autocompletion=completion.experiments,
    ),
]
OfPage = Annotated[
    str | None,
    typer.Option(
        "--page",
        "-p",
        help="Experiments of this published page, e.g. 003.",
        autocompletion=completion.pages,
        rich_help_panel=WHICH,
    ),
]
OfDataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        help="Experiments on this data set.",
        autocompletion=completion.datasets,
        rich_help_panel=WHICH,
    ),
]
Deep = Annotated[bool, typer.Option("--deep", help="Decode every file instead of a sample.")]
Workers = Annotated[int | None, typer.Option(help="Threads; default: all cores, at most 8.", min=1)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")]
ProtocolName = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help="Another block of `protocols:` in params.yaml.",
        autocompletion=completion.protocols,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", help="Which network, where a file holds several: model_ema, teacher.state_dict, student."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder to write to instead of the experiment's.",
        callback=output_folder,
    ),
]
