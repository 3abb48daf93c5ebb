"""`repro data verify` and `stats`: what raw and prepared data hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.arguments import Dataset, Deep, Workers
from repro.cli.console import Json, emit_json, write
from repro.cli.data.findings_view import differing, expected, plain, tell_findings
from repro.cli.progress import split_bars

if TYPE_CHECKING:
    from repro.params import Project


def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Data sets; none: all that are here.")] = None,
    deep: Deep = False,
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Check counts, pairs, sizes, label values and that no image lies in two splits.

    Fails (exit code 1) where a split that is here does not have the number of images in params.yaml.

    Example: repro data verify camvid --deep
    """
    from repro.datasets.prepare.inspect import inspect
    from repro.errors import CheckFailed
    from repro.params import find_project

    project = find_project()
    chosen = names or _present(project)
    with split_bars() as tell:
        found = [inspect(n, project.data / n, deep=deep, progress=tell, workers=workers) for n in chosen]
    wanted = {findings.name: expected(project, findings) for findings in found}
    if json_:
        emit_json([plain(findings) for findings in found])
    else:
        for findings in found:
            tell_findings(findings, wanted[findings.name])
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
    picture: Annotated[Path | None, typer.Option(help="Also draw the frequencies into this PNG.")] = None,
    json_: Json = False,
) -> None:
    """Count the classes and sizes of the prepared splits; prints markdown.

    Example: repro data stats camvid --picture camvid.png
    """
    from repro.datasets import dataset_module
    from repro.datasets.prepare import stats as module
    from repro.datasets.prepare.prepared_split import Split
    from repro.errors import DataError
    from repro.params import find_project

    dataset_module(name)
    if picture:
        require_png(picture)
    paths = sorted((find_project().prepared / name).glob("*.zip"))
    if not paths:
        raise DataError(f"{name} is not prepared", hint=f"`repro prepare {name}`")
    splits = [Split.open(path) for path in paths]
    with split_bars() as tell:
        found = [module.stats(split, progress=tell) for split in splits]
    if picture:
        module.picture(splits[0].classes, found, picture)
    if json_:
        return emit_json(
            {s.split: dict(zip(splits[0].classes, s.share.tolist(), strict=True)) for s in found}
        )
    write(module.markdown(splits[0].classes, found))


def require_png(picture: Path) -> None:
    """Before everything is counted: a picture that could not be written."""
    from repro.errors import ParamsError, StorageError

    if picture.suffix.lower() != ".png" or picture.is_dir():
        raise ParamsError(f"not a name for a picture: '{picture}'", where="--picture", allowed="FILE.png")
    if not picture.parent.is_dir():
        raise StorageError("no such folder", where=picture.parent, hint=f"`mkdir -p {picture.parent}`")


def _present(project: Project) -> list[str]:
    from repro.datasets import DATASETS
    from repro.stages.inputs_ready import is_present

    return [name for name in DATASETS if is_present(project.data / name)]
