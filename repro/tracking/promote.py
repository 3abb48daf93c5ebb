"""`repro weights promote`: the best model of a data set gets the alias `champion` in MLflow's registry."""

from __future__ import annotations

from repro.params import Project
from repro.records import Record
from repro.tracking.address import tracking_uri
from repro.tracking.registry import check_alias, note_champion, point, registered_name, require_weights
from repro.tracking.store import open_client, usable
from repro.tracking.sync import sync_record

CHAMPION = "champion"


def promote(project: Project, record: Record, *, alias: str = CHAMPION) -> str:
    """Point `alias` at the model of `record`, and note it in git; returns "<registered name> version N".

    Whether the result deserves it is the gate's to say: the command asks it before, for the verdict that a
    record holds may be older than its params and its other seeds. RecordError for a record without weights.
    """
    check_alias(alias)
    require_weights(record)
    uri, name = tracking_uri(project), registered_name(project, record.dataset)
    with usable(uri):
        sync_record(project, record)
        client = open_client(project, uri)
        point(client, project, uri, record, alias)
        note_champion(project, record, alias)
        return f"{name} version {client.get_model_version_by_alias(name, alias).version}"
