"""`repro page import`: a results page as typed rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.console import console, emit_json_text
from repro.errors import counted
from repro.io import limits
from repro.io.safe_text import one_line

if TYPE_CHECKING:
    from repro.params import Project
    from repro.published.columns import ColumnMap
    from repro.published.import_page import Imported

SHOWN = 20  # rows that moved


def import_(
    page: Annotated[
        str, typer.Argument(metavar="PAGE", help="Markdown or YAML file; - reads markdown from stdin.")
    ],
    source: Annotated[
        str, typer.Option("--id", "--source", help="Id of the page; its rows become ID-01, ID-02, ...")
    ],
    column_map: Annotated[
        Path | None,
        typer.Option("--map", help="YAML file that says what columns hold; default: ID.yaml beside it."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write; default: published/ID.json; without a project stdout."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files in published/ that were edited.")
    ] = False,
) -> None:
    """Import a results page as typed rows; cells are kept byte for byte.

    In a project, writes published/ID.json with the page beside it as ID.md and the map as ID.yaml.
    Cells of known columns that cannot be read are listed on stderr with their line and column.

    Example: repro page import README.md --id mine
    """
    from repro.cli.output_path import require_target
    from repro.params.project import project_here
    from repro.published.folder import require_id
    from repro.published.import_page import import_page

    here = project_here()
    project = here if out is None else None
    if project:
        project.published.new_id(source, where="--id")
    else:
        require_id(source, where="--id")
    beside = out or (project.published.path(source) if project else None)
    if out is not None:
        require_target(out, f"an imported page of the source '{source}'", is_page_of(source), stream=True)
    text, chosen = page_text(page), with_own_data(the_map(column_map, beside, source), here)
    found = import_page(text, source=source, origin=Path(page).name, column_map=chosen)
    if project:
        keep(project, found, text, column_map, force=force)
    elif out is None:
        emit_json_text(json_of(found))
    else:
        out.write_text(json_of(found), encoding="utf-8")
    report(found)


def keep(project: Project, found: Imported, text: str, column_map: Path | None, *, force: bool) -> None:
    """Write the page into the project, and say which files changed."""
    from repro.published.imported_files import moved_rows, page_files, write_page

    map_text = None if column_map is None else column_map.read_text(encoding="utf-8")
    files = page_files(project.published, found.raw, text=text, map_text=map_text)
    moved = list(moved_rows(next(iter(files)), found.raw))
    for path in write_page(files, force=force):
        console(stderr=True).print(f"wrote {path.relative_to(project.root)}")
    for one in moved[:SHOWN]:
        console(stderr=True).print(one_line(one), markup=False)
    if moved:
        what = f"{counted(len(moved), 'row')} moved: check `rows:` of the experiments that name them"
        console(stderr=True).print(what)


def report(found: Imported) -> None:
    """Print what could not be read, then how much was."""
    for problem in found.problems:
        console(stderr=True).print(one_line(str(problem)), markup=False)
    rows = found.raw["rows"].values()
    measured = sum(bool(row["metrics"]) for row in rows)
    unread = f", {counted(len(found.problems), 'problem')}" if found.problems else ""
    size = f"{counted(len(found.raw['tables']), 'table')}, {counted(len(rows), 'row')}"
    console(stderr=True).print(f"{size}, {measured} with a metric{unread}")
    print_map(found)


def print_map(found: Imported) -> None:
    """Print a column map to paste, for columns whose titles do not say which metric they hold."""
    from repro.published.columns import METRICS
    from repro.published.import_page import NOT_KNOWN

    titles = dict.fromkeys(problem.column for problem in found.problems if problem.reason == NOT_KNOWN)
    if titles:
        name, fields = found.raw["source"]["id"], ", ".join(METRICS[:6])
        lines = [f"  {json.dumps(title, ensure_ascii=False)}: ignore" for title in titles]
        head = f"to say what these columns hold ({fields}, ...), write {name}.yaml and import again:"
        console(stderr=True).print("\n".join([head, "columns:", *lines]), markup=False, highlight=False)


def json_of(found: Imported) -> str:
    from repro.published.page import page_json

    return page_json(found.raw)


def the_map(given: Path | None, beside: Path | None, source: str) -> ColumnMap | None:
    """The column map that was named, or else ID.yaml beside the page file."""
    from repro.io.yaml_reader import read_yaml
    from repro.published.columns import read_map

    path = given or (beside.with_name(f"{source}.yaml") if beside is not None else None)
    if path is None or not (given or path.is_file()):
        return None
    return read_map(read_yaml(path), path)


def with_own_data(chosen: ColumnMap | None, here: Project | None) -> ColumnMap | None:
    """The map with the words for the data sets that the project declares."""
    from dataclasses import replace

    from repro.params.dataset import declared_words
    from repro.published.columns import ColumnMap

    return replace(chosen or ColumnMap(), own=declared_words(here)) if here else chosen


def page_text(page: str) -> str:
    """The page as markdown: a file, the results in a YAML file, or standard input."""
    from repro.published.import_yaml import with_model_index, yaml_as_markdown
    from repro.published.markdown import check_page, read_page

    if page == "-":
        return check_page(sys.stdin.read(limits.PAGE_BYTES + 1), "standard input")
    path = Path(page)
    if path.suffix in (".yaml", ".yml"):
        return yaml_as_markdown(path)
    return with_model_index(read_page(path), path)


def is_page_of(source: str) -> Callable[[Path], bool]:
    """A check whether a file was written by `repro page import --id SOURCE`."""

    from repro.errors import ReproError
    from repro.io.json_reader import read_json

    def is_page(path: Path) -> bool:
        try:
            found = read_json(path)
        except ReproError:
            return False
        kept = found.get("source")
        return isinstance(kept, dict) and kept.get("id") == source and "tables" in found

    return is_page
