"""Results as a data frame: a row per result, published and measured, numbers as numbers, addresses whole.

The one tabular form behind `repro list`, its filters and queries, the data formats of `repro table`, the
exports and reports/results.csv. A result is a published row with an experiment that stands for it; rows that
none stands for and experiments of one's own have a line each. docs/json.md describes the columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from repro.params.experiment import merge
from repro.published import Row
from repro.published.page import QUIRK
from repro.records import Record
from repro.records.network import NETWORK, described_network
from repro.records.tier import PUBLISHED_ONLY
from repro.reports.columns import COUNT, NUMBER, TEXT, typed
from repro.reports.costs import compared, cost_of
from repro.reports.formatting import device_text, size_text
from repro.reports.gate import Finding, finding
from repro.reports.links import measured_links

if TYPE_CHECKING:
    from pandas import DataFrame

    from repro.reports.results import Results

COST = {
    **{key: key for key in ("gmacs_conv", "gmacs_thop", "latency_ms_p50", "latency_ms_p95", "images_per_s")},
    "params_m": "params_M",
    "peak_memory_mib": "peak_memory_MiB",
}
ACCURACIES = {"pixel_accuracy": "aAcc", "mean_accuracy": "mAcc", "fw_iou": "fwIoU"}
PRINTED = {  # of a row's cost, by column
    "published_params_m": "params_M",
    "published_size_mb": "size_MB",
    "published_gmacs": "gmacs",
    "published_time_ms": "time_ms",
    "published_fps": "fps",
    "published_memory_gb": "mem_GB",
}
VERDICTS = {"params_verdict": "params_M", "size_verdict": "size_MB", "flops_verdict": "gmacs"}
_PUBLISHED_LINKS = {"published_config_url": "config", "published_weights_url": "model"}
_TYPES = {
    TEXT: (
        *("row", "page", "experiment", "dataset", "published_dataset", "family", "backbone", "label"),
        *("recipe", "interval_kind", "verdict", "tier", "reason", "metric", "undefined", "kind"),
        *("split", "protocol"),
        *("dataset_fingerprint", "input_size", "device", "model_sha256", "run_key", "git_commit"),
        *("measured_at", "config_path", "log_path", "weights_url", *_PUBLISHED_LINKS),
        *("published_device", "published_weights_state", "published_weights_of", *VERDICTS),
    ),
    COUNT: ("output_stride", "n_images", "latency_runs"),
}
_KINDS = {name: kind for kind, names in _TYPES.items() for name in names}
ORDER = (
    *("row", "page", "experiment", "dataset", "published_dataset", "family", "backbone", "output_stride"),
    *("label", "recipe", "published", "measured", "gap", "interval_low", "interval_high", "interval_kind"),
    *("verdict", "tier", "reason", "metric", "reference", "band", "undefined"),
    *("published_ms_flip", "measured_ms_flip", "measured_as_published", *ACCURACIES),
    *("kind", "split", "n_images", "protocol", "dataset_fingerprint"),
    *(f"published_{name}" for name in ACCURACIES),
    *(*PRINTED, "published_device", *VERDICTS, *COST, "gflops", "input_size", "latency_runs", "device"),
    *("model_sha256", "run_key", "git_commit", "measured_at"),
    *("config_path", "log_path", "weights_url", *_PUBLISHED_LINKS),
    *("published_weights_state", "published_weights_of"),
)
COLUMNS: Mapping[str, str] = {name: _KINDS.get(name, NUMBER) for name in ORDER}


NOT_RUN = {"verdict": "unmeasured", "tier": PUBLISHED_ONLY}  # a row that no experiment stands for


def results_frame(results: Results) -> DataFrame:
    """Every published row in page order, then every experiment that stands for none, with COLUMNS.

    What is not known is missing: NaN in a column of numbers, None in one of texts.
    """
    return typed(result_lines(results), COLUMNS)


def result_lines(results: Results) -> Iterator[dict[str, Any]]:
    """What the frame is made of."""
    known = {name: of_experiment(results, name) for name in results.names()}
    results.cache.save()
    claims = {name: claimed(results, name) for name in known}
    standing: dict[str, list[str]] = {}
    for name, row_ids in claims.items():
        for row_id in row_ids:
            standing.setdefault(row_id, []).append(name)
    for row in results.published.rows.values():
        first = results.by_row.get(row.id, "")
        names = sorted(standing.get(row.id, [""]), key=lambda name: (name != first, name))
        more = of_printed(results, row)
        yield from (beside(known.get(name, NOT_RUN), row) | more for name in names)
    yield from (beside(known[name]) for name in known if not claims[name])


def claimed(results: Results, name: str) -> list[str]:
    """The published rows of an experiment: those in its params.yaml, or else in its record."""
    claim = results.claims.get(name)
    found = (claim.declared if claim.declared is not None else claim.recorded) if claim else ()
    return [row_id for row_id in dict.fromkeys(found or ()) if row_id in results.published.rows]


def beside(ours: Mapping[str, Any], row: Row | None = None) -> dict[str, Any]:
    """What is known of an experiment beside what a page prints of one of its rows."""
    line = {**ours, **(_of_row(row, ours) if row else {})}
    return line | {"gap": _gap(line)}


def _gap(line: Mapping[str, Any]) -> float | None:
    """Measured minus published mIoU; of an experiment of one's own, minus the mIoU that it expects."""
    own = line.get("reference") if "row" not in line and line.get("metric") == "mIoU" else None
    expected, measured = line.get("published", own), line.get("measured")
    return None if expected is None or measured is None else round(measured - expected, 4)


def of_printed(results: Results, row: Row) -> dict[str, Any]:
    """Verdicts on the costs that a row prints, and the state of its link to weights."""
    verdicts = {one.name: one.verdict for one in compared(results, row)}
    state = results.link_states.get(row.links.get("model", ""))
    return {key: verdicts.get(name) for key, name in VERDICTS.items()} | {"published_weights_state": state}


def _of_row(row: Row, ours: Mapping[str, Any]) -> dict[str, Any]:
    """What a page prints of a row."""
    described = {"backbone": row.backbone, "output_stride": row.output_stride, "dataset": row.dataset}
    return {
        **{key: ours.get(key) or value for key, value in described.items()},
        "row": row.id,
        "page": row.page,
        "published_dataset": row.dataset,
        "family": row.family or ours.get("family"),
        "label": row.label,
        "published": row.metrics.get("mIoU"),
        "published_ms_flip": row.metrics.get("mIoU_ms_flip"),
        **{f"published_{key}": row.metrics.get(name) for key, name in ACCURACIES.items()},
        **{key: row.cost.get(name) for key, name in PRINTED.items()},
        "published_device": row.device,
        "published_weights_of": row.weights_of,
        **{key: row.links.get(role) for key, role in _PUBLISHED_LINKS.items()},
    }


def of_experiment(results: Results, name: str) -> dict[str, Any]:
    """What is known here of an experiment."""
    return results.kept("line", name, lambda: _of_experiment(results, name))


def _of_experiment(results: Results, name: str) -> dict[str, Any]:
    declared, record = results.experiments.get(name), results.records.get(name)
    recorded = {key: _mapping(record.params.get(key) if record else {}) for key in NETWORK}
    params = merge(recorded, declared.network if declared else {})
    links = measured_links(results.project, name)
    return {
        "experiment": name,
        "dataset": results.dataset(name),
        **described_network(params),
        **({"label": declared.note, "recipe": declared.recipe} if declared else {}),
        **(_measured(record) if record else {}),
        **_cost(cost_of(results, name)),
        **_judged(finding(results, name)),
        "undefined_miou": record.undefined.get("mIoU") if record else None,
        "config_path": links.get("config"),
        "log_path": links.get("log"),
        "weights_url": links.get("model"),
    }


def _judged(found: Finding) -> dict[str, Any]:
    keys = ("verdict", "tier", "reason", "metric", "reference", "band")
    return {key: getattr(found, key) for key in keys}


def _measured(record: Record) -> dict[str, Any]:
    """What a record holds."""
    low, high = record.intervals.get("mIoU", (None, None))
    git = record.provenance.get("git") or {}
    return {
        "measured": record.metrics.get("mIoU"),
        "measured_ms_flip": record.metrics.get("mIoU_ms_flip"),
        "measured_as_published": record.metrics.get("mIoU" + QUIRK),
        **{key: record.metrics.get(metric) for key, metric in ACCURACIES.items()},
        "interval_low": low,
        "interval_high": high,
        "interval_kind": None if low is None else record.interval_kind,
        "undefined": "; ".join(f"{name}: {why}" for name, why in record.undefined.items()) or None,
        **{key: getattr(record, key) for key in ("kind", "split", "n_images", "dataset_fingerprint")},
        "protocol": record.protocol_hash,
        "model_sha256": record.model_sha256,
        "run_key": record.run_key,
        "git_commit": git.get("commit"),
        "measured_at": record.provenance.get("at"),
    }


def _cost(cost: Mapping[str, Any]) -> dict[str, Any]:
    """Cost of the network, counted and measured; `device` is what speed and memory were measured on."""
    size, macs = cost.get("input_size"), cost.get("gmacs_conv")
    return {
        **{key: cost.get(theirs) for key, theirs in COST.items()},
        "gflops": None if macs is None else round(2 * macs, 6),
        "input_size": size_text(size) if size else None,
        "latency_runs": cost.get("runs"),
        "device": device_text(cost),
    }


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
