"""The gate: does what is recorded still hold? From records alone, without network, torch or DVC.

Exit status 0: everything asked for passes; 1: something regressed; 2: something cannot be compared. A record
that was edited, is not finite, lacks its metric, or stands for a published row that has changed since is
never a pass. Unmeasured experiments are counted, and fail only when they were asked for by name, by data
set or with --all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from repro import limits
from repro.errors import ParamsError
from repro.params import matching
from repro.published import rows
from repro.records import PASSING, Band, Record, Verdict, disagreement, seed_band, verdict
from repro.records.make import measured_value, sizes_of
from repro.records.sizes import size_text, size_verdict
from repro.reports.drift import drift
from repro.reports.results import Results

NO_REFERENCE = "nothing to compare with: no published number, and no `expect:` in its params.yaml"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The verdict on one experiment; numbers are percent points of `metric`."""

    experiment: str
    verdict: Verdict
    reason: str
    dataset: str = ""
    rows: tuple[str, ...] = ()
    metric: str = "mIoU"
    measured: float | None = None
    reference: float | None = None
    band: float | None = None
    file: str = ""
    line: int = 1

    @property
    def passes(self) -> bool:
        return self.verdict in PASSING

    @property
    def difference(self) -> float | None:
        if self.measured is None or self.reference is None:
            return None
        return self.measured - self.reference


def check(
    results: Results,
    *,
    names: Sequence[str] = (),
    dataset: str | None = None,
    everything: bool = False,
) -> list[Finding]:
    """Findings on the named experiments, on those of a data set, on all, or (default) on all measured."""
    return [finding(results, name) for name in chosen(results, names, dataset, everything)]


def chosen(results: Results, names: Sequence[str], dataset: str | None, everything: bool) -> list[str]:
    """The experiments to look at, sorted."""
    known = results.names()
    if names:
        return matching(names, known)
    if dataset is not None:
        results.require_dataset(dataset)
        row_names = {results.by_row.get(row.id) for row in results.rows_of(dataset)}
        return [name for name in known if results.dataset(name) == dataset or name in row_names]
    return known if everything else sorted({*results.records, *results.damaged})


def finding(results: Results, name: str) -> Finding:
    """The verdict on one experiment, made anew from its record."""
    record = results.records.get(name)
    if name in results.damaged:
        return about(results, name, "incomparable", str(results.damaged[name]).splitlines()[0])
    if record is None and name in results.broken:
        why = f"its params.yaml cannot be read: {results.broken[name].what}"
        return about(results, name, "incomparable", why)
    if record is None:
        return about(results, name, "unmeasured", "nothing recorded")
    return _sized(results, record) if record.kind == "cost" else _judged(results, record)


def about(
    results: Results,
    name: str,
    decided: Verdict,
    reason: str,
    *,
    metric: str = "mIoU",
    measured: float | None = None,
    reference: float | None = None,
    band: float | None = None,
) -> Finding:
    """A finding with everything that is known of the experiment apart from its numbers."""
    record, declared = results.records.get(name), results.experiments.get(name)
    file = f"experiments/{name}/params.yaml"
    return Finding(
        experiment=name,
        verdict=decided,
        reason=reason,
        dataset=results.dataset(name),
        rows=record.rows if record else declared.rows if declared else (),
        metric=metric,
        measured=measured,
        reference=reference,
        band=band,
        file=file,
        line=row_line(results.project.root / file),
    )


def _sized(results: Results, record: Record) -> Finding:
    """An experiment without accuracy: every printed size against the network's own."""
    found = sizes_of(record.rows, record.cost, where=f"experiments/{record.experiment}/params.yaml")
    shown = next((size for size in found if not size.holds), found[-1] if found else None)
    doubted = drift(results, record) or ("" if found else "no row of it prints a size")
    return about(
        results,
        record.experiment,
        "incomparable" if doubted else size_verdict(found),
        doubted or "; ".join(map(size_text, found)),
        metric=shown.name if shown else "params_M",
        measured=shown.built if shown else None,
        reference=shown.printed if shown else None,
        band=shown.digit if shown else None,
    )


def _judged(results: Results, record: Record) -> Finding:
    expected = record.expectation
    measured = measured_value(record.metrics, expected)
    seeds = results.seeds(record)
    reference = expected.value if expected else None
    doubted = doubt(results, record, seeds) or ("" if expected else NO_REFERENCE)
    band = seed_band(seeds) or Band(
        value=expected.band if expected else 0.0, source=expected.source if expected else "no reference"
    )
    decided = verdict(
        measured=measured, reference=reference, band=band.value, comparable=not doubted, seeds=seeds
    )
    if measured is None:
        doubted, decided = f"the record has no {record.primary}", "incomparable"
    return about(
        results,
        record.experiment,
        decided,
        doubted or band.source,
        metric=record.primary,
        measured=measured,
        reference=reference,
        band=band.value if expected else None,
    )


def doubt(results: Results, record: Record, seeds: Sequence[float]) -> str:
    """Why a record must not be compared with anything; empty when it may be. `seeds`: their values."""
    if record.kind == "smoke":
        return "a smoke run: too short to mean anything"
    known = rows()
    current: dict[str, float] = {}
    for row_id in record.rows:
        if row_id not in known:
            return f"row {row_id} is on no published page"
        current = dict(known[row_id].metrics) | current
    if current != dict(record.published):
        return "the published row was changed after this was recorded: `repro record` again"
    wanted = record.expectation
    disagreed = disagreement(seeds, wanted.band) if wanted else ""
    if disagreed:
        return disagreed
    if record.verdict == "incomparable" and wanted:
        return record.notes[-1] if record.notes else "recorded as incomparable"  # remarks on the row go first
    return drift(results, record)


def exit_code(findings: Iterable[Finding], *, strict: bool) -> int:
    """0, 1 or 2 as the module says; `strict` makes unmeasured experiments count as not comparable."""
    verdicts: Collection[str] = {one.verdict for one in findings}
    if "regressed" in verdicts:
        return 1
    if "incomparable" in verdicts or (strict and "unmeasured" in verdicts):
        return 2
    return 0


def row_line(path: Path) -> int:
    """1-based line of `rows:` (or of the first key) in a params.yaml: where an annotation points."""
    try:
        lines = limits.read_text(path, limits.YAML_BYTES, error=ParamsError).splitlines()
    except (FileNotFoundError, ParamsError):
        return 1
    starts = [i for i, text in enumerate(lines, 1) if text.startswith("rows:")]
    keys = [i for i, text in enumerate(lines, 1) if text and not text.startswith("#")]
    return (starts or keys or [1])[0]


def summary(findings: Sequence[Finding]) -> str:
    """'3 reproduced, 1 regressed'."""
    order = ("regressed", "incomparable", "improved", "reproduced", "unmeasured")
    counts = {name: sum(one.verdict == name for one in findings) for name in order}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing to check"
