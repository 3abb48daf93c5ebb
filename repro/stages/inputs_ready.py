"""Inputs that a stage needs: raw data and generated DVC files."""

from __future__ import annotations

from pathlib import Path

from repro.errors import DataError, ParamsError
from repro.params import Project, find_project
from repro.params.folders import check_no_conflicts
from repro.params.project import BUILT_IN
from repro.scaffold.dvc_files import sync
from repro.stages.reporter import Say

UNREADABLE = "its params.yaml cannot be read, so DVC would fail (`repro sync --check`)"


def is_present(raw: Path) -> bool:
    """Whether data/NAME is a file or a non-empty folder."""
    return raw.is_file() or (raw.is_dir() and any(raw.iterdir()))


def restore(project: Project, name: str) -> bool:
    """Provide data/NAME if that needs no user action; returns whether it is present then.

    The built-in set is generated. A project inside another one (`dvc exp run --temp` and `--queue` use a copy
    in .dvc/tmp) gets a link to the data of the outer project.
    """
    raw = project.data / name
    if is_present(raw):
        return True
    if name == BUILT_IN:
        from repro.datasets.sets import synthetic  # imports OpenCV

        synthetic.write(raw)
    elif (outer := outer_project(project)) and is_present(outer.data / name):
        set_link(raw, (outer.data / name).resolve())
    return is_present(raw)


def is_available(project: Project, name: str) -> bool:
    """Whether data/NAME is present, or `restore` can provide it."""
    outer = outer_project(project)
    return name == BUILT_IN or any(is_present(one.data / name) for one in (project, outer) if one)


def outer_project(project: Project) -> Project | None:
    """The project that contains the folder of this one, if there is one."""
    try:
        return find_project(project.root.resolve().parent)
    except ParamsError:
        return None


def set_link(link: Path, target: Path) -> None:
    """Create or replace the symbolic link; DataError if `link` is not a link but existing data."""
    if is_present(link) and not link.is_symlink():
        if link.resolve() == target:
            return
        hint = "move it away, or use it without a link"
        raise DataError("data exists at the path of the link", where=link, hint=hint)
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_dir() and not link.is_symlink():
        link.rmdir()
    link.unlink(missing_ok=True)
    link.symlink_to(target, target_is_directory=target.is_dir())


def write_files(project: Project) -> list[str]:
    """Write the generated DVC files that are stale; returns their paths."""
    return [str(path.relative_to(project.root)) for path in sync(project)]


def regenerate_files(project: Project, note: Say) -> None:
    """Regenerate stale DVC files after an edit of a params.yaml, since DVC's own error would not help."""
    check_no_conflicts(project)
    has_pipelines = (project.root / "dvc.yaml").is_file()
    for name in write_files(project) if has_pipelines else ():
        is_there = (project.root / name).exists()
        note(f"regenerated {name} (params.yaml changed)" if is_there else f"removed {name}: {UNREADABLE}")
