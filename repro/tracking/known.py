"""The runs that a store holds of this project, and which of them this clone may change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from repro.params import Project
from repro.records import Record
from repro.tracking.address import sqlite_path
from repro.tracking.feed import JOURNAL, NAME, RECORD, drop_run, mark, set_tags
from repro.tracking.owner import CLONE, PROJECT, RETIRED, Owner, owner_of
from repro.tracking.send import IN_GIT
from repro.tracking.state import RunState
from repro.tracking.store import KEY, keyed_runs

Identity = tuple[str, str]  # run key, experiment
PARENTS = ("seeds-", "machines-")  # how the keys of parent runs begin


def identity_of(run: Any) -> Identity:
    return run.data.tags[KEY], run.data.tags.get(NAME, "")


def is_parent(run: Any) -> bool:
    return str(run.data.tags[KEY]).startswith(PARENTS)


def tag(run: Any, name: str) -> str:
    return str(run.data.tags.get(name, ""))


@dataclass(frozen=True, kw_only=True)
class Known:
    """Active runs of this project, those of other clones and of older versions among them."""

    owner: Owner
    runs: tuple[Any, ...]

    def of(self, identity: Identity) -> list[Any]:
        """The runs of one training, one for each clone that did it; not those whose place another takes."""
        return [run for run in self.runs if identity_of(run) == identity and RETIRED not in run.data.tags]

    def holds_record(self, record: Record) -> bool:
        """Whether a record is in as a whole, whoever sent it."""
        same = self.of((record.run_key, record.experiment))
        return any(tag(run, RECORD) == record.content_hash and run.info.status == "FINISHED" for run in same)

    def holds_journal(self, state: RunState) -> bool:
        same = self.of((state.run.run_key, state.run.name))
        return any(tag(run, JOURNAL) == mark(state) for run in same)


def known_runs(client: Any, project: Project, uri: str) -> Known:
    """What MLflow holds of this project.

    Runs from before runs had owners belong to whoever keeps them in a file of the project. Elsewhere they are
    nobody's: they count as sent where they show the same, and are left as they are.
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
    """Let every run of this clone that shows a record say whether that record is the one in git."""
    hashes = {record.content_hash for record in records}
    for run in filter(known.owner.owns, known.runs):
        wanted = "yes" if tag(run, RECORD) in hashes else "no"
        if RECORD in run.data.tags and tag(run, IN_GIT) != wanted:
            set_tags(client, run.info.run_id, {IN_GIT: wanted})
            run.data.tags[IN_GIT] = wanted


def superseded(known: Known, records: Sequence[Record], states: Sequence[RunState]) -> list[Any]:
    """Runs of this clone that say nothing any more: a newer one of the same training is in.

    A run of another clone takes the place of one of ours only where both show the same weights.
    """
    return [
        run
        for run in known.runs
        if known.owner.owns(run)
        and not is_parent(run)
        and any(_takes_its_place(known, run, one) for one in _current(known, run, records, states))
    ]


def _current(known: Known, run: Any, records: Sequence[Record], states: Sequence[RunState]) -> list[Any]:
    """Other runs of the same training that show what git or a journal says now; none where `run` does too."""
    hashes = {one.content_hash for one in records}
    marks = {mark(one) for one in states if (one.run.run_key, one.run.name) == identity_of(run)}
    current = [
        one
        for one in known.of(identity_of(run))
        if tag(one, RECORD) in hashes or (RECORD not in one.data.tags and tag(one, JOURNAL) in marks)
    ]
    same = any(one.info.run_id == run.info.run_id for one in current)
    return [] if same or (run.info.status == "RUNNING" and RETIRED not in run.data.tags) else current


def _takes_its_place(known: Known, run: Any, other: Any) -> bool:
    weights = "model_sha256"
    return known.owner.owns(other) or (RECORD in run.data.tags and tag(run, weights) == tag(other, weights))


def delete_all(client: Any, runs: Iterable[Any]) -> None:
    """Move runs to MLflow's trash, with their model entities."""
    for run in runs:
        drop_run(client, run.info.run_id)


def label(run: Any) -> str:
    """How a person knows a run: its name, its number and when it began."""
    value = run.data.metrics.get("mIoU")
    measured = "" if value is None else f", mIoU {value:.2f}"
    return f"{run.info.run_name} ({run.info.run_id[:8]}, {run.info.status}{measured})"


def owned(known: Known) -> list[Any]:
    return [run for run in known.runs if run.data.tags.get(CLONE) == known.owner.clone]
