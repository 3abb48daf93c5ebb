"""What lies in its place before a stage can run: raw data, and the generated DVC files."""

from __future__ import annotations

from pathlib import Path

from repro.errors import DataError, ParamsError
from repro.params import Project, find_project
from repro.params.folders import check_no_conflicts
from repro.params.project import BUILT_IN
from repro.scaffold import sync
from repro.stages.reporter import Say

UNREADABLE = "the params.yaml beside it cannot be read, and DVC would stop at it (`repro sync --check`)"


def here(raw: Path) -> bool:
    """Whether something lies at data/NAME: an empty folder only keeps the place."""
    return raw.is_file() or (raw.is_dir() and any(raw.iterdir()))


def restore(project: Project, name: str) -> bool:
    """Put data/NAME in its place where nobody needs to be asked for it; whether it is here then.

    The built-in set is drawn. A project inside another one (`dvc exp run --temp` and `--queue` work in a
    copy below .dvc/tmp) gets a link to the data of the one around it.
    """
    raw = project.data / name
    if here(raw):
        return True
    if name == BUILT_IN:
        from repro.datasets.sets import synthetic  # OpenCV: needed only where nothing is drawn yet

        synthetic.write(raw)
    elif (around := project_around(project)) and here(around.data / name):
        set_link(raw, (around.data / name).resolve())
    return here(raw)


def can_be_here(project: Project, name: str) -> bool:
    """Whether data/NAME is here, or `restore` would put it there."""
    around = project_around(project)
    return name == BUILT_IN or any(here(place.data / name) for place in (project, around) if place)


def project_around(project: Project) -> Project | None:
    """The project in one of whose folders this one is."""
    try:
        return find_project(project.root.resolve().parent)
    except ParamsError:
        return None


def set_link(link: Path, target: Path) -> None:
    """Make `link` lead to `target`; DataError where data lies in its place."""
    if here(link) and not link.is_symlink():
        if link.resolve() == target:
            return
        hint = "move it away, or use it as it is"
        raise DataError("there is data in the place of the link", where=link, hint=hint)
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_dir() and not link.is_symlink():
        link.rmdir()
    link.unlink(missing_ok=True)
    link.symlink_to(target, target_is_directory=target.is_dir())


def write_files(project: Project) -> list[str]:
    """Template copies and root stages; returns what was written."""
    return [str(path.relative_to(project.root)) for path in sync(project)]


def renew_files(project: Project, note: Say) -> None:
    """What an edit of a params.yaml made stale, before DVC stops at it with words about itself."""
    check_no_conflicts(project)
    has_pipelines = (project.root / "dvc.yaml").is_file()
    for name in write_files(project) if has_pipelines else ():
        is_there = (project.root / name).exists()
        note(f"regenerated {name} (params.yaml changed)" if is_there else f"removed {name}: {UNREADABLE}")
