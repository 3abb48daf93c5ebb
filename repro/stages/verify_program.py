"""Evaluate the released weights of an external experiment and compare with the published row."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Any

from repro.datasets.prepare.prepared_split import Split
from repro.errors import ParamsError
from repro.evaluation import published_weights
from repro.params import ExternalExperiment, Project
from repro.published import Row
from repro.stages.evaluate_program import evaluate_with_program
from repro.stages.lookup import open_split
from repro.stages.reporter import SILENT, Reporter
from repro.stages.verify import Verification, first_row
from repro.stages.verify_inputs import kept_metrics, program_inputs


def verify_program(
    project: Project, experiment: ExternalExperiment, *, max_age: float = inf, reporter: Reporter = SILENT
) -> Verification:
    """Predict with the released weights of `external.weights`, score the maps, and compare with the row.

    Results are cached by weights, program, protocol, data and versions; one that is older than `max_age`
    seconds is evaluated again.

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
    inputs = program_inputs(project, experiment, split)
    measure = partial(evaluate_with_program, project, experiment, reporter=reporter)
    metrics, at = kept_metrics(project, inputs, measure, max_age=max_age)
    found = published_weights.check(metrics, row.metrics)
    return Verification(
        experiment=experiment.name,
        row=row.id,
        weights_sha256=weights.sha256,
        at=at,
        inputs=inputs,
        metrics=metrics,
        checked=found,
        verdict=published_weights.verdict(found),
        reasons=_reasons(experiment, row, split, metrics),
    )


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
