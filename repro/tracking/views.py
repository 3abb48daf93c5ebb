"""Addresses of the Results views in MLflow: the table of runs with measured beside published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from repro.io.redact import redact_uri
from repro.params import Project
from repro.tracking.address import is_database, tracking_uri
from repro.tracking.owner import tracking_params
from repro.tracking.record_view import VIEW_TAG, results_path


def results_pages(client: Any) -> Iterator[tuple[str, str]]:
    """Yield (name, path below MLflow's address) of the experiments of a store that have a Results view."""
    for experiment in client.search_experiments():
        if VIEW_TAG in experiment.tags:
            yield experiment.name, results_path(experiment.experiment_id)


def results_hint(client: Any, project: Project, dataset: str) -> str:
    """Where a result on `dataset` is shown: an address of the server, or the command that starts MLflow."""
    uri, found = (
        tracking_uri(project),
        client.get_experiment_by_name(tracking_params(project).prefix + dataset),
    )
    if found is None or is_database(uri):
        return "`repro ui` shows it in MLflow"
    return f"in MLflow: {redact_uri(uri).rstrip('/')}/{results_path(found.experiment_id)}"
