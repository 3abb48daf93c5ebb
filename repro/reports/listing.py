"""The rows of `repro list`, and its filters: `verdict=reproduced`, `published>=50`, `camvid_*`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from operator import ge, gt, le, lt
from typing import Any

from repro.errors import ParamsError, UnknownNameError
from repro.params.names import matching
from repro.published import Row, rows
from repro.reports.formatting import percent
from repro.reports.gate import finding
from repro.reports.results import Results

Line = Mapping[str, Any]
ORDER: dict[str, Callable[[float, float], bool]] = {">": gt, ">=": ge, "<": lt, "<=": le}
FIELDS = (
    *("experiment", "dataset", "rows", "label", "recipe", "backbone", "output_stride"),
    *("published", "measured", "gap", "verdict"),
)


def chosen(lines: Sequence[Line], conditions: Sequence[str]) -> list[Line]:
    """The lines that meet all conditions; ParamsError for one that cannot be read."""
    tests = [condition(text) for text in conditions]
    return [line for line in lines if all(test(line) for test in tests)]


def condition(text: str) -> Callable[[Line], bool]:
    """FIELD=PATTERN, FIELD!=PATTERN, FIELD>NUMBER (>=, <, <=), or a PATTERN of names."""
    found = re.fullmatch(r"\s*(\w+)\s*(!=|>=|<=|=|>|<)\s*(.*?)\s*", text)
    if found is None:
        return lambda line: fnmatchcase(line["experiment"], text.strip())
    field, sign, wanted = found.groups()
    if field not in FIELDS:
        raise UnknownNameError("field", field, FIELDS)
    if re.search(rf",\s*({'|'.join(FIELDS)})\s*[!=<>]", wanted):
        hint = "give each a --filter of its own; all must hold"
        raise ParamsError(f"several conditions in '{text}'", where="--filter", hint=hint)
    if sign in ORDER:
        bound = _number(wanted, text)
        return lambda line: line[field] is not None and ORDER[sign](_number(line[field], text), bound)
    return lambda line: _matches(line[field], wanted) == (sign == "=")


def _matches(value: object, pattern: str) -> bool:
    """A pattern on text, equality on numbers, any element of a list; `none` is what is not known."""
    if isinstance(value, (list, tuple)):
        return any(_matches(one, pattern) for one in value)
    if isinstance(value, float):
        return pattern != "none" and value == _number(pattern, pattern)
    return fnmatchcase("none" if value is None else str(value), pattern)


def _number(value: object, text: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
        if not math.isfinite(number):  # nothing is above or below what is no number
            raise ValueError(number)
        return number
    except (TypeError, ValueError):
        hint = "published, measured, gap and output_stride are numbers"
        raise ParamsError(f"no number in '{text}'", where="--filter", hint=hint) from None


def listing(
    results: Results,
    names: Sequence[str] = (),
    *,
    dataset: str | None = None,
    page: str | None = None,
    measured: bool = False,
    conditions: Sequence[str] = (),
) -> list[Line]:
    """A mapping with filters.FIELDS of each experiment that `names` match; numbers are percent."""
    known = [name for name in results.names() if name not in results.stray]
    lines = chosen([_line(results, name) for name in matching(names, known)], conditions)
    return [
        line
        for line in lines
        if (dataset is None or dataset in line["datasets"])
        and (page is None or any(row.startswith(page) for row in line["rows"]))
        and (not measured or line["experiment"] in results.records)
    ]


def one_line(line: Line) -> str:
    """A line of the list: experiment, row, published and measured mIoU, verdict."""
    published, ours = (percent(line[key]) for key in ("published", "measured"))
    ours = ours or ("undef." if line["undefined"] else "")
    return f"{line['experiment']:<56} {' '.join(line['rows']):<8} {published:>6} {ours:>6}  {line['verdict']}"


def _damaged(results: Results, name: str) -> str:
    return "damaged params.yaml" * (name in results.broken) or "damaged record" * (name in results.damaged)


def _line(results: Results, name: str) -> dict[str, Any]:
    record, declared = results.records.get(name), results.experiments.get(name)
    row_ids = declared.rows if declared else record.rows if record else ()
    published: list[Row] = [rows()[row_id] for row_id in row_ids if row_id in rows()]
    numbers = [row.metrics["mIoU"] for row in published if "mIoU" in row.metrics]
    verdict = _damaged(results, name) or finding(results, name).verdict
    model = declared.model if declared else record.params.get("model", {}) if record else {}
    expected, ours = numbers[0] if numbers else None, record.metrics.get("mIoU") if record else None
    return {
        "experiment": name,
        "dataset": results.dataset(name),
        "datasets": sorted({results.dataset(name), *(row.dataset for row in published)}),
        "rows": list(row_ids),
        "label": published[0].label if published else declared.note if declared else "",
        "recipe": declared.recipe if declared else "",
        "backbone": model.get("backbone"),
        "output_stride": model.get("output_stride"),
        "published": expected,
        "measured": ours,
        "gap": None if expected is None or ours is None else round(ours - expected, 4),
        "undefined": record.undefined.get("mIoU") if record else None,
        "verdict": verdict,
    }
