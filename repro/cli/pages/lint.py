"""`repro page lint` and `repro page import`: lint and import results pages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import Json, console, emit_json, emit_json_text, write
from repro.errors import counted
from repro.io import limits
from repro.io.safe_text import one_line

Pages = Annotated[
    list[Path] | None, typer.Argument(metavar="PAGE", help="Markdown pages; default: the published ones.")
]


def lint(pages: Pages = None, json: Json = False) -> None:
    """Find mistakes in results pages: links, units, labels, numbers; exit 1 if there are any.

    The file PAGE.yaml beside PAGE.md switches rules off by name: `lint: {ignore: [emphasis]}`.

    Example: repro page lint README.md
    """
    from repro.errors import CheckFailed
    from repro.reports.lint import lint as lint_text

    texts = {str(path): page_with_table(path) for path in pages} if pages else published_texts()
    off = {str(path): rules_off(path.with_suffix(".yaml")) for path in pages or ()}
    found = [(name, one) for name, text in texts.items() for one in lint_text(text, off.get(name, ()))]
    if json:
        emit_json([{"page": name, **vars(problem)} for name, problem in found])
    else:
        for name, one in found:
            write(one_line(f"{name}:{one.line}: {one.rule}: {one.text}") + "\n")
    if found:
        where = counted(len({name for name, _ in found}), "page")
        raise CheckFailed(f"{counted(len(found), 'problem')} in {where}")
    console(stderr=True).print(f"nothing wrong in {counted(len(texts), 'page')}")


def import_(
    page: Annotated[
        str, typer.Argument(metavar="PAGE", help="Markdown or YAML file; - reads markdown from stdin.")
    ],
    source: Annotated[
        str, typer.Option("--id", "--source", help="Id of the page; its rows become ID-01, ID-02, ...")
    ],
    column_map: Annotated[
        Path | None,
        typer.Option("--map", help="YAML file that says what columns hold; default: ID.yaml beside --out."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; default: standard output.")
    ] = None,
) -> None:
    """Import a results page as typed rows; cells are kept byte for byte.

    Cells of known columns that cannot be read are listed on stderr with their line and column.

    Example: repro page import README.md --id mine -o page-mine.json
    """
    from repro.cli.output_path import require_target
    from repro.io.yaml_reader import read_yaml
    from repro.published.columns import read_map
    from repro.published.import_page import check_source_id, import_page
    from repro.published.page import page_json

    source = check_source_id(source)
    if out is not None:
        require_target(out, f"an imported page of the source '{source}'", is_page_of(source), stream=True)
    beside = out.with_name(f"{source}.yaml") if out is not None else None
    given = column_map or (beside if beside is not None and beside.is_file() else None)
    chosen = None if given is None else read_map(read_yaml(given), given)
    found = import_page(page_text(page), source=source, origin=Path(page).name, column_map=chosen)
    text = page_json(found.raw)
    if out is None:
        emit_json_text(text)
    else:
        out.write_text(text, encoding="utf-8")
    for problem in found.problems:
        console(stderr=True).print(one_line(str(problem)), markup=False)
    rows = found.raw["rows"].values()
    measured = sum(bool(row["metrics"]) for row in rows)
    unread = f", {counted(len(found.problems), 'problem')}" if found.problems else ""
    size = f"{counted(len(found.raw['tables']), 'table')}, {counted(len(rows), 'row')}"
    console(stderr=True).print(f"{size}, {measured} with a metric{unread}")


def rules_off(path: Path) -> tuple[str, ...]:
    """The rules that the map of a page switches off; none without a map. Raises for unknown names."""
    from repro.errors import UnknownNameError
    from repro.io.yaml_reader import read_yaml
    from repro.published.columns import read_map
    from repro.reports.lint import NAMES

    off = read_map(read_yaml(path), path).lint_off if path.is_file() else ()
    for rule in off:
        if rule not in NAMES:
            raise UnknownNameError("rule", rule, NAMES, where=path)
    return off


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


def page_with_table(path: Path) -> str:
    """The text of a page; DataError where it has no table to lint."""
    from repro.published.import_page import require_tables
    from repro.published.markdown import read_page

    text = read_page(path)
    require_tables(text, path)
    return text


def published_texts() -> dict[str, str]:
    from repro.published import pages
    from repro.published.page import page_markdown

    return {f"page-{page.id}.md": page_markdown(page) for page in pages()}
