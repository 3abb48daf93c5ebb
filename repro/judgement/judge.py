"""The one judgement of a result, whoever asks: recording, importing, the gate, tables, the report, MLflow.

A number counts when the files it comes from agree with each other (`checks`), when it was measured in the way
that params.yaml names now (`obstacles`), and then by its distance from what is expected. The number itself is
the one that the confusion matrices give, never the one that a record claims.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import cast

from repro.errors import ReproError
from repro.evaluation.recompute import compared_metric
from repro.judgement.case import Case
from repro.judgement.checks import contradictions, unseen
from repro.judgement.drift import drift, other_params
from repro.judgement.evidence import Evidence, folder_evidence
from repro.judgement.peers import Known, disagreements, gather, said
from repro.params import Experiment, Project, read_yaml
from repro.params.experiment import resolve
from repro.published import rows
from repro.records import Band, Record, Verdict, disagreement, families, seed_band, seeds_of, verdict
from repro.records.build import measured_value, sizes_of, why_undefined
from repro.records.verdict import size_text, size_verdict

NO_REFERENCE = "nothing to compare with: no published number, and no `expect:` in its params.yaml"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict and its reason; numbers are percent points of `metric`, `seeds` those of its family.

    `unseen` says what could not be recomputed here.
    """

    verdict: Verdict
    reason: str
    metric: str
    measured: float | None
    reference: float | None
    band: float | None
    seeds: tuple[float, ...] = ()
    unseen: tuple[str, ...] = ()


def from_project(project: Project) -> Callable[[str], Experiment | ReproError | None]:
    """A function that gives an experiment as params.yaml has it now, or why it cannot be read."""

    root = cache(lambda: read_yaml(project.params))  # once: reading it costs more than a judgement

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
    """Judges the records of a project; each case is looked at once.

    `experiment` gives what params.yaml says of a name now. `thorough` also recomputes intervals and hashes
    weights, which takes seconds for a result.
    """

    project: Project
    records: Mapping[str, Record]
    experiment: Callable[[str], Experiment | ReproError | None]
    thorough: bool = True
    evidence: Callable[[str], Evidence] | None = None
    _cases: dict[str, Case] = field(default_factory=dict)
    _sound: dict[str, str] = field(default_factory=dict)

    @cached_property
    def families(self) -> dict[str, list[Record]]:
        """Family key -> the records that differ in their seed alone."""
        return families(self.records.values())

    def case(self, name: str) -> Case:
        """The record of an experiment and its evidence."""
        if name not in self._cases:
            record = self.records[name]
            now, evidence = self.experiment(name), self._evidence(name)
            self._cases[name] = Case(record=record, now=now, evidence=evidence)
        return self._cases[name]

    def _evidence(self, name: str) -> Evidence:
        if self.evidence:
            return self.evidence(name)
        return folder_evidence(self.project, name, thorough=self.thorough)

    @cached_property
    def _known(self) -> Known:
        """What all records say of the files that their dvc.lock names."""
        return gather(
            (name, said(record, self._evidence(name).lock)) for name, record in self.records.items()
        )

    def contradiction(self, name: str) -> str:
        """The first contradiction in the files of a result; empty where it is sound."""
        if name not in self._sound:
            case = self.case(name)
            others = disagreements(said(case.record, case.evidence.lock), self._known)
            self._sound[name] = next(contradictions(case), "") or next(others, "")
        return self._sound[name]

    def outdated(self, name: str) -> str:
        """Why an experiment must be measured or recorded again; empty where it need not."""
        return self.contradiction(name) or next(drift(self.case(name)), "")

    def judge(self, name: str) -> Judgement:
        """The judgement of a recorded experiment."""
        case = self.case(name)
        record, wanted = case.record, case.record.expectation
        if record.kind == "cost":
            return _sized(case, self.contradiction(name))
        family = seeds_of(record, self.families.get(record.family_key, ()))
        numbers = (_number(self.case(one.experiment), record.primary) for one in family)
        seeds = tuple(value for value in numbers if value is not None)
        doubt = (
            self.contradiction(name) or next(obstacles(case, seeds), "") or self._doubted_seed(name, family)
        )
        measured = _number(case, record.primary)
        if not doubt and measured is None:
            doubt = f"{record.primary} cannot be recomputed here: `dvc pull` brings confusion.npz"
        spread = seed_band(seeds)
        value = wanted.band if wanted else 0.0
        band = spread or Band(value=value, source=wanted.source if wanted else NO_REFERENCE)
        decided = verdict(
            measured=0.0 if measured is None else measured,
            reference=wanted.value if wanted else None,
            band=band.value,
            published=bool(record.published),
            comparable=not doubt,
            seeds=seeds,
        )
        return Judgement(
            verdict=decided,
            reason=doubt or band.source,
            metric=record.primary,
            measured=measured_value(record.metrics, wanted) if measured is None else measured,
            reference=wanted.value if wanted else None,
            band=band.value if wanted else None,
            seeds=seeds,
            unseen=() if doubt else unseen(case),
        )

    def number(self, name: str, metric: str) -> float | None:
        """What the matrices of a result give of a published metric, by the page's formula if it has one."""
        return _number(self.case(name), metric)

    def _doubted_seed(self, name: str, family: list[Record]) -> str:
        """Why one of the other seeds cannot be believed, whose number would count."""
        others = [
            one.experiment for one in family if one.experiment != name and one.experiment in self.records
        ]
        doubts = (
            (other, self.contradiction(other) or next(other_params(self.case(other)), "")) for other in others
        )
        return next((f"seed {other}: {doubt}" for other, doubt in doubts if doubt), "")


def judge_record(project: Project, record: Record) -> Judgement:
    """The judgement of one record, of which the others of the project are the seeds."""
    from repro.records import read_records

    records, _ = read_records(project.rows)
    judge = Judge(
        project=project,
        records={**records, record.experiment: record},
        experiment=from_project(project),
        thorough=False,
    )
    return judge.judge(record.experiment)


def _sized(case: Case, contradiction: str) -> Judgement:
    """An experiment without accuracy: every printed size against the network's own."""
    record = case.record
    found = sizes_of(record.rows, record.cost, where=f"experiments/{record.experiment}/params.yaml")
    shown = next((size for size in found if not size.holds), found[-1] if found else None)
    doubt = contradiction or next(drift(case), "") or ("" if found else "no row of it prints a size")
    return Judgement(
        verdict="incomparable" if doubt else size_verdict(found),
        reason=doubt or "; ".join(map(size_text, found)),
        metric=shown.name if shown else "params_M",
        measured=shown.built if shown else None,
        reference=shown.printed if shown else None,
        band=shown.digit if shown else None,
    )


def _number(case: Case, metric: str) -> float | None:
    """What the matrices give of a metric that is compared; None where they do not."""
    try:
        return cast("float | None", case.main.recomputed.get(compared_metric(metric, case.main.protocol)))
    except (ReproError, ValueError, TypeError, LookupError, MemoryError):
        return None


def obstacles(case: Case, seeds: tuple[float, ...]) -> Iterator[str]:
    """Why a sound result must not be compared with what is expected of it."""
    record, wanted = case.record, case.record.expectation
    if record.kind == "smoke":
        yield "a smoke run: too short to mean anything"
    if compared_metric(record.primary, case.main.protocol) not in record.metrics:
        yield why_undefined(record.undefined, wanted) or f"the record has no {record.primary}"
    yield from _published(record)
    disagreed = disagreement(seeds, wanted.band) if wanted else ""
    if disagreed:
        yield disagreed
    if record.verdict == "incomparable" and wanted:
        yield record.notes[-1] if record.notes else "recorded as incomparable"  # remarks on the row go first
    yield from drift(case)
    if wanted is None:
        yield NO_REFERENCE


def _published(record: Record) -> Iterator[str]:
    """The rows it is about are on a page, and print what the record was compared with."""
    known, current = rows(), dict[str, float]()
    for row_id in record.rows:
        if row_id not in known:
            yield f"row {row_id} is on no published page"
            return
        current = dict(known[row_id].metrics) | current
    if current != dict(record.published):
        yield "the published row was changed after this was recorded: `repro record` again"
