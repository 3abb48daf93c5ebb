"""Summarise a finished record in one line, and send it to MLflow."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from repro.io.redact import redact_text
from repro.params import Project
from repro.records import Record
from repro.records.build import why_undefined
from repro.stages.reporter import Say
from repro.tracking.mirror import is_wanted
from repro.tracking.sync import sync_record


def summary(made: Record) -> str:
    """One line with the measured value, the expected value and the verdict."""
    if made.kind == "cost":
        return f"{made.experiment}: {'; '.join(made.notes)}: {made.verdict}"
    value = made.metrics.get(made.primary)
    undefined = why_undefined(made.undefined, made.expectation)
    measured = undefined or "not measured" if value is None else f"{made.primary} {value:.2f}"
    low_high = made.intervals.get(made.primary)
    interval = f" ({low_high[0]:.2f} to {low_high[1]:.2f}, {made.interval_kind})" if low_high else ""
    wanted = made.expectation
    against = f", expected {wanted.value:.2f} ± {wanted.band:g}" if wanted else ", nothing to compare with"
    return f"{made.experiment}: {measured}{interval}{against}: {made.verdict}"


def facts(made: Record) -> dict[str, Any]:
    """The summary for JSON output; `seeds` is None if there is a single seed."""
    return {
        "experiment": made.experiment,
        "verdict": made.verdict,
        "metric": made.primary,
        "value": made.metrics.get(made.primary),
        "undefined": dict(made.undefined),
        "seeds": asdict(made.seeds) if made.seeds else None,
    }


def show_in_mlflow(project: Project, made: Record, note: Say) -> None:
    """Send one record to MLflow; errors are reported and do not affect the record."""
    if not is_wanted():
        return
    try:
        note(sync_record(project, made, uri=os.environ.get("MLFLOW_TRACKING_URI")))
    except Exception as error:  # the record is written: a tracker must not turn that into a failure
        text = redact_text(f"{type(error).__name__}: {error}").splitlines()[0][:200]
        note(f"MLflow was not reached ({text}); `repro sync` fills it later")
