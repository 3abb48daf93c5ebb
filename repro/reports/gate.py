"""The gate: does what is recorded still hold? From files alone, without network, torch or DVC.

Exit status 0: everything asked for passes; 1: something regressed or drifted, or a printed cost differs; 2:
something cannot be compared, or nothing was. `repro.judgement` decides on each result. Unmeasured experiments
are counted, and fail only when they were asked for by name, by data set or with --all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from repro.errors import ParamsError
from repro.io import limits
from repro.params import matching
from repro.records import FAILING, PASSING, Record, Verdict
from repro.records.printed_costs import COSTS
from repro.records.tier import TIERS, tier_of
from repro.reports.costs import all_compared, cost_counts
from repro.reports.results import Results

NOTHING = "nothing was compared"


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
    published: float | None = None  # what a page prints of the metric
    interval: tuple[float, float] | None = None
    interval_kind: str = ""
    file: str = ""
    line: int = 1
    tier: str = ""  # of evidence, see repro.records.tier; "": nothing is measured or published
    not_recomputed: tuple[str, ...] = ()  # numbers that could not be recomputed

    @property
    def passes(self) -> bool:
        return self.verdict in PASSING

    @property
    def verdict_and_tier(self) -> str:
        """'reproduced (re-evaluated)'; of a failing verdict only that."""
        return f"{self.verdict} ({self.tier})" if self.passes and self.tier else self.verdict

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
    found = [finding(results, name) for name in chosen(results, names, dataset, everything)]
    results.cache.save()
    return found


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
    """The verdict on one experiment, computed from its record."""
    raw = results.kept("finding", name, lambda: asdict(_finding(results, name)))
    lists = {key: tuple(raw[key]) for key in ("rows", "not_recomputed")}
    return Finding(**{**raw, **lists, "interval": tuple(raw["interval"]) if raw["interval"] else None})


def _finding(results: Results, name: str) -> Finding:
    if name in results.damaged:
        return about(results, name, "incomparable", str(results.damaged[name]).splitlines()[0])
    if name not in results.records and name in results.broken:
        why = f"its params.yaml cannot be read: {results.broken[name].what}"
        return about(results, name, "incomparable", why)
    if name not in results.records:
        return about(results, name, "unmeasured", "nothing recorded", tier=_tier(results, name, seeds=0))
    return _judged(results, results.records[name])


def _tier(results: Results, name: str, *, seeds: int) -> str:
    published = name in results.by_row.values()
    return tier_of(results.records.get(name), seeds=seeds, published=published) or ""


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
    tier: str = "",
    not_recomputed: tuple[str, ...] = (),
) -> Finding:
    """A finding with everything that is known of the experiment apart from its numbers."""
    record, declared = results.records.get(name), results.experiments.get(name)
    claimed = record.rows if record else declared.rows if declared else ()
    known = results.published.rows
    printed = (known[row_id].metrics for row_id in claimed if row_id in known)
    file = f"experiments/{name}/params.yaml"
    return Finding(
        experiment=name,
        verdict=decided,
        reason=reason,
        dataset=results.dataset(name),
        rows=claimed,
        metric=metric,
        measured=measured,
        reference=reference,
        band=band,
        published=next((metrics[metric] for metrics in printed if metric in metrics), None),
        interval=record.intervals.get(metric) if record else None,
        interval_kind=record.interval_kind if record and metric in record.intervals else "",
        file=file,
        line=row_line(results.project.root / file),
        tier=tier,
        not_recomputed=not_recomputed,
    )


def _judged(results: Results, record: Record) -> Finding:
    found = results.judge.judge(record.experiment)
    return about(
        results,
        record.experiment,
        found.verdict,
        found.reason,
        metric=found.metric,
        measured=found.measured,
        reference=found.reference,
        band=found.band,
        tier=_tier(results, record.experiment, seeds=len(found.seeds)),
        not_recomputed=found.not_recomputed,
    )


def exit_code(findings: Iterable[Finding], *, strict: bool, allow_empty: bool = True) -> int:
    """0, 1 or 2 as the module says.

    `strict` makes unmeasured experiments count as not comparable; without `allow_empty` so does a project in
    which nothing was measured.
    """
    verdicts: set[str] = {one.verdict for one in findings}
    if verdicts & FAILING:
        return 1
    if verdicts <= {"unmeasured", "known difference"} and not allow_empty:
        return 2
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
    """'1 reproduced, 2 holds'."""
    order = (
        *("regressed", "drifted", "differs", "incomparable", "improved", "reproduced", "holds", "unmeasured"),
        "known difference",
    )
    counts = {name: sum(one.verdict == name for one in findings) for name in order}
    texts = (
        f"{count} {name}" + "s" * (name == "known difference" and count > 1)
        for name, count in counts.items()
        if count
    )
    return ", ".join(texts) or NOTHING


def headline(results: Results) -> str:
    """'1 of 133 published mIoU (1 retrained, one run), 43 of 46 parameters, 1 of 1 FLOPs reproduced'.

    Of the rows that experiments stand for, never own numbers; costs only where the networks are counted.
    """
    found = of_rows(results)
    counts = Counter(one.verdict for one in found)
    better = f" ({counts['improved']} improved)" if counts["improved"] else ""
    accuracy = f"{counts['reproduced']} of {len(found)} published mIoU{better}"
    accuracy = " ".join(filter(None, [accuracy, tiers_text(passing_tiers(found))]))
    return f"{', '.join([accuracy, *cost_counts(results)])} reproduced"


def of_rows(results: Results, names: Sequence[str] = ()) -> list[Finding]:
    """The finding on each published row with an mIoU that an experiment stands for; `names` limit them."""
    rows = results.published.rows
    claimed = [
        name
        for row, name in results.by_row.items()
        if row in rows and "mIoU" in rows[row].metrics and (not names or name in names)
    ]
    found = {name: finding(results, name) for name in set(claimed)}
    return [found[name] for name in claimed]


def passing_tiers(found: Iterable[Finding]) -> Counter[str]:
    """Count reproduced or improved findings by tier."""
    return Counter(one.tier for one in found if one.verdict in ("reproduced", "improved"))


def tiers_text(counts: Mapping[str, int]) -> str:
    """'(2 re-evaluated; 1 retrained, one run)', the strongest tier last; "" without any."""
    texts = [f"{counts[tier]} {tier}" for tier in TIERS if counts.get(tier)]
    return f"({'; '.join(texts)})" if texts else ""


def cost_findings(results: Results, names: Iterable[str] | None = None) -> list[Finding]:
    """Findings on printed costs that the networks of `names` (default: all) do not have; known ones pass.

    Records of `measure: cost` have a finding already.
    """

    def has_one(name: str) -> bool:
        return name in results.records and results.records[name].kind == "cost"

    return [
        about(
            results,
            name,
            one.verdict,
            one.known or f"the network of row {one.row} does not have the printed {COSTS[one.name].title}",
            metric=one.name,
            measured=one.built,
            reference=one.printed,
            band=one.band,
        )
        for name, one in all_compared(results, names)
        if not one.holds and not has_one(name)
    ]
