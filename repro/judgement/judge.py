"""Judgement of a result, used by recording, import, gate, tables, report and MLflow.

A result is comparable if its files are consistent (`checks`) and it was measured as params.yaml specifies now
(`incomparable_reasons`). The verdict then depends on its distance from the expected number. The measured
number is computed from the confusion matrices, never taken from the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import cast

from repro.errors import ReproError
from repro.evaluation.recompute import compared_metric
from repro.judgement.case import Case
from repro.judgement.checks import contradictions, not_recomputed
from repro.judgement.evidence import Evidence, folder_evidence
from repro.judgement.outdated import outdated, outdated_measurement
from repro.judgement.peers import Peers, collect_facts, conflicts, facts_of
from repro.judgement.selection import not_selected, selected, selection_note
from repro.params import Band, Experiment, Project, read_yaml
from repro.params.experiment import resolve
from repro.records import Record, Verdict, disagreement, families, seed_band, seeds_of, verdict
from repro.records.build import costs_of, measured_value, why_undefined
from repro.records.printed_costs import cost_text, cost_verdict
from repro.records.seeds import is_other_choice

KEPT = 256  # parsed results in memory: ten thousand would be gigabytes
NO_REFERENCE = "no reference: no published number, and no `expect:` in its params.yaml"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict and its reason; `measured`, `reference`, `band` and `seeds` are percent of `metric`.

    `not_recomputed` lists numbers that could not be recomputed.
    """

    verdict: Verdict
    reason: str
    metric: str
    measured: float | None
    reference: float | None
    band: float | None
    seeds: tuple[float, ...] = ()
    not_recomputed: tuple[str, ...] = ()


def from_project(project: Project) -> Callable[[str], Experiment | ReproError | None]:
    """Return a function from a name to its current experiment, the error in its params, or None."""

    root = cache(lambda: read_yaml(project.params))  # reading it takes longer than a judgement

    def experiment(name: str) -> Experiment | ReproError | None:
        path = project.params_of(name)
        if not path.is_file():
            return None
        try:
            return resolve(name, read_yaml(path), root(), path)
        except ReproError as error:
            return error

    return experiment


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Judge of the records of a project; results are cached.

    Attributes:
        project: The project.
        records: Records by experiment.
        experiment: Returns the current experiment by name, see `from_project`.
        thorough: Also recompute intervals and hash weights, which takes seconds per result.
        evidence: Returns the files of an experiment; default: those in its folder.
        peers: What connects the records; default: read from the records, all of them.
    """

    project: Project
    records: Mapping[str, Record]
    experiment: Callable[[str], Experiment | ReproError | None]
    thorough: bool = True
    evidence: Callable[[str], Evidence] | None = None
    peers: Peers | None = None
    _cases: dict[str, Case] = field(default_factory=dict)
    _contradictions: dict[str, str] = field(default_factory=dict)

    @cached_property
    def _peers(self) -> Peers:
        if self.peers is not None:
            return self.peers
        lines = ((name, facts_of(one, self._evidence(name).lock)) for name, one in self.records.items())
        found = families(self.records.values())
        names = {key: tuple(one.experiment for one in family) for key, family in found.items()}
        return Peers(families=names, facts=collect_facts(lines))

    def _family(self, record: Record) -> list[Record]:
        """The record and those of its other seeds."""
        names = self._peers.families.get(record.family_key, ())
        return seeds_of(record, [self.records[name] for name in names if name in self.records])

    def case(self, name: str) -> Case:
        """Return the record of an experiment and its evidence."""
        if name not in self._cases:
            if len(self._cases) >= KEPT:
                self._cases.clear()
            record = self.records[name]
            now, evidence = self.experiment(name), self._evidence(name)
            self._cases[name] = Case(project=self.project, record=record, current=now, evidence=evidence)
        return self._cases[name]

    def _evidence(self, name: str) -> Evidence:
        if self.evidence:
            return self.evidence(name)
        return folder_evidence(self.project, name, thorough=self.thorough)

    def contradiction(self, name: str) -> str:
        """Return the first contradiction in the files of a result, "" if it is consistent."""
        if name not in self._contradictions:
            case = self.case(name)
            others = conflicts(facts_of(case.record, case.evidence.lock), self._peers.facts)
            self._contradictions[name] = next(contradictions(case), "") or next(others, "")
        return self._contradictions[name]

    def outdated(self, name: str) -> str:
        """Return why an experiment must be measured or recorded again, or ""."""
        return self.contradiction(name) or next(outdated(self.case(name)), "")

    def judge(self, name: str) -> Judgement:
        """Judge a recorded experiment."""
        case = self.case(name)
        record, wanted = case.record, case.expectation
        if record.kind == "cost":
            return _judge_costs(case, self.contradiction(name))
        family = self._family(record)
        numbers = [(one, _number(self.case(one.experiment), record.primary)) for one in family]
        runs = [(int(one.params.get("seed", 0)), value) for one, value in numbers if value is not None]
        seeds = tuple(value for _, value in runs)
        doubt = (
            self.contradiction(name)
            or next(incomparable_reasons(case, seeds), "")
            or self._invalid_seed(name, family)
        )
        measured, chosen = _number(case, record.primary), selected(case, runs)
        if not doubt and measured is None:
            doubt = f"{record.primary} cannot be recomputed: `dvc pull` fetches confusion.npz"
        spread = seed_band(seeds) if chosen is None else None  # that of a single run
        value = wanted.band if wanted else 0.0
        band = spread or Band(value=value, source=wanted.source if wanted else NO_REFERENCE)
        decided = verdict(
            measured=(measured or 0.0) if chosen is None else chosen,
            reference=wanted.value if wanted else None,
            band=band.value,
            published=bool(record.published),
            comparable=not doubt,
            seeds=seeds if chosen is None else (),
        )
        return Judgement(
            verdict=decided,
            reason=doubt or band.source + selection_note(case, chosen),
            metric=record.primary,
            measured=measured_value(record.metrics, wanted) if measured is None else measured,
            reference=wanted.value if wanted else None,
            band=band.value if wanted else None,
            seeds=seeds,
            not_recomputed=() if doubt else not_recomputed(case),
        )

    def number(self, name: str, metric: str) -> float | None:
        """Return a metric computed from the matrices of a result, by the page's formula if it has one."""
        return _number(self.case(name), metric)

    def _invalid_seed(self, name: str, family: list[Record]) -> str:
        """Why another seed of the family is invalid, or ""."""
        for other in (one.experiment for one in family if one.experiment in self.records.keys() - {name}):
            if wrong := self.contradiction(other) or next(outdated_measurement(self.case(other)), ""):
                return f"seed {other}: {wrong}"
        return ""


def judge_record(project: Project, record: Record) -> Judgement:
    """Judge a record together with the seeds among the project's records."""
    from repro.records import read_records

    records, _ = read_records(project.rows)
    judge = Judge(
        project=project,
        records={**records, record.experiment: record},
        experiment=from_project(project),
        thorough=False,
    )
    return judge.judge(record.experiment)


def _judge_costs(case: Case, contradiction: str) -> Judgement:
    """Judge an experiment with `measure: cost`: printed costs against those of the network."""
    record = case.record
    where = f"experiments/{record.experiment}/params.yaml"
    found = costs_of(case.project.published, record.rows, record.cost, where=where)
    shown = next((one for one in found if not one.holds), found[-1] if found else None)
    doubt = contradiction or next(outdated(case), "") or ("" if found else "none of its rows prints a cost")
    return Judgement(
        verdict="incomparable" if doubt else cost_verdict(found),
        reason=doubt or "; ".join(map(cost_text, found)),
        metric=shown.name if shown else "params_M",
        measured=shown.built if shown else None,
        reference=shown.printed if shown else None,
        band=shown.band if shown else None,
    )


def _number(case: Case, metric: str) -> float | None:
    """A metric computed from the matrices; None if they do not determine it."""
    try:
        return cast("float | None", case.main.recomputed.get(compared_metric(metric, case.main.protocol)))
    except (ReproError, ValueError, TypeError, LookupError, MemoryError):
        return None


def incomparable_reasons(case: Case, seeds: tuple[float, ...]) -> Iterator[str]:
    """Yield why a consistent result is not comparable with its reference."""
    record, wanted = case.record, case.expectation
    if record.kind == "smoke":
        yield "a smoke run, too short for a result"
    if compared_metric(record.primary, case.main.protocol) not in record.metrics:
        yield why_undefined(record.undefined, wanted) or f"the record has no {record.primary}"
    yield from _published(case)
    if not_ours := not_selected(case, len(seeds)):
        yield not_ours
    disagreed = disagreement(seeds, wanted.band) if wanted else ""
    if disagreed:
        yield disagreed
    if record.verdict == "incomparable" and wanted and not is_other_choice(record):
        yield record.notes[-1] if record.notes else "recorded as incomparable"  # after remarks on the row
    yield from outdated(case)
    if wanted is None:
        yield NO_REFERENCE


def _published(case: Case) -> Iterator[str]:
    """The published rows exist and have the numbers in the record."""
    record, known, current = case.record, case.project.published.rows, dict[str, float]()
    for row_id in record.rows:
        if row_id not in known:
            yield f"row {row_id} is not on any published page"
            return
        current = dict(known[row_id].metrics) | current
    if current != dict(record.published):
        yield "the published row changed since it was recorded: `repro record` again"
