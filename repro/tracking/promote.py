"""`repro promote`: the best model of a data set gets the alias `champion` in MLflow's registry.

A registered model `deeplab-<dataset>`, a version for each promoted run, the weights themselves in DVC.
"""

from __future__ import annotations

from typing import Any

from repro.errors import CheckFailed
from repro.params import Project
from repro.records import PASSING, Record
from repro.tracking.feed import ensure_experiment, find_runs
from repro.tracking.send import ensure_model
from repro.tracking.shown import note_of
from repro.tracking.store import open_client, tracking_uri
from repro.tracking.sync import sync_record

CHAMPION = "champion"


def registered_name(dataset: str) -> str:
    return f"deeplab-{dataset}"


def promote(project: Project, record: Record, *, alias: str = CHAMPION, force: bool = False) -> str:
    """Point `alias` at the model of `record`; returns "<registered name> version N".

    Refuses a result that did not reach its reference (CheckFailed) unless `force`.
    """
    if record.verdict not in PASSING and not force:
        allowed = f"verdict {' or '.join(sorted(PASSING))}, or --force"
        raise CheckFailed(f"{record.experiment} is '{record.verdict}'", allowed=allowed)
    sync_record(project, record)
    uri = tracking_uri(project)
    client = open_client(project, uri)
    experiment_id = ensure_experiment(client, project, uri, record.dataset)
    run_id = find_runs(client, experiment_id, record.run_key, record.experiment)[0].info.run_id
    model_id = ensure_model(client, experiment_id, run_id, record)
    name = registered_name(record.dataset)
    version = ensure_version(client, name, run_id, model_id, record)
    client.set_registered_model_alias(name, alias, version)
    return f"{name} version {version}"


def ensure_version(client: Any, name: str, run_id: str, model_id: str, record: Record) -> str:
    """The version of a run, made once."""
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=f"DeepLab on {record.dataset}; weights are in DVC")
    for found in client.search_model_versions(f"name = '{name}'"):
        if found.run_id == run_id:
            return str(found.version)
    # The version's own model_id comes back empty from MLflow 3.17's database, so it is a tag too.
    tags = {"experiment": record.experiment, "model_sha256": record.model_sha256 or "", "model_id": model_id}
    made = client.create_model_version(
        name,
        source=client.get_logged_model(model_id).artifact_location,
        run_id=run_id,
        tags=tags,
        description=note_of(record),
        model_id=model_id,
    )
    return str(made.version)
