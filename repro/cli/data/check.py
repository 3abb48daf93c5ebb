"""`repro data verify` and `stats`: check raw data, count classes of prepared data."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli import completion
from repro.cli.arguments import Dataset, Deep, Workers
from repro.cli.console import Json, emit_json, write
from repro.cli.data.findings_view import differing, expected, plain, print_findings
from repro.cli.progress import split_bars
from repro.cli.reporter import renamed

if TYPE_CHECKING:
    from repro.params import Project


def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Data sets; default: all that are present.",
            autocompletion=completion.datasets,
        ),
    ] = None,
    deep: Deep = False,
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Check counts, pairs, sizes and label values, and that splits share no image.

    Exit code 1 where a split does not have the number of images in params.yaml.

    Example: repro data verify camvid --deep
    """
    from repro.datasets import dataset_module
    from repro.datasets.prepare.inspect import inspect
    from repro.errors import CheckFailed
    from repro.params import find_project

    project = find_project()
    chosen = {name: dataset_module(project, name) for name in names or _present(project)}
    with split_bars() as progress:
        look = partial(inspect, deep=deep, progress=progress, workers=workers)
        found = [look(name, project.data / name, module=module) for name, module in chosen.items()]
    wanted = {findings.name: expected(project, findings) for findings in found}
    if json_:
        emit_json([plain(findings) for findings in found])
    else:
        for findings in found:
            print_findings(findings, wanted[findings.name])
    shared = {f.name: f.shared for f in found if f.shared}
    if shared:
        hint = "take the images out of one of the two, or the data from the owner's page again"
        raise CheckFailed(
            f"duplicate images across splits (leakage): {shared}", allowed="disjoint splits", hint=hint
        )
    parts = {f.name: wrong for f in found if (wrong := differing(f, wanted[f.name]))}
    if parts:
        raise CheckFailed(
            f"not the numbers of images in params.yaml: {parts}",
            allowed="a data set that is not in params.yaml has its official numbers",
            hint="complete the data, or write the numbers that you have under datasets: in params.yaml",
        )


def stats(
    name: Dataset,
    plot: Annotated[Path | None, typer.Option(help="PNG file to write: a chart of the frequencies.")] = None,
    picture: Annotated[Path | None, typer.Option(hidden=True, help="Former name of --plot.")] = None,
    json_: Json = False,
) -> None:
    """Count the classes and sizes of the prepared splits, as markdown.

    Example: repro data stats camvid --plot camvid.png
    """
    from repro.datasets import described
    from repro.datasets.prepare import stats as module
    from repro.datasets.prepare.prepared_split import Split
    from repro.errors import DataError
    from repro.params import find_project

    project = find_project()
    described(project, name)
    if picture:
        renamed("--picture", "--plot")
    if plot := plot or picture:
        require_png(plot)
    paths = sorted((project.prepared / name).glob("*.zip"))
    if not paths:
        raise DataError(f"{name} is not prepared", hint=f"`repro prepare {name}`")
    splits = [Split.open(path) for path in paths]
    with split_bars() as progress:
        found = [module.stats(split, progress=progress) for split in splits]
    if plot:
        module.plot(splits[0].classes, found, plot)
    if json_:
        return emit_json(
            {s.split: dict(zip(splits[0].classes, s.share.tolist(), strict=True)) for s in found}
        )
    write(module.markdown(splits[0].classes, found))


def require_png(path: Path) -> None:
    """ParamsError or StorageError for a plot that could not be written, before anything is counted."""
    from repro.errors import ParamsError, StorageError

    if path.suffix.lower() != ".png" or path.is_dir():
        raise ParamsError(f"not a PNG file: '{path}'", where="--plot", allowed="FILE.png")
    if not path.parent.is_dir():
        raise StorageError("no such folder", where=path.parent, hint=f"`mkdir -p {path.parent}`")


def _present(project: Project) -> list[str]:
    from repro.params import dataset_names
    from repro.stages.inputs_ready import is_present

    return [name for name in dataset_names(project) if is_present(project.data / name)]
