"""Send a record to MLflow: metrics, params, tags, data set, files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from repro.errors import StorageError
from repro.io.redact import redact_uri
from repro.judgement import Judgement
from repro.params import Project
from repro.records import Record, sha256_text
from repro.records.network import described_network
from repro.tracking.owner import Owner, owner_of
from repro.tracking.record_view import (
    classes_figure,
    confusion_figure,
    curve_of,
    files_of,
    metrics_of,
    tags_of,
    texts_of,
)
from repro.tracking.run_info import Run, RunState, read_state, shown_params
from repro.tracking.run_writer import (
    cut,
    drop_run,
    ensure_experiment,
    ensure_run,
    find_runs,
    log_dataset,
    log_params,
    log_points,
    retire,
    send_journal,
    set_tags,
)
from repro.tracking.tags import IN_GIT, JOURNAL, JUDGEMENT, KEY, NOTE_TAG, PROJECT, RECORD, RETIRED, SENDING

LONGEST_MODEL_PARAM = 250
SENDING_SECONDS = 600.0  # after which the other clone is considered dead
# Scheme of an artifact store -> (module that MLflow 3.17 imports for it, package that provides it).
LIBRARIES = {
    "s3": ("boto3", "boto3"),
    "r2": ("boto3", "boto3"),
    "b2": ("boto3", "boto3"),
    "gs": ("google.cloud.storage", "google-cloud-storage"),
    "wasbs": ("azure.storage.blob", "azure-storage-blob azure-identity"),
    "abfss": ("azure.storage.filedatalake", "azure-storage-file-datalake azure-identity"),
    "sftp": ("pysftp", "pysftp"),
    "hdfs": ("pyarrow", "pyarrow"),
    "viewfs": ("pyarrow", "pyarrow"),
}


def journals(project: Project) -> list[RunState]:
    """Readable journals of all work folders."""
    found = (read_state(path) for path in sorted(project.work.glob("*/journal.jsonl")))
    return [state for state in found if state is not None]


def finished(states: Iterable[RunState]) -> dict[tuple[str, str], RunState]:
    """(run key, experiment) -> journal, of finished trainings."""
    return {(one.run.run_key, one.run.name): one for one in states if one.status == "FINISHED"}


def send_record(
    client: Any, project: Project, uri: str, record: Record, judged: Judgement, journal: RunState | None
) -> str:
    """Send metrics, params, tags, data set and files of a record; the tag that marks it complete is last.

    A run that shows another record is replaced by a new one, because MLflow keeps old values of metrics.

    Args:
        client: MLflow client of the store at `uri`.
        project: the project.
        uri: address of the store.
        record: the record.
        judged: its current verdict.
        journal: journal of its training, if there is a local one; else the committed curve is sent.

    Returns:
        The run's id, "" if another clone is sending the same record.
    """
    at, began, owner = measured_at(record), began_at(record), owner_of(project)
    run = Run(name=record.experiment, dataset=record.dataset, run_key=record.run_key)
    experiment_id = ensure_experiment(client, project, uri, record.dataset)
    require_client(client, experiment_id)
    before = [
        one.info.run_id
        for one in find_runs(client, owner, experiment_id, run.run_key, run.name)
        if one.data.tags.get(RECORD)
    ]
    for run_id in before:
        retire(client, run_id)
    if before and journal:
        run_id = send_journal(client, project, uri, journal).run_id
    else:
        sending = {SENDING: f"{record.content_hash} {time.time():.0f}"}
        run_id = ensure_run(client, owner, experiment_id, run, began, tags=sending)
    found = client.get_run(run_id)
    if is_sent_by_another_clone(client, owner, found, record):
        client.delete_run(run_id)
        return ""
    model_id = ensure_model(client, experiment_id, run_id, record) if record.model_sha256 else None
    send_numbers(client, record, run_id, found, at, model_id)
    set_tags(client, run_id, tags_of(record, judged, project.published))
    send_judgement(client, found, project, record, judged)
    if journal is None and "train/loss" not in found.data.metrics:
        # The curve in git has no times; one millisecond per step keeps the order.
        curve = {(name, step): (value, at + step) for name, step, value in curve_of(project, record)}
        log_points(client, run_id, curve)
    if found.info.status == "RUNNING" and JOURNAL not in found.data.tags:
        client.set_terminated(run_id, status="FINISHED", end_time=at)  # even if sending its files fails
    send_files(client, project, record, run_id)
    set_tags(client, run_id, {RECORD: record.content_hash, IN_GIT: "yes"})
    for one in before:
        drop_run(client, one)
    return run_id


def is_sent_by_another_clone(client: Any, owner: Owner, run: Any, record: Record) -> bool:
    """Whether another clone is sending the same record and has the smaller run id, whose run is kept."""
    wanted = f"tags.`{SENDING}` LIKE '{record.content_hash} %' and tags.`{PROJECT}` = '{owner.project}'"
    if SENDING not in run.data.tags:
        return False
    for other in client.search_runs([run.info.experiment_id], wanted):
        began = float(other.data.tags[SENDING].split()[1])
        fresh = RECORD in other.data.tags or abs(time.time() - began) < SENDING_SECONDS
        if other.info.run_id < run.info.run_id and fresh and RETIRED not in other.data.tags:
            return True
    return False


def require_client(client: Any, experiment_id: str) -> None:
    """Raise StorageError if the library for an experiment's artifact store is not installed."""
    place = str(client.get_experiment(experiment_id).artifact_location)
    module, package = LIBRARIES.get(place.partition(":")[0], ("", ""))
    if module and not _is_installed(module):
        what = f"MLflow's artifact store needs `{package}`, which is not installed"
        hint = f"pip install {package}, then rerun"
        raise StorageError(what, where=redact_uri(place), hint=hint)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False


def ensure_model(client: Any, experiment_id: str, run_id: str, record: Record) -> str:
    """Id of the logged model of a run; the weights are stored by DVC, not MLflow."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    wanted = f"source_run_id = '{run_id}'"
    found = client.search_logged_models(experiment_ids=[experiment_id], filter_string=wanted, max_results=1)
    if found:
        return str(found[0].model_id)
    tags = {"where": f"experiments/{record.experiment}", KEY: record.run_key}
    tags |= {"model_sha256": record.model_sha256} if record.model_sha256 else {}
    model = client.create_logged_model(
        experiment_id,
        name=record.experiment,
        source_run_id=run_id,
        tags=tags | {"mlflow.model.isExternal": "true"},
        params={name: cut(value, LONGEST_MODEL_PARAM) for name, value in shown_params(record.params).items()},
        model_type=str(described_network(record.params)["family"] or ""),
    )
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])  # linked on the run's page
    return str(model.model_id)


def send_judgement(client: Any, run: Any, project: Project, record: Record, judged: Judgement) -> bool:
    """Update verdict and note of a run if the judgement has changed; returns whether it has.

    A digest is compared, so a note edited in MLflow is kept until the judgement changes.
    """
    tags = tags_of(record, judged, project.published)
    shown = {name: tags[name] for name in ("verdict", NOTE_TAG)}
    digest = sha256_text(repr(shown))[:16]
    if run.data.tags.get(JUDGEMENT) == digest:
        return False
    set_tags(client, run.info.run_id, shown | {JUDGEMENT: digest})
    return True


def send_numbers(client: Any, record: Record, run_id: str, found: Any, at: int, model_id: str | None) -> None:
    """Send params, metrics and data set."""
    params = {k: v for k, v in shown_params(record.params).items() if k not in found.data.params}
    log_params(client, run_id, params)
    missing = {k: v for k, v in metrics_of(record).items() if found.data.metrics.get(k) != v}
    log_points(client, run_id, {(name, 0): (value, at) for name, value in missing.items()}, model_id=model_id)
    wanted = (f"{record.dataset}/{record.split}", record.dataset_fingerprint[:36])
    if wanted not in [(i.dataset.name, i.dataset.digest) for i in found.inputs.dataset_inputs]:
        log_dataset(client, run_id, record.dataset, record.split, record.dataset_fingerprint, "evaluation")


def send_files(client: Any, project: Project, record: Record, run_id: str) -> None:
    """Send artifacts in one call, including images of the classes and the confusion matrix."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in texts_of(record).items():
            (folder / file).write_text(text, encoding="utf-8")
        for path, under in files_of(project, record):
            (folder / under).mkdir(exist_ok=True)
            (folder / under / path.name).symlink_to(path)
        table = project.experiment_folder(record.experiment) / "confusion.csv"
        if table.is_file():
            confusion_figure(table, record.per_class).savefig(folder / "confusion.png", dpi=120)
        if record.per_class:
            classes_figure(record.per_class).savefig(folder / "per_class.png", dpi=120)
        client.log_artifacts(run_id, str(folder))


def measured_at(record: Record) -> int:
    """Time of the measurement in milliseconds since 1970."""
    return _milliseconds(record.provenance)


def began_at(record: Record) -> int:
    """Start of the training in milliseconds since 1970."""
    return _milliseconds(record.provenance.get("training") or record.provenance)


def _milliseconds(provenance: Mapping[str, Any]) -> int:
    text = str(provenance.get("at", "1970-01-01T00:00:00Z"))
    return round(datetime.fromisoformat(text).timestamp() * 1000)
