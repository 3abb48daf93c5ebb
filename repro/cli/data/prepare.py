"""`repro prepare`: raw data to prepared splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from repro.cli.arguments import Dataset, Workers
from repro.cli.console import Json, answer, console, shortened
from repro.cli.progress import split_bars
from repro.errors import counted

if TYPE_CHECKING:
    from repro.datasets.prepare.prepare import PrepareResult
    from repro.params import Project


def prepare(
    name: Dataset,
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Prepare data/NAME as one prepared/NAME/SPLIT.zip per split: checked, resumable, reproducible bytes.

    Example: repro prepare camvid
    """
    from repro.params import find_project
    from repro.stages.prepare import prepare_named

    project = find_project()
    with split_bars() as progress:
        report = prepare_named(project, name, progress=progress, workers=workers)
    out = console(stderr=True)
    for warning in report.warnings:
        out.print(f"warning: {warning}")
    for note in shortened(report.notes):
        out.print(f"note: {note}")
    splits = {split: _split(project, name, split, report) for split in report.images}
    text = "\n".join(
        f"{one['file']}: {counted(one['images'], 'image')}, {one['bytes'] / 1e6:.1f} MB, "
        f"fingerprint {one['fingerprint'][:12]}"
        for one in splits.values()
    )
    answer(
        {"dataset": name, "splits": splits, "notes": report.notes, "warnings": report.warnings},
        text,
        json=json_,
    )


def _split(project: Project, name: str, split: str, report: PrepareResult) -> dict[str, Any]:
    path = project.prepared_split(name, split)
    return {
        "file": str(path),
        "images": report.images[split],
        "bytes": path.stat().st_size,
        "fingerprint": report.fingerprints[split],
    }
