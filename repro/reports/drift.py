"""Is a record still about what the experiment's params.yaml says? A result of other params proves nothing."""

from __future__ import annotations

from repro.errors import ReproError
from repro.params import Experiment
from repro.params.parse import parse
from repro.records import Expected, Record
from repro.records.make import doubts, expected, published_metrics
from repro.reports.results import Results

# Of no effect on the number: what is told about it, compared below, measured apart, or checked by the stages.
OWN = frozenset({"name", "note", "rows", "expect", "also", "facts"})


def drift(results: Results, record: Record) -> str:
    """What has changed in params.yaml since this was measured; empty where nothing has, or none is there."""
    now = results.resolved.get(record.experiment)
    if now is None:
        return ""
    if isinstance(now, ReproError):
        return f"its params.yaml cannot be read: {now.what}"
    try:
        then = parse(Experiment, record.params, record.experiment)
    except ReproError as error:
        return f"measured with params that this version does not know ({error.what}): {_measure(record)}"
    return _changed(record, then, now) or _rejudged(record, now)


def _changed(record: Record, then: Experiment, now: Experiment) -> str:
    """Parsed, not as they are written: a key that is added later with a neutral default changes nothing."""
    keys = [key for key in vars(now) if key not in OWN and getattr(then, key) != getattr(now, key)]
    return f"params changed since it was measured ({', '.join(keys)}): {_measure(record)}" if keys else ""


def _rejudged(record: Record, now: Experiment) -> str:
    """What needs no new measurement: the rows it stands for, the number it should be, the images it needs."""
    again = f"since it was recorded: `repro record {record.experiment}`"
    if record.rows != now.rows:
        return f"rows changed {again}"
    if _aim(record.expectation) != _aim(expected(now, record.kind, published_metrics(now)[0])):
        return f"the expected number changed {again}"
    if record.kind == "cost":
        return ""
    counted = {"split": record.split, "n_images": record.n_images}
    return next(iter(doubts(now, counted, now.protocol)), "")


def _aim(wanted: Expected | None) -> tuple[str, float, float] | None:
    return (wanted.metric, wanted.value, wanted.band) if wanted else None


def _measure(record: Record) -> str:
    return f"`dvc repro experiments/{record.experiment}`"
