"""What is known: the records in git, the declared experiments, and which published row each stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from repro.errors import ParamsError, ReproError, UnknownNameError
from repro.io.yaml_reader import read_yaml
from repro.judgement import Judge
from repro.params.experiment import Experiment, resolve
from repro.params.folders import Broken, read_each
from repro.params.names import experiment_names
from repro.params.project import Project
from repro.published import Published, Row
from repro.records import Record, read_records
from repro.records.network import NETWORK

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What an experiment folder says about itself, before anything is resolved."""

    name: str
    dataset: str
    rows: tuple[str, ...] = ()
    note: str = ""
    recipe: str = ""
    network: Mapping[str, Any] = field(default_factory=dict)  # its blocks of NETWORK
    raw: Mapping[str, Any] = field(default_factory=dict)  # the whole file


@dataclass(frozen=True, kw_only=True)
class Results:
    """Records by experiment, records that cannot be believed, and the declared experiments."""

    project: Project
    records: Mapping[str, Record]
    experiments: Mapping[str, Declared]
    damaged: Mapping[str, ReproError] = field(default_factory=dict)
    broken: Mapping[str, ReproError] = field(default_factory=dict)  # folders whose params.yaml cannot be read
    thorough: bool = False  # judge with intervals and weights too

    @property
    def published(self) -> Published:
        """The published pages of the project."""
        return self.project.published

    @cached_property
    def by_row(self) -> dict[str, str]:
        """Published row id -> the experiment that stands for it; a measured one goes first."""
        found: dict[str, str] = {}
        declared = {name: one.rows for name, one in self.experiments.items()}
        recorded = {name: record.rows for name, record in self.records.items()}
        for name, claimed in (*sorted(recorded.items()), *sorted(declared.items())):
            for row_id in claimed:
                found.setdefault(row_id, name)
        return found

    @cached_property
    def judge(self) -> Judge:
        """What decides on each record."""
        return Judge(
            project=self.project,
            records=self.records,
            experiment=self.resolved.get,
            thorough=self.thorough,
        )

    @cached_property
    def resolved(self) -> dict[str, Experiment | ReproError]:
        """What params.yaml says now of each recorded experiment; the error where it cannot be read."""
        measured = {name: self.experiments[name].raw for name in self.records if name in self.experiments}
        shared = read_yaml(self.project.params) if measured else {}
        found = {name: _resolved(self.project, name, raw, shared) for name, raw in measured.items() if raw}
        return found | {name: error for name, error in self.broken.items() if name in self.records}

    def seeds(self, record: Record) -> list[float]:
        """What a record and its other seeds measured of the record's own metric."""
        return list(self.judge.judge(record.experiment).seeds)

    def record_of(self, row_id: str) -> Record | None:
        """The record that stands for a published row, if there is one."""
        return self.records.get(self.by_row.get(row_id, ""))

    def names(self) -> list[str]:
        """Every experiment that is declared or recorded."""
        return sorted({*self.experiments, *self.records, *self.damaged, *self.broken})

    @property
    def left_out(self) -> Broken:
        """Experiments of which the record or the params.yaml cannot be read, and why."""
        return {**self.damaged, **self.broken}

    @property
    def stray(self) -> dict[str, ReproError]:
        """Those of `damaged` that belong to no experiment: nothing says what they were meant to be."""
        known = {*self.experiments, *self.broken}
        return {name: error for name, error in self.damaged.items() if name not in known}

    def dataset(self, name: str) -> str:
        """The data set of an experiment."""
        record, declared = self.records.get(name), self.experiments.get(name)
        return record.dataset if record else declared.dataset if declared else ""

    def datasets(self) -> list[str]:
        """Every data set that a published row or an experiment uses."""
        used = {row.dataset for row in self.published.rows.values()} | {
            self.dataset(name) for name in self.names()
        }
        return sorted(used - {""})

    def require_dataset(self, dataset: str) -> None:
        if dataset not in self.datasets():
            raise UnknownNameError("dataset", dataset, self.datasets())

    def rows_of(self, dataset: str) -> list[Row]:
        """Published rows of a data set in page order, also where the experiment names it differently."""
        return [
            row
            for row in self.published.rows.values()
            if dataset in (row.dataset, self.dataset(self.by_row.get(row.id, "")))
        ]

    def to_frame(self, *, dataset: str | None = None, measured: bool = False) -> DataFrame:
        """A row per result, published and measured: repro.reports.frame, docs/json.md. Imports pandas.

        Args:
            dataset: only the results on this data set, by its page's name for it or by ours.
            measured: only experiments with a record.
        """
        from repro.reports.frame import results_frame

        frame = results_frame(self)
        if dataset is not None:
            frame = frame[(frame["dataset"] == dataset) | (frame["published_dataset"] == dataset)]
        return frame[frame["experiment"].isin(list(self.records))] if measured else frame

    def pages_of(self, row_ids: Iterable[str]) -> set[str]:
        """Ids of the pages that the rows are of."""
        return {self.published.rows[row_id].page for row_id in row_ids if row_id in self.published.rows}

    def own(self) -> list[str]:
        """Experiments of this project that stand for no published row."""
        published = set(self.by_row.values())
        return [name for name in self.names() if name not in published]


def load_results(project: Project, *, thorough: bool = False) -> Results:
    """Records and experiments of a checkout; what cannot be read is listed, for the others can.

    `thorough`: for the gate, which also recomputes intervals and hashes weights.
    """
    records, damaged = read_records(project.rows)
    experiments, broken = declared_experiments(project)
    return Results(
        project=project,
        records=records,
        experiments=experiments,
        damaged=damaged,
        broken=broken,
        thorough=thorough,
    )


def declared_experiments(project: Project) -> tuple[dict[str, Declared], Broken]:
    """Name -> what experiments/<name>/params.yaml declares; and the folders where it cannot be read.

    Nothing is resolved: 140 files in 0.2 s. Raises ParamsError for a page that cannot be read.
    """
    _ = project.published.rows  # one error of a page, not one of each experiment
    return read_each(experiment_names(project), lambda name: _declared(project, name))


def _declared(project: Project, name: str) -> Declared:
    path = project.params_of(name)
    raw = read_yaml(path)
    network = {key: raw.get(key) or {} for key in NETWORK if key in raw}
    for key, block in network.items():
        if not isinstance(block, Mapping):
            what = f"key '{key}': got {block!r}"[:200]
            raise ParamsError(what, where=path, allowed="indented `key: value` lines")
    return Declared(
        name=name,
        dataset=str(raw.get("dataset", "")),
        rows=project.published.row_ids(raw.get("rows", []), path),
        note=str(raw.get("note", "")),
        recipe=str(raw.get("recipe", "")),
        network=network,
        raw=raw,
    )


def _resolved(
    project: Project, name: str, raw: Mapping[str, Any], shared: Mapping[str, Any]
) -> Experiment | ReproError:
    try:
        return resolve(name, raw, shared, project.params_of(name))
    except ReproError as error:
        return error
