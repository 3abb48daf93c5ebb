"""Runs of this project in a store, and which of them this clone may change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from repro.params import Project
from repro.records import Record
from repro.tracking.address import sqlite_path
from repro.tracking.owner import Owner, owner_of
from repro.tracking.run_info import RunState
from repro.tracking.run_writer import drop_run, mark, set_tags
from repro.tracking.store import keyed_runs
from repro.tracking.tags import CLONE, IN_GIT, JOURNAL, KEY, NAME, PROJECT, RECORD, RETIRED

Identity = tuple[str, str]  # run key, experiment
PARENTS = ("seeds-", "machines-")  # prefixes of the keys of parent runs


def identity_of(run: Any) -> Identity:
    return run.data.tags[KEY], run.data.tags.get(NAME, "")


def is_parent(run: Any) -> bool:
    return str(run.data.tags[KEY]).startswith(PARENTS)


def tag(run: Any, name: str) -> str:
    return str(run.data.tags.get(name, ""))


@dataclass(frozen=True, kw_only=True)
class Known:
    """Active runs of this project, including those of other clones and older versions."""

    owner: Owner
    runs: tuple[Any, ...]

    def of(self, identity: Identity) -> list[Any]:
        """Runs of one training, one per clone that ran it, without retired runs."""
        return [run for run in self._by_identity.get(identity, ()) if RETIRED not in run.data.tags]

    @cached_property
    def _by_identity(self) -> Mapping[Identity, list[Any]]:
        """Cached: comparing a thousand records with a thousand runs took a third of a sync."""
        found: dict[Identity, list[Any]] = {}
        for run in self.runs:
            found.setdefault(identity_of(run), []).append(run)
        return found

    def holding(self, record: Record) -> list[Any]:
        """Runs of any clone that contain the complete record."""
        same = self.of((record.run_key, record.experiment))
        return [
            run for run in same if tag(run, RECORD) == record.content_hash and run.info.status == "FINISHED"
        ]

    def holds_record(self, record: Record) -> bool:
        return bool(self.holding(record))

    def holds_journal(self, state: RunState) -> bool:
        same = self.of((state.run.run_key, state.run.name))
        return any(tag(run, JOURNAL) == mark(state) for run in same)


def known_runs(client: Any, project: Project, uri: str) -> Known:
    """Read this project's runs from MLflow.

    Runs of older versions have no owner. In the project's own file they are assigned to this clone; in other
    stores they are never changed.
    """
    owner, found = owner_of(project), list(keyed_runs(client))
    if sqlite_path(uri) == project.root / "mlflow.db":
        for run in found:
            if PROJECT not in run.data.tags:
                set_tags(client, run.info.run_id, owner.tags)
                run.data.tags.update(owner.tags)
    ours = (run for run in found if run.data.tags.get(PROJECT) in (owner.project, None))
    return Known(owner=owner, runs=tuple(ours))


def mark_in_git(client: Any, known: Known, records: Iterable[Record]) -> None:
    """Set the tag IN_GIT of this clone's runs: whether their record is the one in git."""
    hashes = {record.content_hash for record in records}
    for run in filter(known.owner.owns, known.runs):
        wanted = "yes" if tag(run, RECORD) in hashes else "no"
        if RECORD in run.data.tags and tag(run, IN_GIT) != wanted:
            set_tags(client, run.info.run_id, {IN_GIT: wanted})
            run.data.tags[IN_GIT] = wanted


def superseded(known: Known, records: Sequence[Record], states: Sequence[RunState]) -> list[Any]:
    """Runs of this clone that another run of the same training replaces."""
    hashes, marks = {one.content_hash for one in records}, {mark(one) for one in states}
    return [
        run
        for run in owned(known)
        if not is_parent(run)
        and any(_replaces(known, other, run, hashes, marks) for other in known.of(identity_of(run)))
    ]


def _replaces(known: Known, other: Any, run: Any, hashes: Set[str], marks: Set[str]) -> bool:
    """Whether `other` replaces `run`: both show the same, or only `other` shows what is in git.

    A run of another clone replaces one of ours only if both show the same weights.
    """
    retired = RETIRED in run.data.tags
    if other.info.run_id == run.info.run_id or (run.info.status == "RUNNING" and not retired):
        return False
    if _is_twin(other, run):
        return _order(other) < _order(run)
    if _is_current(run, hashes, marks) and not retired:
        return False
    weights = "model_sha256"
    same = known.owner.owns(other) or (RECORD in run.data.tags and tag(run, weights) == tag(other, weights))
    return _is_current(other, hashes, marks) and same


def has_twin(known: Known, run: Any) -> bool:
    """Whether another run shows the same, for example if two clones sent one record at the same time."""
    others = (other for other in known.of(identity_of(run)) if other.info.run_id != run.info.run_id)
    return any(_is_twin(other, run) for other in others)


def _order(run: Any) -> tuple[bool, str]:
    """Sort key of twins, of which the first is kept: a run with training curves is preferred."""
    return JOURNAL not in run.data.tags, str(run.info.run_id)


def _is_twin(other: Any, run: Any) -> bool:
    return RETIRED not in run.data.tags and shows(run) == shows(other)


def shows(run: Any) -> str:
    """Identity of a run's content: its record, its complete journal, or its own id."""
    return tag(run, RECORD) or tag(run, JOURNAL) or str(run.info.run_id)


def _is_current(run: Any, hashes: Set[str], marks: Set[str]) -> bool:
    return tag(run, RECORD) in hashes if RECORD in run.data.tags else tag(run, JOURNAL) in marks


def delete_all(client: Any, runs: Iterable[Any]) -> None:
    """Delete runs and their logged models (MLflow keeps them in its trash)."""
    for run in runs:
        drop_run(client, run.info.run_id)


def label(run: Any) -> str:
    """Description of a run for users: name, id, status and mIoU."""
    value = run.data.metrics.get("mIoU")
    measured = "" if value is None else f", mIoU {value:.2f}"
    return f"{run.info.run_name} ({run.info.run_id[:8]}, {run.info.status}{measured})"


def owned(known: Known) -> list[Any]:
    return [run for run in known.runs if run.data.tags.get(CLONE) == known.owner.clone]
