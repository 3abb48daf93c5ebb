"""What lies in its place before a stage can run: raw data, and the generated DVC files."""

from __future__ import annotations

from pathlib import Path

from repro.params import Project
from repro.scaffold import sync
from repro.stages.voice import Say

BUILT_IN = "synthetic"
UNREADABLE = "the params.yaml beside it cannot be read, and DVC would stop at it (`repro sync --check`)"


def here(raw: Path) -> bool:
    """Whether something lies at data/NAME: an empty folder only keeps the place."""
    return raw.is_file() or (raw.is_dir() and any(raw.iterdir()))


def draw_built_in(data: Path) -> int:
    """The built-in data set, and an empty folder for each other; the number of scenes."""
    from repro.datasets import DATASETS, synthetic  # OpenCV: a fleet needs it only where nothing is drawn yet

    for name in DATASETS:
        # DVC stops at a missing input with "No such file"; at an empty folder `repro prepare` can say more.
        # Empty folders are no part of what data.dvc pins.
        if not (data / name).is_symlink():
            (data / name).mkdir(parents=True, exist_ok=True)
    return synthetic.write(data / BUILT_IN)


def keep_pin(project: Project) -> None:
    """Draw the built-in data set where it is missing: `dvc repro` would have data.dvc pin an empty folder."""
    if (project.root / "data.dvc").is_file() and not here(project.data / BUILT_IN):
        draw_built_in(project.data)


def write_files(project: Project) -> list[str]:
    """Template copies and root stages; returns what was written."""
    return [str(path.relative_to(project.root)) for path in sync(project)]


def renew_files(project: Project, note: Say) -> None:
    """What an edit of a params.yaml made stale, before DVC stops at it with words about itself."""
    keep_pin(project)
    has_pipelines = (project.root / "dvc.yaml").is_file()
    for name in write_files(project) if has_pipelines else ():
        is_there = (project.root / name).exists()
        note(f"wrote {name}: it was not what the params say" if is_there else f"removed {name}: {UNREADABLE}")
