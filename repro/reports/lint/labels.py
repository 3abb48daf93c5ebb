"""Rules about labels and the shape of tables."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from repro.published.page_table import Line, MarkdownTable
from repro.reports.lint.reading import (
    EMPTY,
    Problem,
    Rule,
    cell,
    datasets,
    described,
    is_difference,
    label,
    metric_columns,
    value,
)

_SUFFIX = "the suffix of a file"  # a mistake among results; a list of files has them
_SLIPS = {
    r"\.\.": "a doubled dot",
    r"\.(py|sh|ya?ml|ckpt|pth)$": _SUFFIX,
    r"[ÃÂï][\x80-\xbf]|ï¼|â€": "text in a wrong encoding",
    r"(?i)ac?turall?y|actually": "a label that corrects itself",
}
_MISSPELT = re.compile(
    r"(?i)\b\w*(comming|offical|termiat|terminat(?!e|i)|acturally|baselline|recieve|seperat|paramter|flippling"
    r"|accurracy|resutls?|segmention|convolutoin|trainning|occured|lenght|widht|heigth|validaton)\w*"
)

_OTHER_METRIC = re.compile(
    r"(?i)\btop[- ]?\d|^err(?:or)?\b|\bacc@|\b\w*ap(?:val|\d+)?\b|\bpq\b|^(?:sad|mse|grad|conn)$"
)
_MEASURED = re.compile(r"(?i)param|flops|mac|fps|speed|time|latency|memory|^mem|^size")


def duplicate_label(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """Rows of one table with the same label and settings, or a long label in two tables."""
    for table in found if any(map(metric_columns, found)) else ():
        counts = Counter(_identity(table, row) for row in table.rows)
        for row in table.rows:
            if label(row) not in EMPTY and (count := counts[_identity(table, row)]) > 1:
                text = f"'{label(row)}' is in {count} rows of the table with the same settings"
                yield Problem(rule="duplicate-label", line=row.number, text=text)
    home: dict[str, set[int]] = defaultdict(set)
    lines: dict[str, list[int]] = defaultdict(list)
    for table in found:
        for row in table.rows:
            home[label(row)].add(table.number)
            lines[label(row)].append(row.number)
    for name in (name for name in home if len(home[name]) > 1 and name.count(".") > 1):  # names of runs
        for line in lines[name]:
            yield Problem(rule="duplicate-label", line=line, text=f"'{name}' stands in several tables")


def _identity(table: MarkdownTable, row: Line) -> tuple[str, ...]:
    """What a row says of its model: its label, and every cell that is no result; of links only their text."""
    told = set(metric_columns(table)) | {i for i, title in enumerate(table.columns) if is_difference(title)}
    results = told | {
        i for i, title in enumerate(table.columns) if _MEASURED.search(title) and not _named(row, i)
    }
    return (label(row), *(cell(row, i) for i in range(len(row.cells)) if i not in results))


def _named(row: Line, column: int) -> bool:
    """Whether a cell holds a word: "size" is tiny or s0 here, and in megabytes there."""
    text = cell(row, column)
    return text[:1].isalpha() and text not in EMPTY


def wrong_table(found: Sequence[MarkdownTable], words: Mapping[str, str]) -> Iterator[Problem]:
    """A row that names a data set which its section does not; `words` are the page's own names of them."""
    for table in found:
        section = datasets(f"{table.section} {table.title}", words)
        for row in table.rows:
            foreign = datasets(label(row), words) - section
            if section and foreign:
                text = f"'{label(row)}' names {'/'.join(sorted(foreign))} under '{table.title}'"
                yield Problem(rule="wrong-table", line=row.number, text=text)


def slip(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """Labels and cells with doubled dots, file suffixes, wrong encodings, misspellings, contradictions."""
    for table in found:
        for row in table.rows:
            for pattern, what in _SLIPS.items():
                text = described(row) if what.endswith("encoding") else label(row)
                if (what != _SUFFIX or metric_columns(table)) and re.search(pattern, text):
                    yield Problem(rule="slip", line=row.number, text=f"{what}: '{described(row)[:100]}'")
            for word in _MISSPELT.finditer(described(row)):
                yield Problem(rule="slip", line=row.number, text=f"misspelt: '{word[0]}'")
            sizes = set(re.findall(r"ima?ge?size(\d+)", label(row)))
            if len(sizes) > 1:
                text = f"two sizes in one label: {', '.join(sorted(sizes))}"
                yield Problem(rule="slip", line=row.number, text=text)
        for word in _MISSPELT.finditer(f"{table.header} {table.title}"):
            yield Problem(rule="slip", line=table.number, text=f"misspelt: '{word[0]}'")


def shape(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """More or fewer cells than the header has, and rules between rows."""
    for table in found:
        width = len(table.columns)
        for line in table.body:
            if line.is_rule and table.joiner:
                yield Problem(rule="mid-rule", line=line.number, text="this rule is shown as a row of dashes")
            elif not line.is_rule and len(line.cells) > width:
                extra = ", ".join(cell[:40] or "(empty)" for cell in line.cells[width:])
                yield Problem(
                    rule="beyond-header", line=line.number, text=f"cells beyond the header: {extra}"
                )
            elif not line.is_rule and len(line.cells) < width:
                text = f"{len(line.cells)} cells under {width} columns: a value stands in a wrong column"
                yield Problem(rule="missing-cell", line=line.number, text=text)


def no_metric(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """A table of numbers among result tables that has no metric: its rows are no results."""
    if not any(metric_columns(table) for table in found):
        return
    bare = (table for table in found if not metric_columns(table) and not _of_another_task(table))
    for table in (table for table in bare if _number_columns(table) > 1):
        for row in table.rows:
            yield Problem(rule="no-metric", line=row.number, text=f"'{label(row)}': no column holds a metric")


def _of_another_task(table: MarkdownTable) -> bool:
    """Whether a table has metrics of classification, detection or matting: results, but of another task."""
    return any(map(_OTHER_METRIC.search, table.columns[1:]))


def _number_columns(table: MarkdownTable) -> int:
    return sum(any(value(cell(row, i)) is not None for row in table.rows) for i in range(len(table.columns)))


RULES: dict[str, Rule] = {
    "duplicate-label": duplicate_label,
    "slip": slip,
    "shape": shape,
    "no-metric": no_metric,
}
