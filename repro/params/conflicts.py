"""Files of a project that a merge left with both sides in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from repro.merge_markers import has_markers, unmerged
from repro.params.project import Project


def conflicted(project: Project) -> Iterator[Path]:
    """Files of the pipeline and of results that a merge left with both sides."""
    root = project.root
    names = ("params.yaml", "dvc.yaml", "dvc.lock", "data.dvc", "README.md", "reports/results.csv")
    found = [root / name for name in names]
    for pattern in ("dvc.lock", "*/params.yaml", "*/dvc.lock", "*/*.json", "*/*.csv"):
        found += sorted(project.experiments.glob(pattern))
    found += sorted(project.rows.glob("*.json"))
    return (path for path in found if path.is_file() and has_markers(path))


def require_merged(project: Project) -> None:
    """ParamsError where DVC would stumble over a dvc.lock with both sides in it."""
    for folder in (project.root, project.experiments, *sorted(project.experiments.glob("*/"))):
        if has_markers(folder / "dvc.lock"):
            raise unmerged(folder / "dvc.lock")
