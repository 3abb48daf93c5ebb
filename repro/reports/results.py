"""What is known: the records in git, the declared experiments, and which published row each stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from repro.errors import ReproError, UnknownNameError
from repro.io.yaml_reader import read_yaml
from repro.judgement import Judge
from repro.judgement.peers import Peers
from repro.params.experiment import Experiment, resolve
from repro.params.folders import Broken, read_each
from repro.params.names import experiment_names
from repro.params.project import Project
from repro.published import Published, Row
from repro.records import Record
from repro.records.cost_file import NetworkCost, read_costs
from repro.records.record import read_row
from repro.reports.claims import Claim, Declared, claim_of, peers_of, read_claims, read_declared
from repro.reports.lazy import Lazy
from repro.reports.link_states import read_states
from repro.reports.results_cache import NOTHING_KEPT, ResultsCache, digest, held_by_dvc, open_cache, stamps

if TYPE_CHECKING:
    from pandas import DataFrame

T = TypeVar("T")
__all__ = ["Declared", "Results", "declared_experiments", "load_results"]


@dataclass(frozen=True, kw_only=True)
class Results:
    """Records by experiment, records that cannot be believed, and the declared experiments."""

    project: Project
    records: Mapping[str, Record]
    experiments: Mapping[str, Declared]
    damaged: Mapping[str, ReproError] = field(default_factory=dict)
    broken: Mapping[str, ReproError] = field(default_factory=dict)  # folders whose params.yaml cannot be read
    thorough: bool = False  # judge with intervals and weights too
    cache: ResultsCache = NOTHING_KEPT
    stamps: Mapping[str, str] = field(default_factory=dict)  # of the files of each experiment, for `cache`
    read: Mapping[str, Claim] | None = None  # what `load_results` read of each experiment

    @cached_property
    def claims(self) -> Mapping[str, Claim]:
        """What each experiment says of itself."""
        if self.read is not None:
            return self.read
        names = dict.fromkeys([*self.records, *self.experiments])
        return {name: claim_of(self.experiments.get(name), self.records.get(name)) for name in names}

    def kept(self, kind: str, name: str, compute: Callable[[], T]) -> T:
        """The value of `compute` for an experiment, from the cache if nothing it depends on has changed.

        Args:
            kind: what is computed.
            name: of the experiment.
            compute: returns JSON types, computed from the files of the experiment, of its seeds and of those
                that share a file with them, and from what `results_cache.basis` covers.
        """
        kind = f"{kind}, thorough" if self.thorough else kind
        return self.cache.get(kind, name, self._stamp(name), compute)

    def _stamp(self, name: str) -> str:
        """Stamp of all files that the judgement of an experiment depends on; "" if it may not be kept."""
        related = self.peers.families.get(self._claim(name).family, (name,))
        claims = [self._claim(one) for one in related]
        if not self.stamps or any(claim.own_code for claim in claims):
            return ""
        known = [repr(self.peers.facts[fact.kind, fact.key]) for claim in claims for fact in claim.facts]
        held = [self._held(claim.large) for claim in claims]
        return digest([*(self.stamps.get(one, "") for one in related), *known, *held])

    @cached_property
    def _held(self) -> Callable[[Iterable[str]], str]:
        return held_by_dvc(self.project)

    def _claim(self, name: str) -> Claim:
        return self.claims.get(name, Claim())

    @cached_property
    def peers(self) -> Peers:
        """What connects the results with each other."""
        return peers_of(self.claims)

    @property
    def published(self) -> Published:
        """The published pages of the project."""
        return self.project.published

    @cached_property
    def by_row(self) -> dict[str, str]:
        """Published row id -> the experiment that stands for it; a measured one goes first."""
        found: dict[str, str] = {}
        recorded = [(name, one.recorded) for name, one in sorted(self.claims.items())]
        declared = [(name, one.declared) for name, one in sorted(self.claims.items())]
        for name, claimed in (*recorded, *declared):
            for row_id in claimed or ():
                found.setdefault(row_id, name)
        return found

    @cached_property
    def costs(self) -> Mapping[str, tuple[str, NetworkCost]]:
        """Experiment -> key and cost of its network, of reports/cost.json: repro.reports.costs."""
        networks = read_costs(self.project.costs)
        return {name: (key, one) for key, one in networks.items() for name in one.experiments}

    @cached_property
    def link_states(self) -> Mapping[str, str]:
        """Address of a published link -> alive or dead, where it was checked."""
        return read_states(self.project.link_states)

    @cached_property
    def judge(self) -> Judge:
        """What decides on each record."""
        return Judge(
            project=self.project,
            records=self.records,
            experiment=self._resolve,
            thorough=self.thorough,
            peers=self.peers,
        )

    def as_judged(self, name: str) -> Record:
        """A record with the reference that it is judged by: of a published number, the present band."""
        return replace(self.records[name], expectation=self.judge.case(name).expectation)

    def _resolve(self, name: str) -> Experiment | ReproError | None:
        """What params.yaml says now of an experiment; the error where it cannot be read."""
        if name in self.broken:
            return self.broken[name]
        raw = self.experiments[name].raw if name in self.experiments else {}
        return _resolved(self.project, name, raw, self._shared) if raw else None

    @cached_property
    def _shared(self) -> Mapping[str, Any]:
        return read_yaml(self.project.params)

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
        return self._claim(name).dataset

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


def load_results(project: Project, *, thorough: bool = False, cache: bool = True) -> Results:
    """Records and experiments of a checkout; what cannot be read is listed, for the others can.

    Args:
        project: the project.
        thorough: for the gate, which also recomputes intervals and hashes weights.
        cache: use and renew the judgements of earlier commands.
    """
    _ = project.published.rows  # one error of a page, not one of each experiment
    with_params, with_record = (
        set(experiment_names(project)),
        {one.stem for one in project.rows.glob("*.json")},
    )
    names = sorted(with_params | with_record)
    kept, own = open_cache(project) if cache else NOTHING_KEPT, stamps(project, names)
    claims, damaged, broken = read_claims(project, with_params, with_record, kept, own)
    declared = [name for name in names if claims[name].declared is not None]
    measured = [name for name in names if claims[name].recorded is not None]
    return Results(
        project=project,
        records=Lazy(measured, lambda name: read_row(project.record(name))),
        experiments=Lazy(declared, lambda name: read_declared(project, name)),
        damaged=damaged,
        broken=broken,
        thorough=thorough,
        cache=kept,
        stamps=own,
        read=claims,
    )


def declared_experiments(project: Project) -> tuple[dict[str, Declared], Broken]:
    """Name -> what experiments/<name>/params.yaml declares; and the folders where it cannot be read.

    Nothing is resolved: 140 files in 0.2 s. Raises ParamsError for a page that cannot be read.
    """
    _ = project.published.rows  # one error of a page, not one of each experiment
    return read_each(experiment_names(project), lambda name: read_declared(project, name))


def _resolved(
    project: Project, name: str, raw: Mapping[str, Any], shared: Mapping[str, Any]
) -> Experiment | ReproError:
    try:
        return resolve(name, raw, shared, project.params_of(name))
    except ReproError as error:
        return error
