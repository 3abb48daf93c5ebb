"""Is a record still about what the experiment's params.yaml says? A result of other params proves nothing."""

from __future__ import annotations

from collections.abc import Iterator

from repro.errors import ReproError
from repro.judgement.case import Case
from repro.params import Experiment
from repro.records import Expected, Record
from repro.records.build import expected, mismatches, published_metrics

# Of no effect on the number: what is said about it, compared below, measured apart, or checked by the stages.
OWN = frozenset({"name", "note", "rows", "expect", "also", "facts"})


def drift(case: Case) -> Iterator[str]:
    """What has changed in params.yaml since this was measured; nothing where nothing has."""
    yield from other_params(case)
    if not isinstance(case.now, ReproError | None) and not isinstance(case.then, ReproError):
        yield from _rejudged(case.record, case.now)


def other_params(case: Case) -> Iterator[str]:
    """What has changed so that it must be measured again: its number is of another experiment."""
    record, now, then = case.record, case.now, case.then
    if now is None:
        yield "its params.yaml is missing: nothing says what it should be"
    elif isinstance(now, ReproError):
        yield f"its params.yaml cannot be read: {now.what}"
    elif isinstance(then, ReproError):
        yield f"measured with params that this version does not know ({then.what}): {_measure(record)}"
    else:
        yield from _changed(record, then, now)


def _changed(record: Record, then: Experiment, now: Experiment) -> Iterator[str]:
    """Parsed, not as they are written: a key that is added later with a neutral default changes nothing."""
    keys = [key for key in vars(now) if key not in OWN and getattr(then, key) != getattr(now, key)]
    keys += [f"protocol {name}" for name in then.also.keys() & now.also if then.also[name] != now.also[name]]
    if keys:
        yield f"params changed since it was measured ({', '.join(keys)}): {_measure(record)}"


def _rejudged(record: Record, now: Experiment) -> Iterator[str]:
    """What needs no new measurement: the rows it stands for, the number it should be, the images it needs."""
    again = f"since it was recorded: `repro record {record.experiment}`"
    if record.rows != now.rows:
        yield f"rows changed {again}"
    if _aim(record.expectation) != _aim(expected(now, record.kind, published_metrics(now)[0])):
        yield f"the expected number changed {again}"
    if record.kind == "cost":
        return
    yield from mismatches(now, {"split": record.split, "n_images": record.n_images}, now.protocol)
    for name, one in record.also.items():
        yield from mismatches(
            now, {"split": record.split, "n_images": one.n_images}, now.also.get(name, now.protocol)
        )


def _aim(wanted: Expected | None) -> tuple[str, float, float] | None:
    return (wanted.metric, wanted.value, wanted.band) if wanted else None


def _measure(record: Record) -> str:
    return f"`dvc repro experiments/{record.experiment}`"
