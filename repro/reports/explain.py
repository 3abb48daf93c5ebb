"""Where one number comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from repro.errors import UnknownNameError
from repro.published import Row
from repro.published.sources import sources
from repro.records import Record
from repro.reports import formatting
from repro.reports.tables import protocol_text

MEASURED = ("mIoU", "mIoU_ms_flip", "aAcc", "mAcc", "fwIoU", "params_M", "gmacs_conv", "latency_ms_p50")


def explanation(record: Record, metric: str, path: Path) -> dict[str, str]:
    """Ordered facts about `metric` (a metric, `IoU/<class>` or a cost) of a record stored at `path`."""
    value = _value(record, metric)
    is_cost, of_training = metric not in _quality(record), metric.startswith("train_")
    git = record.provenance.get("git") or {}
    unknown = f" ({git['unknown']})" if git.get("unknown") else ""
    dirty = " with uncommitted changes" if git.get("dirty") else ""
    facts = {
        "number": f"{metric} = {value}",
        "interval": formatting.interval(record, metric)
        and f"{formatting.interval(record, metric)} ({record.interval_kind})",
        "published": _published(record, metric),
        "verdict": f"{record.verdict} ({_reason(record)})" if metric == record.primary else "",
        "measured on": "" if is_cost else f"{record.dataset} {record.split}, {record.n_images} images",
        "data": "" if is_cost else f"fingerprint {record.dataset_fingerprint}",
        "protocol": ""
        if of_training or not record.metrics
        else f"{record.protocol_hash} ({protocol_text(record)})",
        "weights": f"sha256 {record.model_sha256}" if record.model_sha256 and not is_cost else "",
        "record": f"{path} (content {record.content_hash[:16]})",
        "run": f"{record.run_key} ({record.kind})",
        "commit": f"{git.get('commit') or 'unknown'}{dirty}{unknown}",
        "made": str(record.provenance.get("at", "")),
        "device": _device(record, metric),
        "notes": "; ".join(record.notes),
    }
    return {key: text for key, text in facts.items() if text}


def unmeasured(name: str, rows: Sequence[Row], metric: str) -> dict[str, str]:
    """Ordered facts about `metric` of an experiment without a record: what its rows publish, and where."""
    known = {key for row in rows for key in (*row.metrics, *row.cost)}
    if metric not in {*known, *MEASURED}:
        raise UnknownNameError("published number" if known else "metric", metric, {*known, *MEASURED})
    facts = {"number": f"{metric}: not measured yet", "to measure": f"dvc repro experiments/{name}"}
    for row in rows:
        of = f" {row.id}" if len(rows) > 1 else ""
        facts |= {f"{key}{of}": text for key, text in _of_row(row, metric).items() if text}
    return facts


def settings(rows: Sequence[Row]) -> dict[str, str]:
    """Where the settings of each row are written: repository, commit, then each file with its lines."""
    facts: dict[str, str] = {}
    for row in rows:
        source = sources().get(row.id)
        if source is None:
            facts[f"{row.id} source"] = "not known"
            continue
        later = (
            "" if source.commit == source.recorded else f", the script's first; recorded at {source.recorded}"
        )
        facts[f"{row.id} source"] = f"{source.repository} at commit {source.commit}{later}"
        for file, lines in source.files.items():
            facts[f"{row.id} {file}"] = ", ".join(f"{name} :{line}" for name, line in lines.items())
    return facts


def _of_row(row: Row, metric: str) -> dict[str, str]:
    """What a row publishes of `metric`, how it was printed and how it was made."""
    value = {**row.metrics, **row.cost}.get(metric)
    number = "no number" if value is None else f"{value:g}"
    return {
        "published": f"{number} (row {row.id}, line {row.line} of page {row.page})",
        "as printed": " | ".join(row.cells),
        "evaluated on": row.eval_set,
        "made with": row.source,
        "remarks": "; ".join(row.remarks),
    }


def _quality(record: Record) -> dict[str, float | str]:
    """Every number that was measured on images."""
    per_class = record.per_class.items()
    return (
        {**record.metrics}
        | {name: f"undefined ({why})" for name, why in record.undefined.items()}
        | {f"IoU/{name}": "undefined" if iou is None else iou for name, iou in per_class}
    )


def _device(record: Record, metric: str) -> str:
    """Where a number was made: a training's cost where it trained, a count of operations nowhere."""
    if metric.startswith("train_"):
        trained = (record.provenance.get("training") or {}).get("device")
        return formatting.device_text({"device": trained})
    return "" if metric.startswith(("params_", "gmacs_")) else formatting.device_text(record.cost)


def _value(record: Record, metric: str) -> float | str:
    known = _quality(record)
    known |= {name: cost for name, cost in record.cost.items() if isinstance(cost, int | float)}
    if metric not in known:
        raise UnknownNameError("metric", metric, known)
    return known[metric]


def _published(record: Record, metric: str) -> str:
    if metric not in record.published:
        return ""
    return f"{record.published[metric]:.2f} (row {', '.join(record.rows)})"


def _reason(record: Record) -> str:
    if record.expectation is None:
        return "no reference"
    expected = record.expectation
    return f"reference {expected.value:.2f} ± {expected.band:g}: {expected.source}"
