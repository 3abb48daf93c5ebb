"""Results in the forms that other tools read: model-index, mmsegmentation's metafile, flat tables, curves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from repro.io.safe_text import printable_texts
from repro.records import Record
from repro.records.metrics_io import read_curve
from repro.records.network import described_network, network_package
from repro.reports.badge import badge
from repro.reports.columns import COUNT, NUMBER, TEXT, typed
from repro.reports.croissant import croissant
from repro.reports.data_formats import csv_text, json_text, parquet
from repro.reports.formatting import device_text, size_text
from repro.reports.links import measured_links
from repro.reports.model_cards import eval_results, every_eval_ever, model_index
from repro.reports.results import Results

if TYPE_CHECKING:
    from pandas import DataFrame

_PAPERS = {
    "deeplabv1": ("DeepLabV1", "https://arxiv.org/abs/1412.7062"),
    "deeplabv2": ("DeepLabV2", "https://arxiv.org/abs/1606.00915"),
    "deeplabv3": ("DeepLabV3", "https://arxiv.org/abs/1706.05587"),
    "deeplabv3plus": ("DeepLabV3+", "https://arxiv.org/abs/1802.02611"),
    "densenet": ("DenseNet", "https://arxiv.org/abs/1608.06993"),
}
# Columns of earlier CSV exports, which scripts may read: kept until the next release, after the new ones.
_FORMER = {
    "published_mIoU": "published",
    "published_mIoU_ms_flip": "published_ms_flip",
    "mIoU": "measured",
    "mIoU_low": "interval_low",
    "mIoU_high": "interval_high",
    "interval": "interval_kind",
    "mIoU_ms_flip": "measured_ms_flip",
    "aAcc": "pixel_accuracy",
    "mAcc": "mean_accuracy",
    "fwIoU": "fw_iou",
    "params_M": "params_m",
    "peak_memory_MiB": "peak_memory_mib",
    "commit": "git_commit",
    "config": "config_path",
    "model": "weights_url",
    "log": "log_path",
}
_CURVES = {"experiment": TEXT, "step": COUNT, "loss": NUMBER, "lr": NUMBER, "val_miou": NUMBER}


def metafile(results: Results, names: Sequence[str]) -> str:
    """A metafile.yaml in mmsegmentation's form: collections, then a model an experiment."""
    records = [results.records[name] for name in names]
    families = dict.fromkeys(_family(record) for record in records)
    collections = [_collection(family, records) for family in families]
    return _yaml({"Collections": collections, "Models": [_model(results, record) for record in records]})


def everything(results: Results, names: Sequence[str]) -> str:
    """Every published row and every experiment as CSV, one line each; empty where nothing is known."""
    frame = _frame(results, names)
    return csv_text(frame.assign(**{former: frame[name] for former, name in _FORMER.items()}))


def _frame(results: Results, names: Sequence[str]) -> DataFrame:
    frame = results.to_frame()
    return frame[frame["experiment"].isin(names)] if names else frame


def curves(results: Results, names: Sequence[str]) -> str:
    """The learning curves of experiments as one CSV: a line per step."""
    wanted = names or results.names()
    return csv_text(typed((line for name in wanted for line in _curve(results, name)), _CURVES))


def _curve(results: Results, name: str) -> Iterator[dict[str, Any]]:
    steps: dict[int, dict[str, float]] = {}
    for column, points in read_curve(results.project.experiment_folder(name) / "curve.csv").items():
        for step, value in points:
            steps.setdefault(step, {})[column.lower()] = value
    yield from ({"experiment": name, "step": step, **values} for step, values in sorted(steps.items()))


EXPORTS: Mapping[str, Callable[[Results, Sequence[str]], str | bytes]] = {
    "model-index": model_index,
    "eval-results": eval_results,
    "eee": every_eval_ever,
    "metafile": metafile,
    "csv": everything,
    "json": lambda results, names: json_text(_frame(results, names)),
    "parquet": lambda results, names: parquet(_frame(results, names)),
    "curves": curves,
    "badge": badge,
    "croissant": croissant,
}
MEASURED = ("model-index", "eval-results", "eee", "metafile")  # those that hold what was measured alone
OF_DATA = ("croissant",)  # those whose names are of data sets


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
        "backbone": described_network(params)["backbone"],
        **reference(record),
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


def reference(record: Record) -> dict[str, Any]:
    """What was called for a network by reference, its arguments and its package; {} for ours."""
    model, package = record.params.get("model") or {}, network_package(record.provenance)
    if "build" not in model:
        return {}
    return {"build": model["build"], "args": dict(model.get("args") or {}), "package": package}


def _family(record: Record) -> str:
    return str(described_network(record.params)["family"] or "unknown")


def _yaml(value: object) -> str:
    return yaml.safe_dump(printable_texts(value), sort_keys=False, allow_unicode=True, width=100)
