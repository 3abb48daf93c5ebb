"""Where one number comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repro.errors import UnknownNameError
from repro.published import Published, Row
from repro.published.sources import Source
from repro.records import Record
from repro.records.network import network_package
from repro.records.tier import tier_of
from repro.reports import formatting
from repro.reports.frame import claimed
from repro.reports.gate import finding
from repro.reports.results import Results
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
        "tier": _tier(record) if metric == record.primary else "",
        "measured on": "" if is_cost else f"{record.dataset} {record.split}, {record.n_images} images",
        "data": "" if is_cost else f"fingerprint {record.dataset_fingerprint}",
        "protocol": ""
        if of_training or not record.metrics
        else f"{record.protocol_hash} ({protocol_text(record)})",
        "network": _network(record),
        "weights": f"sha256 {record.model_sha256}" if record.model_sha256 and not is_cost else "",
        "record": f"{path} (content {record.content_hash[:16]})",
        "run": f"{record.run_key} ({record.kind})",
        "commit": f"{git.get('commit') or 'unknown'}{dirty}{unknown}",
        "made": str(record.provenance.get("at", "")),
        "device": _device(record, metric),
        "notes": "; ".join(record.notes),
    }
    return {key: text for key, text in facts.items() if text}


def _tier(record: Record) -> str:
    seeds = len(record.seeds.values) if record.seeds else 1
    return tier_of(record, seeds=seeds, published=bool(record.published)) or ""


def _network(record: Record) -> str:
    """What was called for a network by reference, and its package; of a program its command; "" for ours."""
    model, external = record.params.get("model") or {}, record.params.get("external") or {}
    if external:
        return f"{external['family']}, predicted by: {external['predict']['command']}"
    package = network_package(record.provenance)
    return f"{model['build']} ({package})" if "build" in model else ""


def unmeasured(name: str, published: Sequence[Row], metric: str) -> dict[str, str]:
    """Ordered facts about `metric` of an experiment without a record: what its rows publish, and where."""
    known = {key for row in published for key in (*row.metrics, *row.cost)}
    if metric not in {*known, *MEASURED}:
        raise UnknownNameError("published number" if known else "metric", metric, {*known, *MEASURED})
    facts = {"number": f"{metric}: not measured yet", "to measure": f"dvc repro experiments/{name}"}
    for row in published:
        of = f" {row.id}" if len(published) > 1 else ""
        facts |= {f"{key}{of}": text for key, text in _of_row(row, metric).items() if text}
    return facts


def settings(published: Published, rows: Sequence[Row]) -> dict[str, str]:
    """Where the settings of each row are written: repository, commit, then each file with its lines."""
    facts: dict[str, str] = {}
    for row in rows:
        source = published.sources.get(row.id)
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


def values(results: Results, name: str, metric: str) -> dict[str, Any]:
    """What `explain --json` says, with the keys of docs/json.md; null for what is not known."""
    record, found = results.records.get(name), finding(results, name)
    published = [results.published.rows[row_id] for row_id in claimed(results, name)]
    printed = (value for row in published if (value := _printed(row, metric)) is not None)
    number, expected = _number(record, metric), next(printed, None)
    judged = {key: getattr(found, key) for key in ("verdict", "tier", "reason", "reference", "band")}
    judged = judged if metric == found.metric else dict.fromkeys(judged)
    reference = judged["reference"] if expected is None else expected
    low, high = record.intervals.get(metric, (None, None)) if record else (None, None)
    return {
        "experiment": name,
        "metric": metric,
        "published": expected,
        "measured": number,
        "gap": None if number is None or reference is None else round(number - reference, 4),
        "interval_low": low,
        "interval_high": high,
        "interval_kind": record.interval_kind if record and low is not None else None,
        **judged,
        "dataset": results.dataset(name),
        **_origins(results, record, metric),
        "published_rows": [_printed_row(row, metric) for row in published],
        "sources": [_source(row, results.published.sources.get(row.id)) for row in published]
        if metric == SETTINGS
        else [],
    }


SETTINGS = "settings"
_OF_IMAGES = ("split", "n_images", "dataset_fingerprint", "protocol_hash", "model_sha256")


def _origins(results: Results, record: Record | None, metric: str) -> dict[str, Any]:
    """Which data, weights, run, commit and device a number is of."""
    on_images = record is not None and metric in _quality(record)
    git = (record.provenance.get("git") if record else None) or {}
    path = results.project.record(record.experiment) if record else None
    of_images = {key.removesuffix("_hash"): getattr(record, key) if on_images else None for key in _OF_IMAGES}
    return {
        **of_images,
        "record_path": path.relative_to(results.project.root).as_posix() if path else None,
        **{key: getattr(record, key, None) for key in ("content_hash", "kind", "run_key")},
        "git_commit": git.get("commit"),
        "uncommitted_changes": bool(git.get("dirty")) if git else None,
        "measured_at": record.provenance.get("at") if record else None,
        "device": (_device(record, metric) or None) if record else None,
        "notes": list(record.notes) if record else [],
    }


def _printed(row: Row, metric: str) -> float | None:
    return {**row.metrics, **row.cost}.get(metric)


def _number(record: Record | None, metric: str) -> float | None:
    known = {**_quality(record), **record.cost} if record else {}
    value = known.get(metric)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _printed_row(row: Row, metric: str) -> dict[str, Any]:
    """A published row: where it is, what it prints, how it was made."""
    return {
        "row": row.id,
        "page": row.page,
        "line": row.line,
        "label": row.label,
        "published": _printed(row, metric),
        "cells": list(row.cells),
        "evaluated_on": row.eval_set or None,
        "source": row.source or None,
        "remarks": list(row.remarks),
    }


def _source(row: Row, found: Source | None) -> dict[str, Any]:
    """Where each setting of a row is written: file -> setting -> line."""
    files = {file: dict(lines) for file, lines in found.files.items()} if found else {}
    keys = ("repository", "commit", "recorded")
    named = {key: getattr(found, key, None) for key in keys}
    return {"row": row.id, **named, "files": files}


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
