"""Evaluate the released weights of an external experiment and compare with the published row."""

from __future__ import annotations

from functools import partial
from typing import Any

from repro.datasets.prepare.prepared_split import Split
from repro.errors import ParamsError
from repro.evaluation import published_weights
from repro.params import ExternalExperiment, Project
from repro.params.protocol import protocol_hash
from repro.published import Row
from repro.stages.evaluate_program import evaluate_with_program, program_sha256
from repro.stages.lookup import open_split
from repro.stages.reporter import SILENT, Reporter
from repro.stages.verify import Verification, first_row, kept_metrics


def verify_program(
    project: Project, experiment: ExternalExperiment, *, fresh: bool = False, reporter: Reporter = SILENT
) -> Verification:
    """Predict with the released weights of `external.weights`, score the maps, and compare with the row.

    Results are cached by weights, program, protocol and data; `fresh` evaluates again.

    Raises:
        ParamsError: The experiment has no row to compare with, or no released weights.
        Others: as `evaluate_with_program`.
    """
    weights = experiment.external.weights
    if weights is None or experiment.external.train is not None:
        raise ParamsError(
            f"'{experiment.name}' has no released weights to verify",
            where=f"{experiment.folder}/params.yaml",
            allowed="an `external:` block with `weights:` and without `train:`",
            hint=f"`repro evaluate {experiment.name}` measures what was trained here",
        )
    row, split = first_row(project, experiment), open_split(project, experiment)
    metrics = _metrics(project, experiment, split, fresh=fresh, reporter=reporter)
    found = published_weights.check(metrics, row.metrics)
    return Verification(
        experiment=experiment.name,
        row=row.id,
        weights_sha256=weights.sha256,
        metrics=metrics,
        checked=found,
        verdict=published_weights.verdict(found),
        reasons=_reasons(experiment, row, split, metrics),
    )


def _metrics(
    project: Project, experiment: ExternalExperiment, split: Split, *, fresh: bool, reporter: Reporter
) -> dict[str, Any]:
    """metrics.json, from the cache or a new evaluation."""
    weights = experiment.external.weights
    made_from = {
        "weights": weights.sha256 if weights else "",
        "program": program_sha256(project, experiment),
        "protocol": protocol_hash(experiment.protocol, classes=split.classes),
        "fingerprint": split.fingerprint,
        "engine": experiment.engine.evaluation,
    }
    measure = partial(evaluate_with_program, project, experiment, reporter=reporter)
    return kept_metrics(project, made_from, measure, fresh=fresh)


def _reasons(experiment: ExternalExperiment, row: Row, split: Split, metrics: dict[str, Any]) -> list[str]:
    """Possible causes of a difference."""
    on = f"{experiment.dataset}/{experiment.evaluation.split}"
    return [
        f"protocol {metrics['protocol']}: {published_weights.describe(experiment.protocol)}",
        f"data {split.fingerprint[:16]}: {metrics['n_images']} images of {on}",
        f"  the row: evaluated on {row.eval_set or 'an unnamed set'}",
        f"program: {experiment.external.predict.command}",
        f"  the row: code {row.source or 'not stated'}",
        *(f"remark on {row.id}: {remark}" for remark in row.remarks),
    ]
