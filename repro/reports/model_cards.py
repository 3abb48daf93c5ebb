"""Results as others publish them: Hugging Face's model-index and `.eval_results`, and Every Eval Ever's JSON.

Values are percent points, as in records. Each result names its interval, protocol and tier of evidence.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import yaml

import repro
from repro.errors import ParamsError, RecordError
from repro.io.safe_text import printable_texts
from repro.records import Record
from repro.reports.gate import finding
from repro.reports.results import Results
from repro.reports.tables import protocol_text

NAMES = {
    "mIoU": "mIoU",
    "mIoU_ms_flip": "mIoU (multi-scale + flip)",
    "aAcc": "pixel accuracy",
    "mAcc": "mean accuracy",
}
_TYPES = {"mIoU": "mean_iou", "mIoU_ms_flip": "mean_iou", "aAcc": "overall_accuracy", "mAcc": "mean_accuracy"}
EEE_SCHEMA = "0.3.0"  # of evaleval/every_eval_ever, every_eval_ever/schemas/eval.schema.json


def model_index(results: Results, names: Sequence[str]) -> str:
    """The `model-index` block of a model card (Hugging Face's metadata) for measured experiments."""
    return _yaml({"model-index": [_index_entry(results, name) for name in names]})


def eval_results(results: Results, names: Sequence[str]) -> str:
    """A file for the folder `.eval_results` of a model repository: one entry for each experiment's mIoU.

    The data set's id is the project's name of it, and the task its split. Replace both where the data set on
    the Hub has other names.
    """
    return _yaml([_eval_result(results, name) for name in names])


def every_eval_ever(results: Results, names: Sequence[str]) -> str:
    """The results of one experiment in Every Eval Ever's schema. Raises ParamsError for several."""
    if len(names) != 1:
        what = f"a file of Every Eval Ever holds one experiment, not {len(names)}"
        raise ParamsError(what, hint="repro page export eee NAME")
    document = _every_eval_ever(results, names[0])
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _index_entry(results: Results, name: str) -> dict[str, Any]:
    record = results.records[name]
    data = {"type": record.dataset, "name": record.dataset, "split": record.split}
    result = {"task": {"type": "image-segmentation", "name": "Semantic segmentation"}, "dataset": data}
    metrics = [_index_metric(results, record, metric) for metric in NAMES if metric in record.metrics]
    return {"name": name, "results": [result | {"metrics": metrics}]}


def _index_metric(results: Results, record: Record, metric: str) -> dict[str, Any]:
    value = round(record.metrics[metric], 4)
    shown = {"type": _TYPES[metric], "value": value, "name": NAMES[metric], "verified": False}
    return shown | {"args": _interval(record, metric) | _protocol(results, record, metric)}


def _interval(record: Record, metric: str) -> dict[str, Any]:
    if metric not in record.intervals:
        return {}
    low, high = record.intervals[metric]
    return {"interval_low": low, "interval_high": high, "interval_kind": record.interval_kind}


def _protocol(results: Results, record: Record, metric: str) -> dict[str, Any]:
    words, tier = protocol_words(record, metric), finding(results, record.experiment).tier
    said = {"protocol": words, "protocol_hash": record.protocol_hash, "tier": tier}
    return {key: value for key, value in said.items() if value}


def protocol_words(record: Record, metric: str) -> str:
    """The protocol of a metric in words; of a multi-scale metric with its scales and flip."""
    second = record.protocol.get("ms_flip") if metric.endswith("_ms_flip") else None
    text = protocol_text(record)
    if not second:
        return text
    scales = " ".join(f"{scale:g}" for scale in second["scales"])
    return f"{text}; averaged over scales {scales}{' and mirror images' if second.get('flip') else ''}"


def _eval_result(results: Results, name: str) -> dict[str, Any]:
    record = results.records[name]
    if "mIoU" not in record.metrics:
        raise RecordError(f"{name} has no mIoU", hint="name experiments that were evaluated")
    interval = _interval(record, "mIoU")
    between = f"; {interval['interval_low']:.2f} to {interval['interval_high']:.2f}" if interval else ""
    how = f" ({interval['interval_kind']})" if interval else ""
    tier = finding(results, name).tier
    notes = f"mIoU in percent{between}{how}; {protocol_words(record, 'mIoU')}; {tier}"
    entry = {"dataset": {"id": record.dataset, "task_id": record.split}, "value": record.metrics["mIoU"]}
    at = record.provenance.get("at")
    return entry | ({"date": str(at)} if at else {}) | {"notes": notes}


def _every_eval_ever(results: Results, name: str) -> dict[str, Any]:
    record = results.records[name]
    at = _seconds(record)
    own = {"evaluation_timestamp": at} if at != "0" else {}
    return {
        "schema_version": EEE_SCHEMA,
        "evaluation_id": f"{record.dataset}/{name}/{at}",
        **own,
        "retrieved_timestamp": at,
        "source_metadata": {
            "source_name": "record of the result",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "third_party" if record.kind == "released" else "first_party",
        },
        "eval_library": {"name": "repro", "version": repro.__version__},
        "model_info": {
            "name": name,
            "id": f"repro/{name}",
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                **({"weights_sha256": record.model_sha256} if record.model_sha256 else {}),
            },
        },
        "evaluation_results": [_eee_result(results, record, m) for m in NAMES if m in record.metrics],
    }


def _seconds(record: Record) -> str:
    """When the record was made, in seconds since 1970; "0" where it does not say."""
    at = record.provenance.get("at")
    return str(int(datetime.fromisoformat(str(at)).timestamp())) if at else "0"


def _eee_result(results: Results, record: Record, metric: str) -> dict[str, Any]:
    data = {"split": record.split, "fingerprint": record.dataset_fingerprint}
    details = {key: str(value) for key, value in _protocol(results, record, metric).items()}
    return {
        "evaluation_name": f"{record.dataset} {record.split}: {NAMES[metric]}",
        "source_data": {"dataset_name": record.dataset, "source_type": "other", "additional_details": data},
        "metric_config": {
            "evaluation_description": f"{NAMES[metric]}; {protocol_words(record, metric)}",
            "metric_id": metric,
            "metric_name": NAMES[metric],
            "metric_unit": "percent",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0.0,
            "max_score": 100.0,
            "additional_details": details,
        },
        "score_details": {"score": record.metrics[metric], **_uncertainty(record, metric)},
    }


def _uncertainty(record: Record, metric: str) -> dict[str, Any]:
    if metric not in record.intervals:
        return {}
    low, high = record.intervals[metric]
    between = {"lower": low, "upper": high, "confidence_level": 0.95, "method": record.interval_kind}
    return {"uncertainty": {"confidence_interval": between, "num_samples": record.n_images}}


def _yaml(value: object) -> str:
    return yaml.safe_dump(printable_texts(value), sort_keys=False, allow_unicode=True, width=100)
