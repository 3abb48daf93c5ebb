"""`repro page lint` and `repro page import`: lint and import results pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from repro.cli.console import Json, console, counted, emit_json, emit_json_text, write
from repro.io.safe_text import one_line

Pages = Annotated[
    list[Path] | None, typer.Argument(metavar="PAGE", help="Markdown pages; default: the published ones.")
]


def lint(pages: Pages = None, json: Json = False) -> None:
    """Find mistakes in results pages: links, units, labels, numbers; exit 1 if there are any.

    Example: repro page lint README.md
    """
    from repro.errors import CheckFailed
    from repro.reports.lint import lint as lint_text

    texts = {str(path): page_with_table(path) for path in pages} if pages else published_texts()
    found = [(name, problem) for name, text in texts.items() for problem in lint_text(text)]
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
    page: Annotated[Path, typer.Argument(metavar="PAGE", help="A markdown page with result tables.")],
    source: Annotated[str, typer.Option(help="Short id of the page; its rows become ID-01, ID-02, ...")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; default: standard output.")
    ] = None,
) -> None:
    """Import a results page as typed rows; cells are kept byte for byte.

    Example: repro page import README.md --source mine -o page-mine.json
    """
    from repro.cli.output_path import require_target
    from repro.published.import_page import check_source_id, import_page
    from repro.published.markdown import read_page
    from repro.published.page import page_json

    source = check_source_id(source)
    if out is not None:
        require_target(out, f"an imported page of the source '{source}'", is_page_of(source), stream=True)
    found = import_page(read_page(page), source=source, origin=page.name)
    raw = found.raw
    text = page_json(raw)
    if out is None:
        emit_json_text(text)
        return
    out.write_text(text, encoding="utf-8")
    measured = sum(bool(row["metrics"]) for row in raw["rows"].values())
    console(stderr=True).print(
        f"{len(raw['tables'])} tables, {len(raw['rows'])} rows, {measured} with a metric: {out}"
    )


def is_page_of(source: str) -> Callable[[Path], bool]:
    """A check whether a file was written by `repro page import --source SOURCE`."""

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
