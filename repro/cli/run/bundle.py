"""`repro bundle export` and `import`: runs as files. `repro replay`: a recorded result, computed again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.console import Json, Name, console, emit_json
from repro.cli.reporter import note

if TYPE_CHECKING:
    from repro.params import Project
    from repro.records import Record


def export(
    name: Name,
    out: Annotated[
        Path | None, typer.Option(help="File or folder; default: NAME.repro.zip in this folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a finished run as one verified file, for `repro bundle import` on another machine.

    Example: repro bundle export camvid_mobilenetv2_os16
    """
    from repro.cli.output_path import require_target
    from repro.fleet.bundle import export_run
    from repro.params import find_project, load_experiment

    project = find_project()
    name = load_experiment(project, name).name
    path = out or Path.cwd()
    path = path / f"{name}.repro.zip" if path.is_dir() else path
    require_target(path, "an exported run", is_bundle)
    bundle = export_run(project, name, path)
    size = path.stat().st_size
    if as_json:
        return emit_json({"file": str(path), "bytes": size, "members": bundle.members})
    console().print(f"wrote {path} ({size / 2**20:.1f} MiB, {len(bundle.members)} files)")


def is_bundle(path: Path) -> bool:
    """Whether a file has the manifest of `repro bundle export`; its content is not verified."""
    import zipfile

    from repro.fleet.check_bundle import MANIFEST

    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return MANIFEST in archive.namelist()
    except zipfile.BadZipFile:
        return False


def import_run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File from `repro bundle export`.")],
    as_json: Json = False,
) -> None:
    """Import an exported run (files, DVC, MLflow).

    Example: repro bundle import camvid_mobilenetv2_os16.repro.zip
    """
    from repro.fleet.bundle import import_run as bring_in
    from repro.params import find_project
    from repro.stages.summary import show_in_mlflow

    project = find_project()
    record = bring_in(project, file)
    committed = commit_to_dvc(project, record)
    show_in_mlflow(project, record, note)
    if as_json:
        return emit_json({"experiment": record.experiment, "verdict": record.verdict, "dvc": committed})
    state = "up to date for dvc" if committed else "not committed to dvc"
    console().print(f"{record.experiment}: {record.verdict}, {state}")


def commit_to_dvc(project: Project, record: Record) -> bool:
    """Commit the imported outputs to DVC; False where this clone lacks DVC or the same data."""
    from repro.errors import ReproError
    from repro.fleet.check_bundle import check_data
    from repro.fleet.workspace import has_dvc, run_dvc

    if not has_dvc(project):
        return False
    try:
        check_data(project, record)
    except ReproError as error:
        note(f"not committed to dvc: {error}")
        return False
    target = f"experiments/{record.experiment}"
    return run_dvc(project, "commit", "--force", "--quiet", "--with-deps", target) == 0


def replay(name: Name, as_json: Json = False) -> None:
    """Compute a recorded result again at its commit and compare every output, bit by bit where possible.

    Example: repro replay synthetic_mobilenetv2_os16
    """
    from repro.errors import CheckFailed
    from repro.fleet.replay import replay as replay_run
    from repro.params import find_project, load_experiment

    project = find_project()
    name = load_experiment(project, name).name
    found = replay_run(project, name, say=note)
    if as_json:
        emit_json([vars(one) for one in found])
    else:
        for one in found:
            console().print(f"{one.outcome:<17} {one.output:<18} {one.detail}".rstrip())
    if any(one.outcome == "different" for one in found if one.output == "metrics.json"):
        raise CheckFailed(f"replay of {name} does not match the recorded metrics")
