"""Generated parts of hand-written files: found by markers, written, and compared.

    <!-- repro:table dataset=camvid -->
    ... generated, do not edit ...
    <!-- /repro:table -->

Keys of a marker: `dataset`, `page`, `values` (published, measured, both). Without any: all results so far;
`columns=short` keeps the eight columns that fit a page. `repro:plots` is an image of all results, drawn into
reports/plots-light.svg and reports/plots-dark.svg.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from html import escape
from pathlib import Path

from repro.errors import CheckFailed, ParamsError
from repro.records import write_text
from repro.reports import page_tables, svg_plots, tables
from repro.reports.data_formats import csv_text
from repro.reports.enums import Values
from repro.reports.frame import result_lines
from repro.reports.gate import headline
from repro.reports.grid import markdown
from repro.reports.results import Results

_REGION = re.compile(r"(<!-- repro:(\w+)((?: \w+=[^\s>]+)*) -->\n)(.*?)(<!-- /repro:\2 -->)", re.DOTALL)
_OPENING = re.compile(r"^<!-- repro:\w+", re.MULTILINE)


def generated_files(results: Results) -> dict[Path, str | None]:
    """Every generated file of the project with the content it should have; None for one that must go."""
    root = results.project.root
    folder = root / "reports" / "tables"
    found: dict[Path, str | None] = dict.fromkeys(_written_tables(folder))  # also of pages that are gone
    found |= {folder / f"{name}.md": text for name, text in _table_files(results).items()}
    found[root / "reports" / "results.csv"] = csv_text(results.to_frame())
    found |= _dataset_files(results)
    marked = {path: path.read_text(encoding="utf-8") for path in _marked_files(root)}
    found |= {path: filled(text, path, results) for path, text in marked.items()}
    if any("<!-- repro:plots" in text for text in marked.values()):
        found |= _plot_files(results)
    return found


def _plot_files(results: Results) -> dict[Path, str | None]:
    """The image of a `repro:plots` region, for light and dark pages."""
    lines = list(result_lines(results))
    title, folder = f"{headline(results)}: published and measured mIoU", results.project.root / "reports"
    return {folder / name: svg_plots.overview(lines, theme, title) for name, theme in PLOTS.items()}


def _written_tables(folder: Path) -> Iterator[Path]:
    """Tables that were generated before."""
    for path in sorted(folder.glob("*.md")):
        if path.read_text(encoding="utf-8").startswith(_NOTICE):
            yield path


def stale(files: Mapping[Path, str | None]) -> Iterator[tuple[Path, str]]:
    """(path, unified diff) of every file that is not as it should be."""
    for path, wanted in sorted(files.items()):
        current = path.read_text(encoding="utf-8") if path.is_file() else ""
        if current != (wanted or ""):
            yield path, _diff(current, wanted or "", path)


def write(files: Mapping[Path, str | None]) -> list[Path]:
    """Write what is stale, atomically, and delete what must go; the paths that changed."""
    changed = [path for path, _ in stale(files)]
    for path in changed:
        text = files[path]
        path.unlink() if text is None else write_text(path, text)
    return changed


def check(files: Mapping[Path, str | None], root: Path) -> None:
    """CheckFailed with the differences when any generated file is stale."""
    drift = list(stale(files))
    if drift:
        names = ", ".join(str(path.relative_to(root)) for path, _ in drift)
        text = "\n".join(diff for _, diff in drift)
        raise CheckFailed(
            f"{text}\n{len(drift)} generated files are stale",
            where=names,
            hint="run `repro table --write` and commit",
        )


def filled(text: str, path: Path, results: Results) -> str:
    """`text` with the content of every region regenerated."""
    if len(_REGION.findall(text)) != len(_OPENING.findall(text)):
        raise ParamsError(
            "a generated region is not closed or its marker is misspelt",
            where=path,
            allowed="<!-- repro:table dataset=NAME --> on a line, ... , <!-- /repro:table -->",
        )
    base = "../" * (len(path.relative_to(results.project.root).parts) - 1)

    def content(match: re.Match[str]) -> str:
        options = dict(pair.split("=", 1) for pair in match[3].split())
        return match[1] + "\n" + _region(match[2], options, results, base, path) + "\n" + match[5]

    return _REGION.sub(content, text)


def _region(kind: str, options: Mapping[str, str], results: Results, base: str, path: Path) -> str:
    if kind not in REGIONS:
        raise ParamsError(f"unknown generated region 'repro:{kind}'", where=path, allowed=", ".join(REGIONS))
    return REGIONS[kind](results, options, base)


def _table(results: Results, options: Mapping[str, str], base: str) -> str:
    if "page" in options:
        page = results.published.page(options["page"])
        return page_tables.page_text(results, page, Values(options.get("values", "both")), base=base)
    if "dataset" in options:
        return markdown(tables.dataset_tables(results, options["dataset"], base=base))
    columns = tables.SHORT if options.get("columns") == "short" else tables.COLUMNS
    return markdown(tables.measured_table(results, base=base, columns=columns))


def _rows(results: Results, options: Mapping[str, str], base: str) -> str:
    return markdown(tables.row_tables(results, base=base))


def _headline(results: Results, options: Mapping[str, str], base: str) -> str:
    return headline(results) + ".\n"


def _plots(results: Results, options: Mapping[str, str], base: str) -> str:
    light, dark = (f"{base}reports/{name}" for name in PLOTS)
    alt = escape(f"Published mIoU of all rows and measured mIoU with its interval: {headline(results)}")
    return (
        "<picture>\n"
        f'  <source media="(prefers-color-scheme: dark)" srcset="{dark}">\n'
        f'  <img src="{light}" alt="{alt}">\n'
        "</picture>\n"
    )


PLOTS = {"plots-light.svg": svg_plots.LIGHT, "plots-dark.svg": svg_plots.DARK}
REGIONS: dict[str, Callable[[Results, Mapping[str, str], str], str]] = {
    "table": _table,
    "rows": _rows,
    "headline": _headline,
    "plots": _plots,
}


def _table_files(results: Results) -> dict[str, str]:
    base = "../../"
    texts = {
        dataset: f"# {dataset}\n\n" + markdown(tables.dataset_tables(results, dataset, base=base))
        for dataset in results.datasets()
    }
    for page in results.published.pages.values():
        body = page_tables.page_text(results, page, Values.both, base=base)
        texts[f"page-{page.id}"] = f"# {page.title}\n\nPublished → measured here.\n\n{body}"
    return {name: _NOTICE + text for name, text in texts.items()}


def _dataset_files(results: Results) -> dict[Path, str]:
    """docs/datasets/*.md, in a checkout that has docs/."""
    docs = results.project.root / "docs"
    if not docs.is_dir():
        return {}
    from repro.reports.dataset_docs import dataset_pages  # imports the data sets, which plain tables need not

    pages = dataset_pages(results)
    return {docs / "datasets" / f"{name}.md": _NOTICE + text for name, text in pages.items()}


_NOTICE = "<!-- Generated by `repro table --write`; do not edit. -->\n\n"


def _marked_files(root: Path) -> list[Path]:
    """Markdown files at the top and in docs/ that hold a region."""
    candidates = [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]
    return [path for path in candidates if _OPENING.search(path.read_text(encoding="utf-8"))]


def _diff(current: str, wanted: str, path: Path) -> str:
    names = f"{path.name} (in the tree)", f"{path.name} (generated)"
    return "\n".join(
        difflib.unified_diff(current.splitlines(), wanted.splitlines(), *names, n=1, lineterm="")
    )
