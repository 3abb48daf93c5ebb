"""What `dvc metrics` and `dvc plots` show: the files of measured experiments, listed in the root dvc.yaml.

Listed in the dvc.yaml of every experiment, 145 that are not measured would be 290 empty rows and frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from repro.errors import RecordError
from repro.io import limits
from repro.params.project import Project

METRICS = ("metrics.json", "also/*/metrics.json", "cost.json", "released.json")
CURVES = {"loss": "training loss", "val_mIoU": "validation mIoU (percent)"}  # columns of curve.csv
_HAS = {"loss": re.compile(r"^\d+,[^,\n]+,", re.M), "val_mIoU": re.compile(r"^\d+,.*,[^,\n]+$", re.M)}
MATRIX = {"template": "confusion_counts", "x": "actual", "y": "predicted"}  # .dvc/plots/confusion_counts.json


def dvc_views(project: Project, measured: Sequence[str]) -> dict[str, Any]:
    """Return the `metrics` and `plots` of the root dvc.yaml; {} where nothing is measured."""
    folders = [project.experiment_folder(name) for name in measured]
    metrics = [_path(project, file) for folder in folders for file in _metrics(folder)]
    plots = [*_curves(project, folders), *_matrices(project, folders)]
    return {key: found for key, found in (("metrics", metrics), ("plots", plots)) if found}


def _path(project: Project, file: Path) -> str:
    return file.relative_to(project.root).as_posix()


def _metrics(folder: Path) -> Iterator[Path]:
    for pattern in METRICS:
        yield from sorted(folder.glob(pattern))


def _curves(project: Project, folders: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """A plot per column of the learning curves, with the curves of all experiments that have it."""
    texts = {_path(project, folder / "curve.csv"): _text(folder / "curve.csv") for folder in folders}
    for column, title in CURVES.items():
        having: Mapping[str, str] = {
            path: column for path, text in texts.items() if _HAS[column].search(text)
        }
        if having:
            yield {title: {"x": "step", "y": having, "title": title, "x_label": "step", "y_label": title}}


def _text(curve: Path) -> str:
    """The content of a learning curve; "" if there is none, or one that cannot be read."""
    try:
        return limits.read_text(curve, limits.CSV_BYTES, error=RecordError)
    except (FileNotFoundError, RecordError):
        return ""


def _matrices(project: Project, folders: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """A confusion matrix per experiment."""
    for folder in folders:
        if (folder / "confusion.csv").is_file():
            yield {_path(project, folder / "confusion.csv"): {**MATRIX, "title": f"confusion, {folder.name}"}}
