"""Compare metrics of released weights with their published row, and list possible causes of a difference."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repro.errors import ParamsError
from repro.params import TrainedExperiment
from repro.params.protocol import Protocol, Variant
from repro.published import Row
from repro.published.page import METRICS, TOLERANCE, page_value
from repro.published.sources import row_with_weights


@dataclass(frozen=True, kw_only=True)
class MetricCheck:
    """A published metric and its measured value, in percent."""

    metric: str
    published: float
    measured: float | None
    good: bool
    undefined: str = ""  # the reason, if the metric is 0/0


def released_row(experiment: TrainedExperiment, rows: Mapping[str, Row]) -> Row:
    """The first row of the experiment that links its own weights; ParamsError without one."""
    row = row_with_weights(experiment.rows, rows)
    if row is not None:
        return row
    where = f"{experiment.folder}/params.yaml"
    raise ParamsError(
        f"no published weights for '{experiment.name}'",
        where=where,
        allowed="an experiment with a row that links its own weights (`repro list --json` shows the rows)",
        hint="--weights FILE uses a local file",
    )


def check(metrics: Mapping[str, Any], published: Mapping[str, float]) -> tuple[MetricCheck, ...]:
    """Compare every published metric, using the page's formula where the protocol has one."""
    found = []
    for metric in METRICS:
        if metric in published:
            value = page_value(metrics, metric)
            good = value is not None and abs(value - published[metric]) <= TOLERANCE + 1e-9
            why = str(metrics.get("undefined", {}).get(metric, ""))
            found.append(
                MetricCheck(
                    metric=metric, published=published[metric], measured=value, good=good, undefined=why
                )
            )
    return tuple(found)


def line(one: MetricCheck) -> str:
    if one.undefined:
        return f"{one.metric}: published {one.published:.2f}, undefined here: {one.undefined}"
    if one.measured is None:
        return f"{one.metric}: published {one.published:.2f}, not measured under this protocol"
    difference = one.measured - one.published
    sign = "within" if one.good else "NOT within"
    return (
        f"{one.metric}: {one.measured:.2f}, published {one.published:.2f} "
        f"({difference:+z.2f}, {sign} ±{TOLERANCE})"
    )


def why_different(
    experiment: TrainedExperiment,
    row: Row,
    *,
    protocol_hash: str,
    fingerprint: str,
    n_images: int,
    official: int | None,
    packages: Mapping[str, str],
    device: str,
) -> list[str]:
    """Possible causes of a difference: our settings and those of the row."""
    split = experiment.evaluation.split
    whole = experiment.protocol.first or official
    return [
        f"protocol {protocol_hash}: {describe(experiment.protocol)}",
        f"data {fingerprint[:16]}: {n_images} images of {experiment.dataset}/{split}"
        + ("" if whole in (None, n_images) else f" (the full split has {whole})"),
        f"  the row: evaluated on {row.eval_set or 'an unnamed set'}",
        f"network: {experiment.model.summary}",
        f"  the row: {row.family} {row.backbone}, output stride {row.output_stride}",
        "versions: " + ", ".join(f"{name} {version}" for name, version in packages.items()),
        f"  the row: code {row.source or 'not stated'}, versions not stated",
        f"device: {device}; the row's is not stated",
        *(f"remark on {row.id}: {remark}" for remark in row.remarks),
    ]


def describe(protocol: Protocol) -> str:
    """The mode of a protocol, and its fields that differ from the default."""
    parts = [f"mode {protocol.mode}"]
    parts += [
        f"{field.name} {_plain(getattr(protocol, field.name))}"
        for field in dataclasses.fields(protocol)
        if field.name != "mode" and getattr(protocol, field.name) != field.default
    ]
    return ", ".join(parts)


def _plain(value: object) -> str:
    if isinstance(value, Variant):
        return f"at {_plain(value.scales)}" + " and mirrored" * value.flip
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def verdict(found: Sequence[MetricCheck]) -> str:
    """reproduced, differs or unmeasured; an undefined metric differs from any number."""
    measured = [one for one in found if one.measured is not None or one.undefined]
    if not measured:
        return "unmeasured"
    return "reproduced" if all(one.good for one in measured) else "differs"
