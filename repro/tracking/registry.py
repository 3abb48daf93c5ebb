"""Synchronise aliases in MLflow's model registry with reports/champions.yaml.

There is one registered model `deeplab-<dataset>` per data set with one version per promoted run; DVC stores
the weights. An alias is a decision, so it is kept in git, and every store is updated from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from repro.errors import ParamsError, RecordError
from repro.io.names import is_plain_name
from repro.judgement.checks import SHA256
from repro.params import Project, read_yaml
from repro.records import Record, locked, write_text
from repro.tracking.address import sqlite_path
from repro.tracking.owned_runs import known_runs
from repro.tracking.owner import owner_of, tracking_params
from repro.tracking.record_upload import ensure_model
from repro.tracking.run_writer import ensure_experiment
from repro.tracking.store import pages
from repro.tracking.tags import NOTE_TAG, OWN, OWNER, RECORD

HEADING = "# Aliases of models, one per data set: written by `repro weights promote`, read by `repro sync`.\n"
LOCK_SECONDS = 60.0


def champions_file(project: Project) -> Path:
    return project.root / "reports" / "champions.yaml"


def champions(project: Project) -> dict[str, dict[str, str]]:
    """Data set -> alias -> experiment; ParamsError if the file is invalid."""
    path = champions_file(project)
    found = read_yaml(path) if path.is_file() and _has_content(path) else {}
    for dataset, aliases in found.items():
        if not isinstance(aliases, Mapping) or not all(map(is_plain_name, [dataset, *aliases.values()])):
            allowed = "DATASET: {ALIAS: EXPERIMENT}"
            raise ParamsError(f"invalid entry '{dataset}'", where=path, allowed=allowed)
    return found


def _has_content(path: Path) -> bool:
    """Whether a YAML file has more than comments; an empty file is valid."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def note_champion(project: Project, record: Record, alias: str) -> None:
    """Write to champions.yaml that `alias` of the record's data set is the record's experiment."""
    lock = project.root / ".repro" / "champions.lock"
    with locked(lock, "champions.yaml is being written", timeout=LOCK_SECONDS):
        noted = champions(project)
        noted[record.dataset] = noted.get(record.dataset, {}) | {alias: record.experiment}
        write_text(champions_file(project), HEADING + yaml.safe_dump(noted, sort_keys=True))


def check_alias(alias: str) -> None:
    """Raise ParamsError for an alias that MLflow's registry refuses."""
    if not re.fullmatch(r"[\w-]{1,255}", alias) or re.fullmatch(r"(?i)latest|v\d+", alias):
        allowed = "letters, digits, - and _; not 'latest', not v1, v2, ..."
        raise ParamsError(f"invalid alias '{alias}'", allowed=allowed)


def require_weights(record: Record) -> None:
    """Raise RecordError unless the record contains the sha256 of its weights."""
    if not SHA256.fullmatch(record.model_sha256 or ""):
        what, allowed = "the record has no weights to promote", "a trained network, with its model_sha256"
        raise RecordError(what, where=record.experiment, allowed=allowed)


class Champion(NamedTuple):
    """An entry of champions.yaml."""

    dataset: str
    alias: str
    experiment: str


def champion_entries(project: Project) -> list[Champion]:
    """All entries of champions.yaml."""
    return [Champion(dataset, *one) for dataset, found in champions(project).items() for one in found.items()]


def sync_alias(client: Any, project: Project, uri: str, entry: Champion, records: Sequence[Record]) -> bool:
    """Set the alias of an entry in MLflow; ParamsError if its experiment has no record."""
    for record in records:
        if (record.dataset, record.experiment) == (entry.dataset, entry.experiment):
            return point(client, project, uri, record, entry.alias)
    raise ParamsError(
        f"{entry.alias} of {entry.dataset} is '{entry.experiment}', which has no record",
        where=champions_file(project),
        hint="`repro weights promote` an experiment with a record, or delete the entry",
    )


def registered_name(project: Project, dataset: str) -> str:
    return f"{tracking_params(project).prefix}deeplab-{dataset}".replace(
        "/", "-"
    )  # MLflow does not allow slashes


def point(client: Any, project: Project, uri: str, record: Record, alias: str) -> bool:
    """Set `alias` to the model of the record's run; returns False if it is set already.

    Raises:
        RecordError: the record has no weights.
        ParamsError: the alias belongs to another project, or the record is not in MLflow.
    """
    require_weights(record)
    experiment_id = ensure_experiment(client, project, uri, record.dataset)
    run = _run_of(client, project, uri, experiment_id, record)
    model_id = ensure_model(client, experiment_id, run.info.run_id, record)
    name, owner = registered_name(project, record.dataset), owner_of(project).project
    version = ensure_version(client, name, run.info.run_id, model_id, record)
    (model,) = client.search_registered_models(f"name = '{name}'")
    theirs = model.tags.get(OWNER + alias, owner)
    if theirs != owner:
        raise ParamsError(
            f"'{alias}' of {name} in MLflow belongs to the project '{theirs}'",
            hint="set tracking.prefix in params.yaml to give this project's models other names",
        )
    if str(model.aliases.get(alias)) == version and OWN + alias in model.tags:
        return False
    client.set_registered_model_tag(name, OWN + alias, record.experiment)
    client.set_registered_model_tag(name, OWNER + alias, owner)
    client.set_registered_model_alias(name, alias, version)
    return True


def _run_of(client: Any, project: Project, uri: str, experiment_id: str, record: Record) -> Any:
    """The run that shows the record, of any clone, or else another run of the same training."""
    identity = (record.run_key, record.experiment)
    same = [
        run
        for run in known_runs(client, project, uri).of(identity)
        if run.info.experiment_id == experiment_id
    ]
    same.sort(key=lambda run: (run.data.tags.get(RECORD) != record.content_hash, run.info.run_id))
    if not same:
        raise ParamsError(f"the record of '{record.experiment}' is not in MLflow", hint="`repro sync`")
    return same[0]


def drop_aliases(client: Any, project: Project, uri: str, entries: Sequence[Champion]) -> None:
    """Remove aliases of this project that are not in champions.yaml; other aliases are kept."""
    kept = {(registered_name(project, one.dataset), one.alias) for one in entries}
    own = owner_of(project).project
    local = sqlite_path(uri) == project.root / "mlflow.db"  # aliases without an owner are ours there
    for model in list(pages(client.search_registered_models)):
        for alias in (tag.removeprefix(OWN) for tag in model.tags if tag.startswith(OWN)):
            ours = model.tags.get(OWNER + alias, own if local else "") == own
            if ours and (model.name, alias) not in kept:
                client.delete_registered_model_alias(model.name, alias)
                for tag in {OWN + alias, OWNER + alias} & model.tags.keys():
                    client.delete_registered_model_tag(model.name, tag)


def ensure_version(client: Any, name: str, run_id: str, model_id: str, record: Record) -> str:
    """Model version of a run, created if needed; its description is the run's note."""
    note = str(client.get_run(run_id).data.tags.get(NOTE_TAG, ""))
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=f"Networks on {record.dataset}; weights are in DVC")
    for found in client.search_model_versions(f"name = '{name}'"):
        if found.run_id == run_id:
            if found.description != note:
                client.update_model_version(name, found.version, note)
            return str(found.version)
    # MLflow 3.17's database returns versions without model_id, so it is a tag, too.
    tags = {"experiment": record.experiment, "model_sha256": str(record.model_sha256), "model_id": model_id}
    made = client.create_model_version(
        name,
        source=client.get_logged_model(model_id).artifact_location,
        run_id=run_id,
        tags=tags,
        description=note,
        model_id=model_id,
    )
    return str(made.version)
