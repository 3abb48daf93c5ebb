"""Changes of params.yaml since a result was recorded."""

from __future__ import annotations

from collections.abc import Iterator

from repro.errors import ParamsError, ReproError
from repro.judgement.case import Case
from repro.params import Experiment, ExternalExperiment, to_plain
from repro.params.program import External
from repro.params.protocol_words import protocol_differences
from repro.records import Expected, Record
from repro.records.build import mismatches, program_deps

# Keys without effect on the number, or compared separately.
IGNORED = frozenset({"name", "note", "rows", "expect", "also", "facts"})


def outdated(case: Case) -> Iterator[str]:
    """Yield changes that require measuring or recording again."""
    yield from outdated_measurement(case)
    if not isinstance(case.current, ReproError | None) and not isinstance(case.recorded, ReproError):
        yield from _outdated_record(case, case.record, case.current)


def outdated_measurement(case: Case) -> Iterator[str]:
    """Yield changes that require a new measurement."""
    record, current, recorded = case.record, case.current, case.recorded
    if current is None:
        yield "its params.yaml is missing"
    elif isinstance(current, ReproError):
        yield f"its params.yaml is invalid: {current.what}"
    elif isinstance(recorded, ReproError):
        yield f"measured with params that this version does not know ({recorded.what}): {_measure(record)}"
    else:
        yield from _changed(record, recorded, current)
        yield from _changed_files(case, current)


def _changed(record: Record, old: Experiment, new: Experiment) -> Iterator[str]:
    """Compares parsed params, so that a key added with a neutral default is not a change."""
    if type(old) is not type(new):
        yield f"measured by another kind of experiment: {_measure(record)}"
        return
    keys = [key for key in vars(new) if key not in IGNORED and _value(old, key) != _value(new, key)]
    both = old.also.keys() & new.also
    keys += [f"protocol {name}" for name in both if _under(old, name) != _under(new, name)]
    if keys:
        words = protocol_differences(to_plain(old.protocol), to_plain(new.protocol))
        words += [f"engine {one}" for one in protocol_differences(to_plain(old.engine), to_plain(new.engine))]
        how = f"; {', '.join(words)}" if words else ""
        yield f"params changed since it was measured ({', '.join(keys)}{how}): {_measure(record)}"


def _under(experiment: Experiment, name: str) -> tuple[object, str]:
    """What decides a number under a further protocol: its fields, and the command of a program."""
    if isinstance(experiment, ExternalExperiment):
        return experiment.also[name], experiment.external.predicting(name)[1].command
    return experiment.also[name], ""


def _value(experiment: Experiment, key: str) -> object:
    value = getattr(experiment, key)
    return value.defining() if isinstance(value, External) else value


def _changed_files(case: Case, current: Experiment) -> Iterator[str]:
    """Files of programs that are not as they were; they are hashed, never run."""
    inputs = case.record.provenance.get("inputs")
    if not isinstance(current, ExternalExperiment) or not isinstance(inputs, dict):
        return
    known = program_deps(inputs)
    deps = current.external.deps_under(case.record.also)  # never paths of a record
    found = {dep: case.evidence.dependency(dep) for dep in deps}
    changed = [dep for dep, digest in found.items() if digest is None or digest != known.get(dep)]
    if changed:
        yield f"files changed since it was measured ({', '.join(changed)}): {_measure(case.record)}"


def _outdated_record(case: Case, record: Record, now: Experiment) -> Iterator[str]:
    """Changes that only require recording again: rows, expected number, split and number of images."""
    again = f"since it was recorded: `repro record {record.experiment}`"
    if record.rows != now.rows:
        yield f"rows changed {again}"
    yield from _expected_number(case, now, again)
    if record.kind == "cost":
        return
    yield from mismatches(now, {"split": record.split, "n_images": record.n_images}, now.protocol)
    for name, one in record.also.items():
        yield from mismatches(
            now, {"split": record.split, "n_images": one.n_images}, now.also.get(name, now.protocol)
        )


def _expected_number(case: Case, now: Experiment, again: str) -> Iterator[str]:
    try:
        wanted = case.expected_now(now)
    except ParamsError as error:  # none of several is for its device
        yield f"{error.what}: {error.hint}"
        return
    if _reference(case.expectation) != _reference(wanted):
        yield f"the expected number changed {again}"


def _reference(wanted: Expected | None) -> tuple[str, float, float] | None:
    return (wanted.metric, wanted.value, wanted.band) if wanted else None


def _measure(record: Record) -> str:
    return f"`dvc repro experiments/{record.experiment}`"
