"""All experiments in short: what `repro list` prints."""

from __future__ import annotations

from typing import Any

from repro.published import Row, rows
from repro.reports.cells import percent
from repro.reports.gate import finding
from repro.reports.results import Results


def listing(
    results: Results, *, dataset: str | None = None, page: str | None = None, measured: bool = False
) -> list[dict[str, Any]]:
    """One mapping an experiment: experiment, dataset, rows, label, published, measured (percent), verdict."""
    lines = [_line(results, name) for name in results.names()]
    return [
        line
        for line in lines
        if (dataset is None or dataset in line["datasets"])
        and (page is None or any(row.startswith(page) for row in line["rows"]))
        and (not measured or line["measured"] is not None)
    ]


def one_line(line: dict[str, Any]) -> str:
    """A line of the list: experiment, row, published and measured mIoU, verdict."""
    published, ours = (percent(line[key]) for key in ("published", "measured"))
    return f"{line['experiment']:<56} {' '.join(line['rows']):<8} {published:>6} {ours:>6}  {line['verdict']}"


def _line(results: Results, name: str) -> dict[str, Any]:
    record, declared = results.records.get(name), results.experiments.get(name)
    row_ids = declared.rows if declared else record.rows if record else ()
    published: list[Row] = [rows()[row_id] for row_id in row_ids if row_id in rows()]
    numbers = [row.metrics["mIoU"] for row in published if "mIoU" in row.metrics]
    verdict = "damaged record" if name in results.damaged else finding(results, name).verdict
    return {
        "experiment": name,
        "dataset": results.dataset(name),
        "datasets": sorted({results.dataset(name), *(row.dataset for row in published)}),
        "rows": list(row_ids),
        "label": published[0].label if published else declared.note if declared else "",
        "published": numbers[0] if numbers else None,
        "measured": record.metrics.get("mIoU") if record else None,
        "verdict": verdict,
    }
