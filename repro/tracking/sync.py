"""`repro sync`: MLflow brought up to date with every journal and record. Running it again changes nothing."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

from repro.judgement import Judge, folder_evidence, from_project
from repro.params import Project
from repro.records import Record, read_records
from repro.records.secrets import without_secrets
from repro.tracking.address import sqlite_path, sqlite_uri, tracking_uri
from repro.tracking.families import join_family, join_machines, stem
from repro.tracking.feed import INTERRUPTED, NAME, ensure_experiment, retire, send_journal
from repro.tracking.known import Known, delete_all, known_runs, label, mark_in_git, owned, superseded, tag
from repro.tracking.owner import CLONE, RETIRED, owner_of
from repro.tracking.registry import champions, drop_aliases, follow_alias, noted_aliases, point
from repro.tracking.send import finished, journals, require_client, send_judgement, send_record
from repro.tracking.state import RunState
from repro.tracking.store import (
    CHECK_SECONDS,
    damage,
    keyed_runs,
    one_at_a_time,
    open_client,
    read_only,
    usable,
)

Confirm = Callable[[list[str]], bool]  # labels of runs that would be deleted -> whether they may


@dataclass(kw_only=True)
class Report:
    """What a sync did, by names of experiments ("champion of camvid": an alias), and what it could not."""

    sent: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)  # labels of own runs whose place others took
    kept: bool = False  # a rebuild failed or was declined, and the store is what it was


def sync(project: Project, *, rebuild: bool = False, confirm: Confirm = lambda runs: True) -> Report:
    """Send what MLflow lacks. `rebuild` sends everything again from what git holds, and journals.

    One sync at a time on this machine. Runs of other clones, projects and programs stay as they are; own ones
    that nothing shows any more are deleted last, once `confirm`, which gets their labels, says yes.
    A run that fails does not keep the others from being sent.
    """
    uri = tracking_uri(project)
    with usable(uri), one_at_a_time(project, uri):
        if not rebuild:
            return _sync_into(project, uri, confirm)
        if sqlite_path(uri) is not None and not holds_others(project, uri):
            return _rebuild_file(project, uri)
        return _rebuild_in_place(project, uri, confirm)


def _sync_into(project: Project, uri: str, confirm: Confirm = lambda runs: True) -> Report:
    client, report = open_client(project, uri), Report()
    known, records, states = known_runs(client, project, uri), _believed(project, report), journals(project)
    recorded = {(one.run_key, one.experiment) for one in records}
    waiting = [one for one in records if not known.holds_record(one)]
    for dataset in sorted(
        {one.dataset for one in waiting}
    ):  # what no library can send is said before the first
        require_client(client, ensure_experiment(client, project, uri, dataset))
    for state in states:
        if state.status in INTERRUPTED and (state.run.run_key, state.run.name) in recorded:
            continue  # a repetition that came to nothing: the record speaks for the run
        _guard(report, state.run.name, partial(sync_journal, client, project, uri, state, known))
    judge = judge_of(project, records)
    live = {(state.run.run_key, state.run.name) for state in states if state.status == "RUNNING"}
    for record in records:
        if (record.run_key, record.experiment) in live:
            continue  # its follower feeds the run now
        _guard(report, record.experiment, partial(_sync, client, project, uri, record, judge, known, states))
    if report.sent or report.failed:
        known = known_runs(client, project, uri)
    mark_in_git(client, known, records)
    _join(client, project, uri, judge, known, report)
    _sync_aliases(client, project, uri, records, report)
    _clear(client, superseded(known, records, states), report, confirm)
    return report


def _clear(client: Any, runs: list[Any], report: Report, confirm: Confirm) -> None:
    """Delete runs of ours whose place others have taken by now, unless somebody says no."""
    if runs and confirm([label(run) for run in runs]):
        delete_all(client, runs)
        report.deleted += [label(run) for run in runs]


def _join(client: Any, project: Project, uri: str, judge: Judge, known: Known, report: Report) -> None:
    """Parent runs: of what several machines measured, and of repeated seeds."""
    with _reported(report, "runs of several machines"):
        known = join_machines(client, known)
    for members in judge.families.values():
        with _reported(report, f"seeds of {stem(members[0].experiment)}"):
            join_family(client, project, uri, members, judge.judge, known)


def _sync_aliases(client: Any, project: Project, uri: str, records: list[Record], report: Report) -> None:
    """The registry's aliases as reports/champions.yaml notes them."""
    with _reported(report, "champions.yaml"):
        noted = noted_aliases(project)
        drop_aliases(client, project, uri, noted)
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
    new.with_name(f"{new.name}.lock").unlink(missing_ok=True)  # nobody else knows this file
    if report.failed and path.exists():
        new.unlink()
        return replace(report, sent=[], kept=True)
    if path.exists():
        os.replace(path, _free_name(path.with_name(f"{path.name}.before-rebuild")))
    os.replace(new, path)
    _forget_connections(open_client(project, uri))
    return report


def holds_others(project: Project, uri: str) -> bool:
    """Whether a sqlite file has active runs of others, and may not be replaced.

    In the project's own file those are runs of other clones: the backup keeps what other programs logged.
    """
    path, owner = sqlite_path(uri), owner_of(project)
    if path is None or not path.exists() or damage(path):
        return False
    own = path == project.root / "mlflow.db"
    try:
        with closing(read_only(path, timeout=CHECK_SECONDS)) as connection:
            (count,) = connection.execute(_OTHER_CLONES if own else _OTHERS, (CLONE, owner.clone)).fetchone()
    except sqlite3.Error:  # no such tables: nothing of anybody is in it
        return False
    return bool(count)


_ACTIVE = "select count(*) from runs where lifecycle_stage = 'active' and run_uuid"
_OTHERS = f"{_ACTIVE} not in (select run_uuid from tags where key = ? and value = ?)"
_OTHER_CLONES = f"{_ACTIVE} in (select run_uuid from tags where key = ? and value != ?)"


def _rebuild_in_place(project: Project, uri: str, confirm: Confirm) -> Report:
    """Send everything again beside what is there, then delete this clone's runs from before.

    Those of an experiment that could not be sent stay.
    """
    client = open_client(project, uri)
    before = [run for run in owned(known_runs(client, project, uri)) if run.info.status != "RUNNING"]
    if before and not confirm([label(run) for run in before]):
        return Report(kept=True)
    for run in before:
        retire(client, run.info.run_id)
    report = _sync_into(project, uri)
    lost = [run for run in before if tag(run, NAME) in report.failed]
    for run in lost:
        client.delete_tag(run.info.run_id, RETIRED)
    gone = [run for run in before if run not in lost and run.info.run_id in _active(client)]
    delete_all(client, gone)
    report.deleted += [label(run) for run in gone]
    return report


def _active(client: Any) -> set[str]:
    return {run.info.run_id for run in keyed_runs(client)}


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


def sync_journal(client: Any, project: Project, uri: str, state: RunState, known: Known) -> bool:
    """Send one journal; False when MLflow has all of it."""
    if known.holds_journal(state):
        return False
    send_journal(client, project, uri, state)
    return True


def sync_record(project: Project, record: Record, *, uri: str | None = None) -> None:
    """Send one record (what `repro record` calls); raises when MLflow cannot be reached."""
    uri = uri or tracking_uri(project)
    with one_at_a_time(project, uri):
        client = open_client(project, uri)
        known, states = known_runs(client, project, uri), journals(project)
        for state in states:
            if (state.run.run_key, state.run.name) == (record.run_key, record.experiment):
                sync_journal(client, project, uri, state, known)
        records = {**read_records(project.rows)[0], record.experiment: record}
        judge = judge_of(project, records.values(), recording=record.experiment)
        _sync(client, project, uri, record, judge, known, states)
        known = join_machines(client, known_runs(client, project, uri))
        join_family(client, project, uri, judge.families[record.family_key], judge.judge, known)
        for alias, name in champions(project).get(record.dataset, {}).items():
            if name == record.experiment:  # a record that changed has another run
                point(client, project, uri, record, alias)


def judge_of(project: Project, records: Iterable[Record], *, recording: str = "") -> Judge:
    """What judges `records` for MLflow; DVC writes the dvc.lock of one that is being recorded afterwards."""
    return Judge(
        project=project,
        records={record.experiment: record for record in records},
        experiment=from_project(project),
        thorough=False,
        evidence=lambda one: folder_evidence(project, one, thorough=False, locked=one != recording),
    )


def _sync(
    client: Any,
    project: Project,
    uri: str,
    record: Record,
    judge: Judge,
    known: Known,
    states: Sequence[RunState],
) -> bool:
    judged, holding = judge.judge(record.experiment), known.holding(record)
    if holding:  # the verdict of a run of another clone is that of its own params
        ours = (run for run in holding if known.owner.owns(run))
        changed = [send_judgement(client, run, record, judged) for run in ours]
        return any(changed)
    return bool(send_record(client, project, uri, record, judged, journal_of(record, states)))


def journal_of(record: Record, states: Sequence[RunState]) -> RunState | None:
    """The journal of the training that a record shows, where it is here: another machine has its own."""
    trained = record.provenance.get("training") or {}
    for one in finished(states).values():
        same = (one.run.run_key, one.run.name) == (record.run_key, record.experiment)
        if same and (not trained or not one.provenance or one.provenance.get("at") == trained.get("at")):
            return one
    return None
