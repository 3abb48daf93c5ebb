"""The rows of `repro list`, and its filters: `verdict=reproduced`, `published>=50`, `camvid_*`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any

from repro.errors import ParamsError, UnknownNameError
from repro.params.names import matching
from repro.reports.columns import COUNT, NUMBER, typed, whole
from repro.reports.formatting import difference, percent
from repro.reports.frame import COLUMNS, beside, claimed, of_experiment, of_printed
from repro.reports.query import queried
from repro.reports.results import Results

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Line = Mapping[str, Any]
ORDER: dict[str, Callable[[Any, float], Any]] = {">": gt, ">=": ge, "<": lt, "<=": le}
OF_ROWS = ("row", "page", "published_dataset")  # an experiment may stand for several rows
OF_EXPERIMENT = {name: kind for name, kind in COLUMNS.items() if name not in OF_ROWS}
FIELDS = ("experiment", "rows", "datasets", *(name for name in OF_EXPERIMENT if name != "experiment"))
SHORT = ("experiment", "row", "published", "measured", "gap", "verdict", "tier")
WIDE = ("dataset", "backbone", "output_stride", "recipe", "label", "interval", "reason")


def listing(
    results: Results,
    names: Sequence[str] = (),
    *,
    dataset: str | None = None,
    page: str | None = None,
    measured: bool = False,
    conditions: Sequence[str] = (),
    query: str | None = None,
) -> list[Line]:
    """A mapping with FIELDS of each experiment that meets everything; numbers are percent."""
    stray = results.stray
    known = [name for name in results.names() if name not in stray]
    found = [_line(results, name) for name in matching(names, known)]
    results.cache.save()
    lines: list[Line] = [
        line
        for line in found
        if (dataset is None or dataset in line["datasets"])
        and (page is None or page in results.pages_of(line["rows"]))
        and (not measured or line["experiment"] in results.records)
    ]
    return _chosen(lines, conditions, query) if conditions or query is not None else lines


def _line(results: Results, name: str) -> dict[str, Any]:
    """An experiment beside the first of its rows with a number; all of its rows and data sets."""
    ours = of_experiment(results, name)
    published = [results.published.rows[row_id] for row_id in claimed(results, name)]
    printed = [row for row in published if "mIoU" in row.metrics] or published
    row = printed[0] if printed else None
    line = whole(beside(ours, row) | (of_printed(results, row) if row else {}), OF_EXPERIMENT)
    damage = "damaged params.yaml" * (name in results.broken) or "damaged record" * (name in results.damaged)
    datasets = {results.dataset(name), *(row.dataset for row in published)}
    listed = {"rows": [row.id for row in published], "datasets": sorted(datasets)}
    return {**line, **listed, "verdict": damage or line["verdict"], "undefined": ours["undefined_miou"]}


def _chosen(lines: Sequence[Line], conditions: Iterable[str], query: str | None) -> list[Line]:
    """The lines that meet all conditions; ParamsError for one that cannot be read."""
    frame = typed(lines, OF_EXPERIMENT)
    listed = frame.assign(**{key: [line[key] for line in lines] for key in ("rows", "datasets")})
    for text in conditions:
        frame = frame[condition(text)(listed)[frame.index]]
    if query is not None:
        frame = queried(frame, query)
    return [lines[i] for i in frame.index]


def condition(text: str) -> Callable[[DataFrame], Series]:
    """FIELD=PATTERN, FIELD!=PATTERN, FIELD>NUMBER (>=, <, <=), or a PATTERN of names."""
    found = re.fullmatch(r"\s*(\w+)\s*(!=|>=|<=|=|>|<)\s*(.*?)\s*", text)
    if found is None:
        return lambda frame: _each(frame["experiment"], text.strip())
    field, sign, wanted = found.groups()
    if field not in FIELDS:
        raise UnknownNameError("field", field, FIELDS)
    if re.search(rf",\s*({'|'.join(FIELDS)})\s*[!=<>]", wanted):
        hint = "use a separate --filter for each; all must hold"
        raise ParamsError(f"several conditions in '{text}'", where="--filter", hint=hint)
    if sign in ORDER:
        bound = _number(wanted if COLUMNS.get(field) in (NUMBER, COUNT) else None, text)
        return lambda frame: ORDER[sign](frame[field].astype(NUMBER), bound)
    if COLUMNS.get(field) == NUMBER and wanted != "none":
        number = _number(wanted, text)
        return lambda frame: (frame[field] == number) == (sign == "=")
    return lambda frame: _each(frame[field], wanted) == (sign == "=")


def _each(column: Series, pattern: str) -> Series:
    values = column.astype(object).where(column.notna(), None)
    return values.map(lambda value: _matches(value, pattern)).astype(bool)


def _matches(value: Any, pattern: str) -> bool:
    """A pattern on text, any element of a list; `none` is what is not known."""
    if isinstance(value, list):
        return any(_matches(one, pattern) for one in value)
    return fnmatchcase("none" if value is None else str(value), pattern)


def _number(value: object, text: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
        if not math.isfinite(number):  # nothing is above or below what is no number
            raise ValueError(number)
        return number
    except (TypeError, ValueError):
        numbers = ", ".join(name for name in FIELDS if COLUMNS.get(name) in (NUMBER, COUNT))
        raise ParamsError(f"no number in '{text}'", where="--filter", hint=f"numbers: {numbers}") from None


def shown(line: Line, *, wide: bool = False) -> tuple[str, ...]:
    """The cells of an experiment in the list: SHORT, and WIDE where wanted."""
    published, measured = percent(line["published"]), percent(line["measured"])
    unknown = "undef." if line["undefined"] else ""
    cells = [line["experiment"], " ".join(line["rows"]), published, measured or unknown]
    cells += [difference(line["gap"], 0.0), line["verdict"], line["tier"] or ""]
    if not wide:
        return tuple(cells)
    low, high = line["interval_low"], line["interval_high"]
    interval = "" if low is None else f"{low:.2f} to {high:.2f}"
    described = [line[key] for key in WIDE if key in COLUMNS]
    described.insert(WIDE.index("interval"), interval)
    return (*cells, *("" if one is None else str(one) for one in described))
