"""All experiments in short: what `repro list` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from repro.params.names import matching
from repro.published import Row, rows
from repro.reports.cells import percent
from repro.reports.filters import Line, chosen
from repro.reports.gate import finding
from repro.reports.results import Results


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
