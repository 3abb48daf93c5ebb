"""`repro weights promote`: set the alias `champion` of a data set's best model in MLflow's model registry."""

from __future__ import annotations

from repro.params import Project
from repro.records import Record
from repro.tracking.address import tracking_uri
from repro.tracking.registry import check_alias, note_champion, point, registered_name, require_weights
from repro.tracking.store import open_client, usable
from repro.tracking.sync import sync_record

CHAMPION = "champion"


def promote(project: Project, record: Record, *, alias: str = CHAMPION) -> str:
    """Set `alias` to the model of `record`, in MLflow and reports/champions.yaml.

    The caller must check the verdict first; the one in the record may be outdated.

    Returns:
        "<registered name> version N".

    Raises:
        RecordError: the record has no weights.
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
