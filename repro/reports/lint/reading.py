"""What the rules read in a table: labels, numbers, backbones, data sets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from repro.published.datasets import datasets_named
from repro.published.page_table import Line, MarkdownTable
from repro.reports.grid import plain

METRIC = re.compile(r"(?i)m?iou\b|\b[am]?acc(uracy)?\b|\bm?dice\b|\bap\b|^(pre|after|f1)\b")
DASHES = frozenset({"-", "--", "---", "–", "—"})
EMPTY = DASHES | {"", "N/A", "n/a", "NA", "null", "None", "TBD"}
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_QUANTITY = re.compile(r"([-+]?\d{1,20}(?:\.\d{1,20})?)\s*(%|[A-Za-z/]*)")
_FOOTNOTE = re.compile(r"(?<=\d) \([a-z]{1,2}\)$")  # '636 (a)'
_COMPARED = re.compile(r"(?i)^(published|measured)\b")
_DIFFERENCE = re.compile(r"(?i)\b(difference|diff|gap|change|interval|delta)\b|Δ")
_DEPTH = re.compile(r"(?i)(?:resnet|res|(?<!h)r)[-_]?(18|34|50|100|101|152)(?!\d)")
_DENSE = re.compile(r"(?i)dense(?:net)?(\d+)k(\d+)")
_METHOD = re.compile(r"(?i)(deep|fcn|psp|u-?net|upernet|segformer|mask)[\w+ ]*")  # a method, no backbone
_OTHERS = re.compile(r"(?i)mobilenet|xception|vgg|hrnet|swin")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One finding: rule, 1-based line of the page, and what is wrong in plain words."""

    rule: str
    line: int
    text: str


Rule = Callable[[Sequence[MarkdownTable]], Iterator[Problem]]


def label(row: Line) -> str:
    """What a row calls itself: its first cell, or its second where the first is empty or names the method."""
    first, second = cell(row, 0), cell(row, 1)
    return second if second and value(second) is None and _is_method(first) else first


def method(row: Line) -> str:
    """The method that the first cell names where it is not the label: FCN, before ResNet-50."""
    first = cell(row, 0)
    return "" if label(row) == first else first


def _is_method(text: str) -> bool:
    """Whether a first cell names no network: empty, or a method without its backbone."""
    return not text or bool(_METHOD.fullmatch(text) and not backbones(text))


def described(row: Line) -> str:
    """All describing text of a row: every cell without its link targets."""
    return " ".join(plain(cell) for cell in row.cells)


def cell(row: Line, column: int) -> str:
    """The text of a cell without markup; empty where the row is too short."""
    return plain(row.cells[column]).strip() if column < len(row.cells) else ""


def value(text: str) -> float | None:
    """The number of a cell that holds nothing but one number, with or without a unit or a footnote's mark."""
    found = _QUANTITY.fullmatch(_FOOTNOTE.sub("", text.strip()))
    return float(found[1]) if found else None


def unit(text: str) -> str:
    """The unit printed with a number: '%', 'G', 'ms', or nothing."""
    found = _QUANTITY.fullmatch(_FOOTNOTE.sub("", text.strip()))
    return found[2] if found else ""


def has_number(text: str) -> bool:
    return bool(_NUMBER.search(text))


def metric_columns(table: MarkdownTable) -> list[int]:
    """Columns whose title names a quality metric; never the first one, which names the row.

    The difference of two metrics, or the interval of one, is none.
    """
    named = (i for i, title in enumerate(table.columns) if i and METRIC.search(title))
    return [i for i in named if not is_difference(table.columns[i])]


def is_difference(title: str) -> bool:
    """Whether the numbers under `title` may be below 0."""
    return bool(_DIFFERENCE.search(title))


def compares(table: MarkdownTable) -> bool:
    """Whether a table has published and measured columns: there an empty cell says that no number exists."""
    found = {match[1].lower() for title in table.columns if (match := _COMPARED.search(title))}
    return len(found) == 2


def backbones(text: str) -> set[str]:
    """Backbones that a text names: {'50'}, {'mobilenet'}, {'dense30k48'}."""
    depths = {"101" if depth == "100" else depth for depth in _DEPTH.findall(text)}
    dense = {f"dense{blocks}k{growth}" for blocks, growth in _DENSE.findall(text)}
    return depths | dense | {name.lower() for name in _OTHERS.findall(text)}


def depth(text: str) -> int | None:
    """Depth of the residual network that a text names."""
    found = _DEPTH.search(text)
    return int(found[1]) if found else None


def without_depth(text: str) -> str:
    return _DEPTH.sub("*", text)


def dense(text: str) -> tuple[str, int] | None:
    """('30', 48) of 'dense30k48'."""
    found = _DENSE.search(text)
    return (found[1], int(found[2])) if found else None


def datasets(text: str, words: Mapping[str, str]) -> set[str]:
    """Data sets that a text names, also by a page's own `words`; "COCO" is mostly that of pretraining."""
    own = {words[word] for word in re.split(r"[\W_\d]+", text.lower()) if word in words}
    return (datasets_named(text) | own) - {"coco"}
