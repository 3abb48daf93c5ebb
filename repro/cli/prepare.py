"""`repro prepare`: raw data to prepared splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from repro.cli.common import Json, answer, console
from repro.cli.data_check import Dataset, Workers, here, progress

if TYPE_CHECKING:
    from repro.datasets.prepare import Report
    from repro.params import Project


def prepare(
    name: Dataset,
    workers: Workers = None,
    json_: Json = False,
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
    splits = {split: _split(project, name, split, report) for split in report.images}
    told = "\n".join(
        f"{one['file']}: {one['images']} images, {one['bytes'] / 1e6:.1f} MB, "
        f"fingerprint {one['fingerprint'][:12]}"
        for one in splits.values()
    )
    answer({"dataset": name, "splits": splits, "notes": report.notes}, told, json=json_)


def _split(project: Project, name: str, split: str, report: Report) -> dict[str, Any]:
    path = project.prepared / name / f"{split}.zip"
    return {
        "file": str(path),
        "images": report.images[split],
        "bytes": path.stat().st_size,
        "fingerprint": report.fingerprints[split],
    }


def _missing(name: str, blocks: dict[str, Any]) -> dict[str, Any]:
    from repro.errors import UnknownNameError

    raise UnknownNameError(
        "data set in params.yaml", name, blocks, hint=f"add datasets.{name} to params.yaml"
    )
