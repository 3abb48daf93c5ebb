"""`repro sync`: MLflow brought up to date with every journal and record. Running it again changes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

from repro.params import Project
from repro.records import Record, families, read_records
from repro.records.secrets import without_secrets
from repro.tracking.address import sqlite_path, sqlite_uri, tracking_uri
from repro.tracking.families import join_family, stem
from repro.tracking.feed import INTERRUPTED, JOURNAL, NAME, RECORD, mark, send_journal
from repro.tracking.registry import champions, drop_aliases, follow_alias, noted_aliases, point
from repro.tracking.send import finished, journals, send_record
from repro.tracking.state import RunState
from repro.tracking.store import KEY, one_at_a_time, open_client, own_runs, usable

Identity = tuple[str, str]  # run key, experiment
Known = dict[Identity, Any]  # -> the run in MLflow


@dataclass(kw_only=True)
class Report:
    """What a sync did, by names of experiments ("champion of camvid": an alias), and what it could not."""

    sent: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    kept: bool = False  # a rebuild failed, and the store is what it was


def sync(project: Project, *, rebuild: bool = False) -> Report:
    """Send what MLflow lacks. `rebuild` starts from an empty store and uses what git holds, and journals.

    One sync at a time on this machine; two machines end with the same single run each (feed.ensure_run).
    A run that fails does not keep the others from being sent.
    """
    uri = tracking_uri(project)
    with usable(uri), one_at_a_time(project, uri):
        if not rebuild:
            return _sync_into(project, uri)
        if sqlite_path(uri) is not None:
            return _rebuild_file(project, uri)
        delete_runs(project, uri)
        return _sync_into(project, uri)


def _sync_into(project: Project, uri: str) -> Report:
    client, report = open_client(project, uri), Report()
    known, records, states = known_runs(client), _believed(project, report), journals(project)
    recorded = {(one.run_key, one.experiment) for one in records}
    for state in states:
        if state.status in INTERRUPTED and (state.run.run_key, state.run.name) in recorded:
            continue  # a repetition that came to nothing: the record speaks for the run
        _guard(report, state.run.name, partial(sync_journal, client, project, uri, state, known))
    told = finished(states)
    live = {(state.run.run_key, state.run.name) for state in states if state.status == "RUNNING"}
    for record in records:
        if (record.run_key, record.experiment) in live:
            continue  # its follower feeds the run now
        _guard(report, record.experiment, partial(_sync, client, project, uri, record, known, told))
    _sync_families(client, project, uri, records, known, report)
    _sync_aliases(client, project, uri, records, report)
    return report


def _sync_families(
    client: Any, project: Project, uri: str, records: list[Record], known: Known, report: Report
) -> None:
    """Parent runs of repeated seeds; `known` are the runs from before this sync."""
    changed = report.sent or report.failed
    runs = list(own_runs(client) if changed else known.values())
    for members in families(records).values():
        with _reported(report, f"seeds of {stem(members[0].experiment)}"):
            join_family(client, project, uri, members, runs)


def _sync_aliases(client: Any, project: Project, uri: str, records: list[Record], report: Report) -> None:
    """The registry's aliases as reports/champions.yaml notes them."""
    with _reported(report, "champions.yaml"):
        noted = noted_aliases(project)
        drop_aliases(client, noted)
        for one in noted:
            send = partial(follow_alias, client, project, uri, one, records)
            _guard(report, f"{one.alias} of {one.dataset}", send)


def _believed(project: Project, report: Report) -> list[Record]:
    """All records but the damaged ones, which become lines of the report."""
    records, damaged = read_records(project.rows)
    report.failed |= {name: _text(error) for name, error in damaged.items()}
    return list(records.values())


def _rebuild_file(project: Project, uri: str) -> Report:
    """A new sqlite file, put in place of the old one when all is in it; the old one is kept beside it.

    A new one that lacks something is better than none: then, and only then, it is taken as it is.
    """
    path = sqlite_path(uri)
    assert path is not None
    for left in path.parent.glob(f"{path.name}.rebuilding*"):
        left.unlink()
    # A name of its own: MLflow would take one that this process has used for a store with tables in it.
    new = path.with_name(f"{path.name}.rebuilding-{time.time_ns()}")
    report = _sync_into(project, sqlite_uri(new))
    if report.failed and path.exists():
        new.unlink()
        return replace(report, sent=[], kept=True)
    if path.exists():
        os.replace(path, _free_name(path.with_name(f"{path.name}.before-rebuild")))
    os.replace(new, path)
    _forget_connections(open_client(project, uri))
    return report


def _free_name(path: Path) -> Path:
    """`path`, or with the first number that is free: no backup takes the place of an earlier one."""
    numbered = (path.with_name(f"{path.name}.{number}") for number in count(2))
    return next(one for one in chain([path], numbered) if not one.exists())


def _forget_connections(client: Any) -> None:
    """MLflow keeps connections for the life of a process; these still lead to the replaced file."""
    for part in (client._tracking_client, client._get_registry_client()):
        part.store.engine.dispose()


def _guard(report: Report, name: str, send: Callable[[], bool]) -> None:
    """`send` tells whether anything was sent."""
    with _reported(report, name):
        (report.sent if send() else report.unchanged).append(name)


@contextmanager
def _reported(report: Report, name: str) -> Iterator[None]:
    """An error becomes a line of the report: it is told at the end, and the next sync tries again."""
    try:
        yield
    except Exception as error:
        report.failed[name] = _text(error)


def _text(error: Exception) -> str:
    return without_secrets(f"{type(error).__name__}: {error}")[:500]


def known_runs(client: Any) -> Known:
    """What MLflow holds of this project."""
    return {(run.data.tags[KEY], run.data.tags.get(NAME, "")): run for run in own_runs(client)}


def _tag(known: Known, identity: tuple[str, str], name: str) -> str:
    return str(known[identity].data.tags.get(name, "")) if identity in known else ""


def sync_journal(client: Any, project: Project, uri: str, state: RunState, known: Known) -> bool:
    """Send one journal; False when MLflow has all of it."""
    identity = (state.run.run_key, state.run.name)
    if _tag(known, identity, JOURNAL) == mark(state):
        return False
    send_journal(client, project, uri, state)
    known.pop(identity, None)  # it may have been made anew: the record is sent again
    return True


def sync_record(project: Project, record: Record, *, uri: str | None = None) -> None:
    """Send one record (what `repro record` calls); raises when MLflow cannot be reached."""
    uri = uri or tracking_uri(project)
    with one_at_a_time(project, uri):
        client = open_client(project, uri)
        known = known_runs(client)
        states = journals(project)
        for state in states:
            if (state.run.run_key, state.run.name) == (record.run_key, record.experiment):
                sync_journal(client, project, uri, state, known)
        _sync(client, project, uri, record, known, finished(states))
        seeds = families(read_records(project.rows)[0].values()).get(record.family_key)
        if seeds:
            join_family(client, project, uri, seeds, list(own_runs(client)))
        for alias, name in champions(project).get(record.dataset, {}).items():
            if name == record.experiment:  # a record that changed has another run
                point(client, project, uri, record, alias)


def _sync(
    client: Any, project: Project, uri: str, record: Record, known: Known, told: Mapping[Identity, RunState]
) -> bool:
    identity = (record.run_key, record.experiment)
    if _tag(known, identity, RECORD) == record.content_hash and known[identity].info.status == "FINISHED":
        return False
    send_record(client, project, uri, record, told.get(identity))
    return True


def delete_runs(project: Project, uri: str) -> None:
    """Move every run of this project on a server to MLflow's trash."""
    client = open_client(project, uri)
    for run in list(own_runs(client)):  # all before the first is deleted: that would move the pages
        client.delete_run(run.info.run_id)
