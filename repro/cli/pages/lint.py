"""`repro page lint`: mistakes in results pages."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.console import Json, console, emit_json, write
from repro.errors import counted
from repro.io.safe_text import one_line

if TYPE_CHECKING:
    from repro.published import Published
    from repro.published.columns import ColumnMap

Pages = Annotated[
    list[Path] | None, typer.Argument(metavar="PAGE", help="Markdown pages; default: those of the project.")
]


def lint(pages: Pages = None, json: Json = False) -> None:
    """Find mistakes in results pages: links, units, labels, numbers; exit 1 if there are any.

    The file PAGE.yaml beside PAGE.md switches rules off by name: `lint: {ignore: [emphasis]}`, and says by
    which words labels name data sets: `lint: {datasets: {cs: cityscapes}}`.

    Example: repro page lint README.md
    """
    from repro.errors import CheckFailed
    from repro.params.project import find_project
    from repro.reports.lint import lint as lint_text

    given = {path: page_with_table(path) for path in pages or ()}
    texts = given or published_texts(find_project().published)
    maps = {path: map_of(path.with_suffix(".yaml")) for path in texts}
    found = [
        (str(path), one)
        for path, text in texts.items()
        for one in lint_text(text, maps[path].lint_off, maps[path].lint_datasets)
    ]
    if json:
        emit_json([{"page": name, **vars(problem)} for name, problem in found])
    else:
        for name, one in found:
            write(one_line(f"{name}:{one.line}: {one.rule}: {one.text}") + "\n")
    if found:
        where = counted(len({name for name, _ in found}), "page")
        raise CheckFailed(f"{counted(len(found), 'problem')} in {where}")
    console(stderr=True).print(f"nothing wrong in {counted(len(texts), 'page')}")


def map_of(path: Path) -> ColumnMap:
    """The map beside a page: rules that it switches off, names of data sets. Raises for unknown rules."""
    from repro.errors import UnknownNameError
    from repro.io.yaml_reader import read_yaml
    from repro.published.columns import ColumnMap, read_map
    from repro.reports.lint import NAMES

    found = read_map(read_yaml(path), path) if path.is_file() else ColumnMap()
    for rule in found.lint_off:
        if rule not in NAMES:
            raise UnknownNameError("rule", rule, NAMES, where=path)
    return found


def page_with_table(path: Path) -> str:
    """The text of a page; DataError where it has no table to lint."""
    from repro.published.import_page import require_tables
    from repro.published.markdown import read_page

    text = read_page(path)
    require_tables(text, path)
    return text


def published_texts(published: Published) -> dict[Path, str]:
    """The markdown of every page of a project; of one without it, its tables."""
    from repro.published.markdown import read_page
    from repro.published.page import page_markdown

    found = {}
    for page in published.pages.values():
        path = Path(os.path.relpath(published.path(page.id).with_suffix(".md")))
        found[path] = read_page(path) if path.is_file() else page_markdown(page)
    return found
