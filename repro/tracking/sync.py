"""`repro sync`: update MLflow from all journals and records; idempotent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from repro.judgement import Judge, folder_evidence, from_project
from repro.params import Project
from repro.records import Record, families, read_records
from repro.tracking.address import tracking_uri
from repro.tracking.owned_runs import Known, delete_all, has_twin, known_runs, label, mark_in_git, superseded
from repro.tracking.owner import tracking_params
from repro.tracking.rebuild import rebuild as rebuild_store
from repro.tracking.record_upload import finished, journals, require_client, send_judgement, send_record
from repro.tracking.record_view import show_note
from repro.tracking.registry import champion_entries, champions, drop_aliases, point, sync_alias
from repro.tracking.report import Confirm, Report, guard, reported, text_of
from repro.tracking.run_info import RunState
from repro.tracking.run_writer import INTERRUPTED, ensure_experiment, send_journal
from repro.tracking.seed_groups import join_family, join_machines, stem
from repro.tracking.store import open_client, store_lock, usable
from repro.tracking.views import results_hint


def sync(
    project: Project,
    *,
    rebuild: bool = False,
    confirm: Confirm = lambda runs: True,
    judge: Judge | None = None,
    headline: str = "",
) -> Report:
    """Send everything that MLflow does not have.

    Runs of other clones, projects and programs are not changed. Errors of single runs are collected in the
    report.

    Args:
        project: the project.
        rebuild: send everything again, from the records in git and the local journals.
        confirm: called with the labels of this clone's obsolete runs; True deletes them.
        judge: reuse a judge that has read the records.
        headline: text for the notes of MLflow's experiments.
    """
    uri = tracking_uri(project)
    send = partial(_sync_into, project, judge=judge, headline=headline)
    with usable(uri), store_lock(project, uri):
        return rebuild_store(project, uri, send, confirm) if rebuild else send(uri, confirm)


def _sync_into(
    project: Project,
    uri: str,
    confirm: Confirm = lambda runs: True,
    *,
    judge: Judge | None,
    headline: str,
) -> Report:
    client, report = open_client(project, uri), Report()
    known, records, states = known_runs(client, project, uri), _readable(project, report), journals(project)
    recorded = {(one.run_key, one.experiment) for one in records}
    waiting = {one.dataset for one in records if not known.holds_record(one)}
    for dataset in sorted(waiting):  # report a missing library before sending anything
        require_client(client, ensure_experiment(client, project, uri, dataset))
    for state in states:
        if state.status in INTERRUPTED and (state.run.run_key, state.run.name) in recorded:
            continue  # an interrupted repetition of a recorded run
        guard(report, state.run.name, partial(sync_journal, client, project, uri, state, known))
    judge = judge or judge_of(project, records)
    live = {(state.run.run_key, state.run.name) for state in states if state.status == "RUNNING"}
    for record in records:
        if (record.run_key, record.experiment) in live:
            continue  # its follower sends it
        guard(report, record.experiment, partial(_sync, client, project, uri, record, judge, known, states))
    if report.sent or report.failed:
        known = known_runs(client, project, uri)
    mark_in_git(client, known, records)
    _join(client, project, uri, judge, known, report)
    _sync_aliases(client, project, uri, records, report)
    _update_notes(client, project, records, headline)
    runs = superseded(known, records, states)
    twins = [run for run in runs if has_twin(known, run)]
    _delete(client, [run for run in runs if run not in twins], report, confirm)
    _delete(client, twins, report, lambda runs: True)
    return report


def _delete(client: Any, runs: list[Any], report: Report, confirm: Confirm) -> None:
    """Delete replaced runs of this clone if confirmed."""
    if runs and confirm([label(run) for run in runs]):
        delete_all(client, runs)
        report.deleted += [label(run) for run in runs]


def _update_notes(client: Any, project: Project, records: list[Record], headline: str) -> None:
    """Write the headline to the note of each data set's MLflow experiment."""
    for dataset in sorted({record.dataset for record in records}) if headline else ():
        experiment = client.get_experiment_by_name(tracking_params(project).prefix + dataset)
        if experiment is not None:
            show_note(client, experiment, dataset, headline)


def _join(client: Any, project: Project, uri: str, judge: Judge, known: Known, report: Report) -> None:
    """Update parent runs of several machines and of seeds."""
    with reported(report, "runs of several machines"):
        known = join_machines(client, known)
    for members in families(judge.records.values()).values():
        with reported(report, f"seeds of {stem(members[0].experiment)}"):
            join_family(client, project, uri, members, judge.judge, known)


def _sync_aliases(client: Any, project: Project, uri: str, records: list[Record], report: Report) -> None:
    """Synchronise the registry's aliases with reports/champions.yaml."""
    with reported(report, "champions.yaml"):
        entries = champion_entries(project)
        drop_aliases(client, project, uri, entries)
        for one in entries:
            send = partial(sync_alias, client, project, uri, one, records)
            guard(report, f"{one.alias} of {one.dataset}", send)


def _readable(project: Project, report: Report) -> list[Record]:
    """All readable records; corrupt ones are reported."""
    records, damaged = read_records(project.rows)
    report.failed |= {name: text_of(error) for name, error in damaged.items()}
    return list(records.values())


def sync_journal(client: Any, project: Project, uri: str, state: RunState, known: Known) -> bool:
    """Send one journal; returns False if MLflow has all of it."""
    if known.holds_journal(state):
        return False
    send_journal(client, project, uri, state)
    return True


def sync_record(project: Project, record: Record, *, uri: str | None = None) -> str:
    """Send one record and its journal; raises an error of MLflow if it cannot be reached.

    Returns:
        Where the result can be seen in MLflow, in words.
    """
    uri = uri or tracking_uri(project)
    with store_lock(project, uri):
        client = open_client(project, uri)
        known, states = known_runs(client, project, uri), journals(project)
        for state in states:
            if (state.run.run_key, state.run.name) == (record.run_key, record.experiment):
                sync_journal(client, project, uri, state, known)
        records = {**read_records(project.rows)[0], record.experiment: record}
        judge = judge_of(project, records.values(), recording=record.experiment)
        _sync(client, project, uri, record, judge, known, states)
        known = join_machines(client, known_runs(client, project, uri))
        join_family(
            client, project, uri, families(judge.records.values())[record.family_key], judge.judge, known
        )
        for alias, name in champions(project).get(record.dataset, {}).items():
            if name == record.experiment:  # a changed record has a new run
                point(client, project, uri, record, alias)
        return results_hint(client, project, record.dataset)


def judge_of(project: Project, records: Iterable[Record], *, recording: str = "") -> Judge:
    """A judge of `records`; `recording` is the one being recorded, whose dvc.lock DVC writes later."""
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
    if holding:  # runs of other clones show the verdict under those clones' params
        ours = (run for run in holding if known.owner.owns(run))
        changed = [send_judgement(client, run, project, record, judged) for run in ours]
        return any(changed)
    return bool(send_record(client, project, uri, record, judged, journal_of(record, states)))


def journal_of(record: Record, states: Sequence[RunState]) -> RunState | None:
    """The local journal of the record's training; None if it was trained elsewhere."""
    trained = record.provenance.get("training") or {}
    for one in finished(states).values():
        same = (one.run.run_key, one.run.name) == (record.run_key, record.experiment)
        if same and (not trained or not one.provenance or one.provenance.get("at") == trained.get("at")):
            return one
    return None
