"""Rules about numbers."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

from repro.published.cell import Number, Unread, read_number, read_pair
from repro.published.columns import paired
from repro.published.page_table import Line, MarkdownTable
from repro.reports.grid import plain
from repro.reports.lint.reading import (
    DASHES,
    EMPTY,
    Problem,
    Rule,
    cell,
    compares,
    dense,
    depth,
    has_number,
    is_difference,
    label,
    method,
    metric_columns,
    unit,
    value,
    without_depth,
)

_SIZES = re.compile(r"(?i)params|^mem")
_FLOPS = re.compile(r"(?i)^flops")
_INPUT = re.compile(r"(?i)^(?:test |train )?(?:crop|resolution|input|image size)")
_SETTINGS = re.compile(r"(?i)backbone|encoder|head|decoder|method|model|network|arch|family|batch|pretrain")
_NETWORK = re.compile(
    r"(?i)^(?:method|model|network|arch(?:itecture)?|family|head|decoder|backbone|encoder)s?$"
)
_TRAINING = re.compile(r"(?i)data|test|eval|split|crop|resolution|schd|iter|batch|pretrain")
_SPEEDS = re.compile(r"(?i)fps|speed|time")
_BOLD = re.compile(r"\*\*[^*]*\d")  # a number, not "80.25 (**test**)"
_DIMENSIONED = re.compile(r"(?i)params|^size|^flops|^mem|time|speed")


def not_a_number(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """A metric or parameter cell that holds words, a mark of doubt, emphasis or several numbers."""
    for table in found:
        columns = [*metric_columns(table), *_titled(table, _SIZES)]
        for row, column in ((row, column) for row in table.rows for column in columns):
            text, title = cell(row, column), table.columns[column]
            if text not in EMPTY and not _is_said(row.cells[column], title):
                what = "not a single number" if has_number(text) else "not a number"
                yield Problem(rule="not-a-number", line=row.number, text=f"{title}: '{text}' is {what}")
            if column < len(row.cells) and _BOLD.search(row.cells[column]):
                text = f"{title}: '{row.cells[column][:40]}' is emphasised"
                yield Problem(rule="emphasis", line=row.number, text=text)


def _is_said(text: str, title: str) -> bool:
    """Whether a cell is as many numbers as its heading announces: "47.9 / 48.1" under "mIoU (ss/ms)"."""
    if paired(title):
        return not any(isinstance(number, Unread) for number in read_pair(text))
    return value(plain(text)) is not None or _is_number(text)


def _is_number(text: str) -> bool:
    """Whether a cell is one number, also with its spread, a footnote or the split: "75.1 ± 0.3 (val)"."""
    number = read_number(text)
    return isinstance(number, Number) and all(remark.lower() in ("val", "test") for remark in number.remarks)


def empty(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """A result without any metric; and a cell of results without a number where other rows have one."""
    for table in found:
        metrics = metric_columns(table)
        for row in table.rows:
            if metrics and all(cell(row, column) in EMPTY for column in metrics):
                yield Problem(
                    rule="empty-metric", line=row.number, text=f"'{label(row)}': no metric is given"
                )
        for column, title in enumerate(() if compares(table) or not metrics else table.columns):
            texts = [(row, cell(row, column)) for row in table.rows]
            if column and any(value(text) is not None for _, text in texts):
                for row, text in texts:
                    if text in EMPTY - DASHES:
                        words = f"{title}: '{text}' where other rows have a number"
                        yield Problem(rule="empty-cell", line=row.number, text=words)


def impossible(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """A metric above 100, or anything but a difference below 0; multi-scale and flip below single scale."""
    for table in found:
        metrics = metric_columns(table)
        for row in table.rows:
            for column, title in list(enumerate(table.columns))[1:]:
                number = None if is_difference(title) else value(cell(row, column))
                if number is not None and (number < 0 or (column in metrics and number > 100)):
                    yield Problem(rule="impossible", line=row.number, text=f"{title}: {number:g} cannot be")
            yield from _worse_with_flip(table, row, metrics)


def _worse_with_flip(table: MarkdownTable, row: Line, metrics: list[int]) -> Iterator[Problem]:
    flips = [column for column in metrics if "flip" in table.columns[column].lower()]
    plain = [column for column in metrics if column not in flips]
    if flips and plain:
        single, multiple = value(cell(row, plain[0])), value(cell(row, flips[0]))
        if single is not None and multiple is not None and multiple < single:
            text = f"multi-scale + flip {multiple:g} is below single scale {single:g}"
            yield Problem(rule="order", line=row.number, text=text)


def mixed_units(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """Fractions and percent in one column, or in columns of one name."""
    columns: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for table in found:
        for column in metric_columns(table):
            for row in table.rows:
                text = cell(row, column)
                number = value(text)
                if number is not None and number > 0:
                    scaled = number if unit(text) != "%" or number > 1 else 100 * number
                    columns[table.columns[column]].append((row.number, scaled))
    for title, numbers in columns.items():
        fractions = [line for line, number in numbers if number <= 1]
        if 0 < len(fractions) < len(numbers):
            for line in fractions:
                yield Problem(rule="mixed-units", line=line, text=f"{title}: a fraction among percentages")


def missing_unit(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """Fractions that are not announced, numbers without a unit, FLOPs without size and convention."""
    for table in found:
        for column, title in enumerate(table.columns):
            texts = [cell(row, column) for row in table.rows]
            bare = [number for text in texts if (number := value(text)) is not None and not unit(text)]
            if column in metric_columns(table) and bare and max(bare) <= 1:
                words = f"{title}: fractions, and the header does not say so"
                yield Problem(rule="missing-unit", line=table.number, text=words)
            elif _DIMENSIONED.search(title) and bare and "(" not in title:
                yield Problem(rule="missing-unit", line=table.number, text=f"{title}: numbers without a unit")
        sized = bool(_titled(table, _INPUT))
        flops = ((row, cell(row, column)) for row, column in ([] if sized else _cells(table, _FLOPS)))
        for row, text in islice(((row, text) for row, text in flops if value(text) is not None), 1):
            words = f"FLOPs '{text}': neither input size nor multiply-add or operation is said"
            yield Problem(rule="missing-unit", line=row.number, text=words)


def empty_column(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """A column of a results table that no row fills."""
    for table in (table for table in found if metric_columns(table) and len(table.rows) > 1):
        for column, title in enumerate(table.columns):
            if (
                column
                and title
                and all(not cell(row, column) for row in table.rows if column < len(row.cells))
            ):
                text = f"column '{title}' is empty in all {len(table.rows)} rows"
                yield Problem(rule="empty-column", line=table.number, text=text)


def two_values(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """The name of a run with one value in a table and another value in a later table."""
    seen: dict[str, tuple[float, int, int]] = {}
    named = ((one, row) for one in found for row in one.rows if label(row).count(".") > 1)
    for table, row in named:
        number = next((value(cell(row, column)) for column in metric_columns(table)), None)
        if number is None:
            continue
        first, line, where = seen.setdefault(label(row), (number, row.number, table.number))
        if number != first and table.number != where:
            text = f"'{label(row)}' has {number:g} here and {first:g} in line {line}"
            yield Problem(rule="two-values", line=row.number, text=text)


def depth_order(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """A deeper network below a shallower one in the first metric, all else equal."""
    for table in found:
        groups: dict[tuple[str, ...], list[tuple[int, float, int]]] = defaultdict(list)
        for row in table.rows if metric_columns(table) else ():
            number, layers = value(cell(row, metric_columns(table)[0])), depth(label(row))
            if number is not None and layers is not None:
                settings = [cell(row, column) for column in _titled(table, _TRAINING)]
                named = [without_depth(cell(row, column)) for column in _titled(table, _NETWORK)]
                key = (method(row), without_depth(label(row)), *named, *settings)
                groups[key].append((layers, number, row.number))
        for rows in groups.values():
            for (small, low, _), (large, high, line) in pairwise(sorted(rows)):
                if small < large and high < low:
                    text = f"depth {large} has {high:g}, depth {small} has {low:g}"
                    yield Problem(rule="order", line=line, text=text)


def other_size(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """One network with several sizes."""
    sizes: dict[tuple[str, ...], list[tuple[float, Line]]] = defaultdict(list)
    for table in found:
        for row, column in _cells(table, _SIZES):
            if (number := value(cell(row, column))) is not None:
                sizes[_network(table, row, column)].append((number, row))
    for network, rows in sizes.items():
        usual = Counter(number for number, _ in rows).most_common(1)[0][0]
        for number, row in rows:
            if _apart(network, number, usual):
                text = f"{number:g}, where rows of the same network have {usual:g}"
                yield Problem(rule="other-size", line=row.number, text=text)


def copied_size(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """DenseNets of different growth with one size: a number that was copied, or a label that is wrong."""
    growths: dict[tuple[str, float], list[tuple[int, Line]]] = defaultdict(list)
    for table in found:
        for row, column in _cells(table, _SIZES):
            number, named = value(cell(row, column)), dense(label(row))
            if number is not None and named:
                growths[named[0], number].append((_growth(label(row), named[1]), row))
    for (_, number), rows in growths.items():
        for growth, row in rows if len({growth for growth, _ in rows}) > 1 else ():
            text = f"{number:g} at growth {growth} and at another growth: one is wrong"
            yield Problem(rule="other-size", line=row.number, text=text)


def repeated_speed(found: Sequence[MarkdownTable]) -> Iterator[Problem]:
    """The same measured speed of three digits or more in two rows: copied."""
    seen: dict[tuple[str, str], list[int]] = defaultdict(list)
    for table in found:
        for row, column in _cells(table, _SPEEDS):
            text = cell(row, column)
            if value(text) is not None and "." in text and len(re.findall(r"\d", text)) > 2:
                seen[table.columns[column], text].append(row.number)
    for (title, text), lines in seen.items():
        for line in lines if len(lines) > 1 else ():
            yield Problem(
                rule="repeated-speed", line=line, text=f"{title}: {text} stands in {len(lines)} rows"
            )


def _cells(table: MarkdownTable, pattern: re.Pattern[str]) -> Iterator[tuple[Line, int]]:
    return ((row, column) for row in table.rows for column in _titled(table, pattern))


def _titled(table: MarkdownTable, pattern: re.Pattern[str]) -> list[int]:
    return [column for column, title in enumerate(table.columns) if column and pattern.search(title)]


def _apart(network: tuple[str, ...], number: float, usual: float) -> bool:
    """More than 5 % apart; labels of runs do not name the network, so there only what looks like a slip."""
    most = 0.3 if network[-1] == "" else 10.0
    return usual > 0 and 0.05 < abs(number - usual) / usual < most


def _growth(text: str, growth: int) -> int:
    """The growth a label means: 'dense30k36(actually48)' means 48."""
    said = re.search(r"k\d+\(\D*(\d+)\)", text)
    return int(said[1]) if said else growth


def _network(table: MarkdownTable, row: Line, column: int) -> tuple[str, ...]:
    """What must agree for two sizes to be of one network: title, label without data set and schedule."""
    text = label(row).lower()
    if "dense" in text:
        return (text, table.columns[column], "")  # too many variants to call two labels one network
    memory = table.columns[column].lower().startswith("mem") and "." not in text  # differs by head, too
    family = text if memory else re.split(r"[.\s(]", text)[0]
    crop = next((cell(row, i) for i, title in enumerate(table.columns) if "crop" in title.lower()), "")
    settings = (cell(row, i) for i in _titled(table, _SETTINGS))
    names = (method(row).lower(), family, str(_default_depth(text)))
    return (table.columns[column].split("(")[0], *names, *settings, crop)


def _default_depth(text: str) -> int:
    return {100: 101}.get(depth(text) or 101, depth(text) or 101)


RULES: dict[str, Rule] = {
    "not-a-number": not_a_number,
    "empty": empty,
    "impossible": impossible,
    "mixed-units": mixed_units,
    "missing-unit": missing_unit,
    "empty-column": empty_column,
    "two-values": two_values,
    "order": depth_order,
    "other-size": other_size,
    "copied-size": copied_size,
    "repeated-speed": repeated_speed,
}
