"""Images of predictions: how an overlay is laid out, and where small copies of it are kept in git."""

from __future__ import annotations

from pathlib import Path

from repro.params import Project
from repro.records.record import Record

PARTS = ("image", "truth", "prediction")  # of an overlay, from left to right
GAP = 4  # white pixels between them
SUFFIXES = (".jpg", ".png")  # with images, label maps alone


def overlays(project: Project, experiment: str) -> list[Path]:
    """The overlays of an experiment's last evaluation, which DVC stores; none in a fresh clone."""
    return sorted((project.experiment_folder(experiment) / "overlays").glob("*.png"))


def thumbnail_path(project: Project, record: Record, suffix: str) -> Path:
    """The file of a record's thumbnails, named after the weights whose predictions it shows."""
    weights = (record.model_sha256 or record.run_key)[:8]
    return project.root / "reports" / "thumbnails" / f"{record.experiment}-{weights}{suffix}"


def thumbnail(project: Project, record: Record) -> Path | None:
    """The thumbnails of a record; None without any, or if they show other weights."""
    found = (thumbnail_path(project, record, suffix) for suffix in SUFFIXES)
    return next((path for path in found if path.is_file()), None)
