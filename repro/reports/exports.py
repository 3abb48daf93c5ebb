"""Results in the forms that other tools read: model-index, mmsegmentation's metafile, one flat CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from repro.io.safe_text import csv_cell, one_line, printable_texts
from repro.published import Row, rows
from repro.records import Record
from repro.reports.formatting import device_text, size_text
from repro.reports.gate import finding
from repro.reports.links import measured_links
from repro.reports.results import Results

_PAPERS = {
    "deeplabv1": ("DeepLabV1", "https://arxiv.org/abs/1412.7062"),
    "deeplabv2": ("DeepLabV2", "https://arxiv.org/abs/1606.00915"),
    "deeplabv3": ("DeepLabV3", "https://arxiv.org/abs/1706.05587"),
    "deeplabv3plus": ("DeepLabV3+", "https://arxiv.org/abs/1802.02611"),
    "densenet": ("DenseNet", "https://arxiv.org/abs/1608.06993"),
}
_NAMES = {
    "mIoU": "mIoU",
    "mIoU_ms_flip": "mIoU (multi-scale + flip)",
    "aAcc": "pixel accuracy",
    "mAcc": "mean accuracy",
}
_TYPES = {"mIoU": "mean_iou", "mIoU_ms_flip": "mean_iou", "aAcc": "overall_accuracy", "mAcc": "mean_accuracy"}
_COSTS = (
    "params_M",
    "gmacs_conv",
    "gmacs_thop",
    "latency_ms_p50",
    "latency_ms_p95",
    "images_per_s",
    "peak_memory_MiB",
)
CSV_COLUMNS = (
    *("row", "experiment", "dataset", "family", "backbone", "output_stride", "label"),
    *(
        "published_mIoU",
        "published_mIoU_ms_flip",
        "mIoU",
        "mIoU_low",
        "mIoU_high",
        "interval",
        "undefined",
        "mIoU_ms_flip",
        "aAcc",
        "mAcc",
    ),
    *(
        "fwIoU",
        "verdict",
        "kind",
        "split",
        "n_images",
        "protocol",
        "dataset_fingerprint",
        *_COSTS,
        "input_size",
    ),
    *("device", "model_sha256", "run_key", "commit", "measured_at", "config", "model", "log"),
)


def model_index(results: Results, names: Sequence[str]) -> str:
    """The `model-index` block of a model card (Hugging Face's metadata) for measured experiments."""
    entries = [_index_entry(results.records[name]) for name in names]
    return _yaml({"model-index": entries})


def metafile(results: Results, names: Sequence[str]) -> str:
    """A metafile.yaml in mmsegmentation's form: collections, then a model an experiment."""
    records = [results.records[name] for name in names]
    families = dict.fromkeys(_family(record) for record in records)
    collections = [_collection(family, records) for family in families]
    return _yaml({"Collections": collections, "Models": [_model(results, record) for record in records]})


def everything(results: Results, names: Sequence[str]) -> str:
    """Every published row and every experiment, one line each; empty where nothing is known."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    wanted = set(names)
    for row in rows().values():
        name = results.by_row.get(row.id, "")
        if not wanted or name in wanted:
            writer.writerow(_safe(_csv_line(results, name, row)))
    for name in results.own():
        if not wanted or name in wanted:
            writer.writerow(_safe(_csv_line(results, name, None)))
    return out.getvalue()


EXPORTS: Mapping[str, Callable[[Results, Sequence[str]], str]] = {
    "model-index": model_index,
    "metafile": metafile,
    "csv": everything,
}


def _index_entry(record: Record) -> dict[str, Any]:
    metrics = [
        {"type": _TYPES[metric], "value": round(value, 4), "name": _NAMES[metric], "verified": False}
        for metric, value in record.metrics.items()
        if metric in _NAMES
    ]
    data = {"type": record.dataset, "name": record.dataset, "split": record.split}
    result = {"task": {"type": "image-segmentation", "name": "Semantic segmentation"}, "dataset": data}
    return {"name": record.experiment, "results": [result | {"metrics": metrics}]}


def _collection(family: str, records: Sequence[Record]) -> dict[str, Any]:
    title, paper = _PAPERS.get(family, (family, ""))
    data = sorted({record.dataset for record in records if _family(record) == family})
    return {"Name": title, "Metadata": {"Training Data": data}, "Paper": {"URL": paper, "Title": title}}


def _model(results: Results, record: Record) -> dict[str, Any]:
    links = measured_links(results.project, record.experiment)
    found = {"mIoU": record.metrics.get("mIoU"), "mIoU(ms+flip)": record.metrics.get("mIoU_ms_flip")}
    metrics = {name: round(value, 2) for name, value in found.items() if value is not None}
    result = {"Task": "Semantic Segmentation", "Dataset": record.dataset, "Metrics": metrics}
    model = {
        "Name": record.experiment,
        "In Collection": _PAPERS.get(_family(record), (_family(record), ""))[0],
        "Metadata": _model_metadata(record),
        "Results": [result],
        "Config": links.get("config"),
        "Weights": links.get("model"),
    }
    return {key: value for key, value in model.items() if value}


def _model_metadata(record: Record) -> dict[str, Any]:
    params, cost = record.params, record.cost
    crop = (params.get("augmentation") or {}).get("crop")
    said = {
        "backbone": (params.get("model") or {}).get("backbone"),
        "crop size": f"({crop[0]},{crop[1]})" if crop else None,
        "Parameters": round(cost["params_M"] * 1e6) if cost.get("params_M") else None,
    }
    if cost.get("latency_ms_p50") is not None:
        said["inference time (ms/im)"] = [
            {
                "value": round(cost["latency_ms_p50"], 2),
                "hardware": device_text(cost),
                "backend": "PyTorch",
                "batch size": cost.get("batch", 1),
                "mode": str(cost.get("precision", "fp32")).upper(),
                "resolution": size_text(cost["input_size"]) if cost.get("input_size") else None,
            }
        ]
    return {key: value for key, value in said.items() if value}


def _csv_line(results: Results, name: str, row: Row | None) -> dict[str, Any]:
    line: dict[str, Any] = {"experiment": name, "dataset": results.dataset(name)}
    line |= {"verdict": finding(results, name).verdict if name else "unmeasured"}
    if row:
        line |= {"row": row.id, "dataset": row.dataset, "family": row.family, "backbone": row.backbone}
        line |= {"output_stride": row.output_stride, "label": row.label}
        line |= {f"published_{m}": row.metrics.get(m) for m in ("mIoU", "mIoU_ms_flip")}
    record = results.records.get(name)
    return line | (_measured(results, record) if record else {})


def _safe(line: Mapping[str, object]) -> dict[str, object]:
    texts = {key: one_line(value) if isinstance(value, str) else value for key, value in line.items()}
    return {key: csv_cell(value) for key, value in texts.items()}


def _measured(results: Results, record: Record) -> dict[str, Any]:
    low, high = record.intervals.get("mIoU", (None, None))
    cost, git = record.cost, record.provenance.get("git") or {}
    line: dict[str, Any] = {
        m: record.metrics.get(m) for m in ("mIoU", "mIoU_ms_flip", "aAcc", "mAcc", "fwIoU")
    }
    line |= {
        "mIoU_low": low,
        "mIoU_high": high,
        "interval": record.interval_kind if low is not None else None,
    }
    line |= {"undefined": "; ".join(f"{name}: {why}" for name, why in record.undefined.items())}
    line |= {"kind": record.kind}
    line |= {"split": record.split, "n_images": record.n_images, "protocol": record.protocol_hash}
    line |= {"dataset_fingerprint": record.dataset_fingerprint, "model_sha256": record.model_sha256}
    line |= {name: cost.get(name) for name in _COSTS}
    line |= {"input_size": size_text(cost["input_size"]) if cost.get("input_size") else None}
    line |= {"device": device_text(cost), "run_key": record.run_key, "commit": git.get("commit")}
    line |= {"measured_at": record.provenance.get("at")}
    return line | measured_links(results.project, record.experiment)


def _family(record: Record) -> str:
    return str((record.params.get("model") or {}).get("family", "unknown"))


def _yaml(value: object) -> str:
    return yaml.safe_dump(printable_texts(value), sort_keys=False, allow_unicode=True, width=100)
