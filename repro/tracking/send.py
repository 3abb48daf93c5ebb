"""One record into MLflow: numbers, params, tags, data set, files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from repro.params import Project
from repro.records import Record
from repro.tracking.feed import (
    JOURNAL,
    RECORD,
    cut,
    drop_run,
    ensure_experiment,
    ensure_run,
    log_dataset,
    log_params,
    log_points,
    send_journal,
    set_tags,
)
from repro.tracking.run import Run, shown_params
from repro.tracking.shown import (
    confusion_figure,
    curve_of,
    files_of,
    metrics_of,
    tags_of,
    texts_of,
)
from repro.tracking.state import RunState, read_state
from repro.tracking.store import KEY

LONGEST_MODEL_PARAM = 250


def journals(project: Project) -> list[RunState]:
    """Journals of all work folders that say what they are."""
    found = (read_state(path) for path in sorted(project.work.glob("*/journal.jsonl")))
    return [state for state in found if state is not None]


def finished(states: Iterable[RunState]) -> dict[tuple[str, str], RunState]:
    """(run key, experiment) -> the journal of a training that came to its end."""
    return {(one.run.run_key, one.run.name): one for one in states if one.status == "FINISHED"}


def send_record(client: Any, project: Project, uri: str, record: Record, told: RunState | None) -> str:
    """Metrics, params, tags, data set and files of a record; the mark that it is complete comes last.

    `told` is the journal of its training, where it lies here: what it says is not taken from the committed
    curve. A run that shows another record already is made anew, because MLflow keeps old values of a metric.
    """
    at, began = measured_at(record), began_at(record)
    run = Run(name=record.experiment, dataset=record.dataset, run_key=record.run_key)
    experiment_id = ensure_experiment(client, project, uri, record.dataset)
    run_id = ensure_run(client, experiment_id, run, began)
    found = client.get_run(run_id)
    if found.data.tags.get(RECORD):
        drop_run(client, run_id)
        run_id = (
            send_journal(client, project, uri, told).run_id
            if told
            else ensure_run(client, experiment_id, run, began)
        )
        found = client.get_run(run_id)
    model_id = ensure_model(client, experiment_id, run_id, record)
    send_numbers(client, record, run_id, found, at, model_id)
    if told is None and "train/loss" not in found.data.metrics:
        # The curve in git has no times: a millisecond a step keeps the order.
        curve = {(name, step): (value, at + step) for name, step, value in curve_of(project, record)}
        log_points(client, run_id, curve)
    send_files(client, project, record, run_id)
    if found.info.status == "RUNNING" and JOURNAL not in found.data.tags:
        client.set_terminated(run_id, status="FINISHED", end_time=at)
    set_tags(client, run_id, {RECORD: record.content_hash})
    return run_id


def ensure_model(client: Any, experiment_id: str, run_id: str, record: Record) -> str:
    """Id of the model entity of a run: one for the weights, which themselves stay in DVC."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    wanted = f"source_run_id = '{run_id}'"
    found = client.search_logged_models(experiment_ids=[experiment_id], filter_string=wanted, max_results=1)
    if found:
        return str(found[0].model_id)
    tags = {
        "model_sha256": record.model_sha256 or "",
        "where": f"experiments/{record.experiment}",
        KEY: record.run_key,
    }
    model = client.create_logged_model(
        experiment_id,
        name=record.experiment,
        source_run_id=run_id,
        tags=tags | {"mlflow.model.isExternal": "true"},
        params={name: cut(value, LONGEST_MODEL_PARAM) for name, value in shown_params(record.params).items()},
        model_type=str(record.params.get("model", {}).get("family", "")),
    )
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])  # the run's page links to it
    return str(model.model_id)


def send_numbers(client: Any, record: Record, run_id: str, found: Any, at: int, model_id: str) -> None:
    """Params, tags, metrics and data set."""
    params = {k: v for k, v in shown_params(record.params).items() if k not in found.data.params}
    log_params(client, run_id, params)
    set_tags(client, run_id, tags_of(record))
    missing = {k: v for k, v in metrics_of(record).items() if found.data.metrics.get(k) != v}
    log_points(client, run_id, {(name, 0): (value, at) for name, value in missing.items()}, model_id=model_id)
    wanted = (f"{record.dataset}/{record.split}", record.dataset_fingerprint[:36])
    if wanted not in [(i.dataset.name, i.dataset.digest) for i in found.inputs.dataset_inputs]:
        log_dataset(client, run_id, record.dataset, record.split, record.dataset_fingerprint, "evaluation")


def send_files(client: Any, project: Project, record: Record, run_id: str) -> None:
    """Artifacts, in two calls instead of one a file, and the confusion matrix as a picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in texts_of(record).items():
            (folder / file).write_text(text, encoding="utf-8")
        for path, under in files_of(project, record):
            (folder / under).mkdir(exist_ok=True)
            (folder / under / path.name).symlink_to(path)
        table = project.experiments / record.experiment / "confusion.csv"
        if table.is_file():
            confusion_figure(table, record.per_class).savefig(folder / "confusion.png", dpi=120)
        client.log_artifacts(run_id, str(folder))


def measured_at(record: Record) -> int:
    """When the record was made, in milliseconds since 1970."""
    return _milliseconds(record.provenance)


def began_at(record: Record) -> int:
    """When its training began, so that MLflow's duration is that of the work."""
    return _milliseconds(record.provenance.get("training") or record.provenance)


def _milliseconds(provenance: Mapping[str, Any]) -> int:
    text = str(provenance.get("at", "1970-01-01T00:00:00Z"))
    return round(datetime.fromisoformat(text).timestamp() * 1000)
