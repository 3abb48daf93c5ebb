"""`repro data verify` and `stats`: what raw and prepared data hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.arguments import Dataset, Deep, Workers
from repro.cli.console import Json, console, counted, emit_json, shortened, write
from repro.cli.progress import split_bars

if TYPE_CHECKING:
    from repro.datasets.prepare.inspect import Findings
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
    parts = {f.name: wrong for f in found if (wrong := _differing(f, wanted[f.name]))}
    if parts:
        raise CheckFailed(
            f"not the numbers of images in params.yaml: {parts}",
            allowed="a data set that is not in params.yaml has its official numbers",
            hint="complete the data, or write the numbers that you have under datasets: in params.yaml",
        )


def expected(project: Project, findings: Findings) -> dict[str, int]:
    """Images of each split that is here and in params.yaml, as params.yaml has them.

    Of a data set that is not in params.yaml the official numbers count. Where images are cut params.yaml
    counts tiles: the official number of images, unless the tiles are a person's own number, which only
    `repro prepare` can check.
    """
    from repro.datasets import dataset_module
    from repro.params import read_yaml

    module = dataset_module(findings.name)
    block = (read_yaml(project.params).get("datasets") or {}).get(findings.name) or {}
    own = block.get("splits", module.SPLITS)
    found = [f for f in findings.splits if f.split in own]
    if not hasattr(module, "IMAGES"):
        return {f.split: own[f.split] for f in found}
    return {f.split: f.official if own[f.split] == module.SPLITS[f.split] else f.images for f in found}


def _differing(findings: Findings, wanted: dict[str, int]) -> dict[str, str]:
    return {
        f.split: f"{f.images} in place of {wanted[f.split]}"
        for f in findings.splits
        if f.images != wanted.get(f.split, f.images)
    }


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
    from repro.stages.inputs_ready import here

    return [name for name in DATASETS if here(project.data / name)]


def tell_findings(findings: Findings, wanted: dict[str, int]) -> None:
    """What was found, a line a split, then what is missing or odd."""
    out = console()
    out.print(f"{findings.name}  {findings.where}", style="bold")
    for f in findings.splits:
        (width, height), _ = f.sizes.most_common(1)[0]
        others = f" and {len(f.sizes) - 1} other size{'s' * (len(f.sizes) > 2)}" if len(f.sizes) > 1 else ""
        count = counted(f.images, "image") if f.complete else f"{f.images} of {counted(f.official, 'image')}"
        looked_at = f"{f.decoded} decoded, {_values(f.histogram)}"
        line = f"  {f.split}: {count}, {width}x{height}{others}, {looked_at}"
        out.print(line, style=None if f.complete else "yellow")
        for warning in f.warnings:
            out.print(f"    warning: {warning}", style="yellow")
        for note in shortened(f.notes):
            out.print(f"    note: {note}")
    for split, why in findings.absent.items():
        out.print(f"  {split}: not here - {why}", style="yellow")
    for splits, both in findings.shared.items():
        out.print(f"  {splits}: {counted(both, 'image')} in both", style="yellow")
    if _differing(findings, wanted):
        out.print(f"  a part of the data: write your numbers under datasets.{findings.name} in params.yaml")


def _values(histogram: Any) -> str:
    present = [i for i in range(255) if histogram[i]]
    void = 100 * histogram[255] / max(1, histogram.sum())
    return f"{len(present)} classes seen, {void:.1f} % ignored" if present else "no labels"


def plain(findings: Findings) -> dict[str, Any]:
    """What was found, for --json."""
    splits = [
        {"split": f.split, "images": f.images, "official": f.official, "decoded": f.decoded}
        for f in findings.splits
    ]
    return {
        "name": findings.name,
        "where": str(findings.where),
        "splits": splits,
        "absent": findings.absent,
        "shared": findings.shared,
        "notes": {f.split: f.notes for f in findings.splits if f.notes},
        "warnings": {f.split: f.warnings for f in findings.splits if f.warnings},
    }
