"""Consistency checks between the files of a result, its record and params.yaml.

Each check yields contradictions; an unreadable file is one too. A result whose files were all forged
consistently, including matrices and weights, cannot be detected: docs/reliability.md.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from repro.errors import RecordError, ReproError
from repro.evaluation.bootstrap import groups_of
from repro.evaluation.recompute import TOLERANCE, metric_names
from repro.judgement.case import Case, Measurement, mapping
from repro.judgement.evidence import COST, CSV, CURVE, LOCK, METRICS, NPZ
from repro.params import Experiment, ExternalExperiment, TrainedExperiment
from repro.params.experiment import num_classes
from repro.params.protocol import protocol_hash
from repro.records.build import predict_sha256, run_key_of
from repro.records.metrics_io import interval_kind, intervals, parse_curve, plain_metrics, undefined_metrics
from repro.records.schema import Cost, require

RUN_KEY, SHA256 = re.compile(r"[0-9a-f]{16}"), re.compile(r"[0-9a-f]{64}")
TABLES = ("IoU", "recall", "precision", "Dice")  # by class, in metrics.json


def contradictions(case: Case) -> Iterator[str]:
    """Yield all contradictions in the files of a result; none if it is consistent."""
    for check in COST_CHECKS if case.record.kind == "cost" else CHECKS:
        try:
            yield from check(case)
        except ReproError as error:
            yield error.what
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError) as error:
            yield f"its files are invalid: {type(error).__name__}: {error}"


def require_consistent(case: Case, *, hint: str) -> None:
    """Raise RecordError with the first contradiction in the files of a result."""
    for found in contradictions(case):
        raise RecordError(found, where=case.evidence.where, hint=hint)


def ranges(case: Case) -> Iterator[str]:
    """Percentages are finite and within 0..100."""
    for one in case.measurements:
        values: dict[str, float | None] = {**one.claim.metrics}
        values |= {f"IoU of {name}": value for name, value in one.claim.per_class.items()}
        values |= {
            f"{name}_{end}": value
            for name, pair in one.claim.intervals.items()
            for end, value in zip(("low", "high"), pair, strict=True)
        }
        for name, value in values.items():
            if value is not None and not (math.isfinite(value) and 0 <= value <= 100):
                yield f"{one.folder}{name} is {value:g}, not a percentage"
        for name, (low, high) in one.claim.intervals.items():
            if low > high:
                yield f"the interval of {one.folder}{name} is {low:g} to {high:g}"


def metrics_file(case: Case) -> Iterator[str]:
    """metrics.json agrees with the record."""
    record = case.record
    for one in case.measurements:
        found, name = one.metrics, one.folder + METRICS
        if found is None:
            yield f"{name} is missing"
            continue
        claimed: dict[str, object] = {
            "the metrics": dict(one.claim.metrics),
            "the intervals": {key: tuple(pair) for key, pair in one.claim.intervals.items()},
            "the kind of the intervals": one.claim.interval,
            "the undefined metrics": dict(one.claim.undefined),
            "IoU": dict(one.claim.per_class),
            "n_images": one.claim.n_images,
            "protocol": one.claim.protocol_hash,
            "split": record.split,
            "dataset_fingerprint": record.dataset_fingerprint,
            "model_sha256": record.model_sha256,
        }
        stated = {
            "the metrics": plain_metrics(found),
            "the intervals": intervals(found),
            "the kind of the intervals": interval_kind(found),
            "the undefined metrics": _nulls(found),
            **{key: found[key] for key in ("dataset_fingerprint", "model_sha256") if key in found},
            **{key: found.get(key) for key in ("IoU", "n_images", "protocol", "split")},
        }
        wrong = [key for key, value in stated.items() if value != claimed[key]]
        if wrong:
            yield f"{wrong[0]} of the record and of {name} differ"


def _nulls(found: Mapping[str, Any]) -> dict[str, str]:
    """Reasons of the metrics that are null in metrics.json."""
    reasons = undefined_metrics(found)
    return {name: reasons.get(name, "") for name, value in found.items() if value is None}


def matrices(case: Case) -> Iterator[str]:
    """The confusion matrices belong to this measurement, and reproduce every number that they determine."""
    for one in case.measurements:
        yield from _same_measurement(one)  # first, because it checks the sizes
        yield from _same_matrices(one)
        yield from _same_numbers(one)


def _same_matrices(one: Measurement) -> Iterator[str]:
    """confusion.csv is the sum of confusion.npz, if both are available."""
    stored, totals = one.stored, one.totals
    if stored is None or totals is None:
        return
    same = stored.classes == totals.classes and set(totals.matrices) <= set(stored.confusions)
    if not same or not all(
        np.array_equal(stored.confusions[suffix].total(), matrix)
        for suffix, matrix in totals.matrices.items()
    ):
        yield f"{one.folder}{CSV} is not the sum of {NPZ}"


def _same_measurement(one: Measurement) -> Iterator[str]:
    code, record = protocol_hash(one.protocol, classes=one.classes), one.case.record
    if code != one.claim.protocol_hash:
        yield f"the protocol hash is {one.claim.protocol_hash}, but protocol and classes give {code}"
    experiment = one.case.recorded
    if isinstance(experiment, Experiment) and len(one.classes) != num_classes(experiment, one.protocol):
        expected = num_classes(experiment, one.protocol)
        yield f"the matrices have {len(one.classes)} classes, the network {expected}"
    stored = one.stored
    if stored is None:
        return
    found = {
        "the protocol": (stored.protocol, one.claim.protocol_hash),
        "the data": (stored.fingerprint, record.dataset_fingerprint),
        "the split": (stored.split, record.split),
        "the number of images": (len(stored.ids), one.claim.n_images),
    }
    yield from (
        f"{what} of {one.folder}{NPZ} is {actual}, expected {expected}"
        for what, (actual, expected) in found.items()
        if actual != expected
    )
    if stored.groups != (groups_of(record.dataset, stored.ids) if one.claim.interval else None):
        yield f"the image groups of {one.folder}{NPZ} do not match {record.dataset}"


def _same_numbers(one: Measurement) -> Iterator[str]:
    produced, given = metric_names(one.protocol), one.recomputed
    numbers: list[tuple[str, float | None]] = [*one.claim.metrics.items()]
    for name, value in (*numbers, *((name, None) for name in one.claim.undefined)):
        if name not in produced:
            yield f"{one.folder}{name} is not a metric of the protocol {one.claim.protocol_hash}"
        elif name in one.determined and not _close(value, given.get(name)):
            yield f"{one.folder}{name} is {_text(value)}, but its matrices give {_text(given.get(name))}"
    yield from _same_intervals(one)
    tables = {"IoU": one.claim.per_class, **{name: (one.metrics or {}).get(name) for name in TABLES[1:]}}
    for name, table in tables.items():
        if table is not None and not _same_table(table, given[name]):
            yield f"{one.folder}{name} per class does not match the matrices"


def _same_intervals(one: Measurement) -> Iterator[str]:
    """Bounds and kind of the intervals, if the per-image matrices were resampled."""
    produced, given = metric_names(one.protocol), one.recomputed
    kind = given.get("interval")
    if kind and one.claim.interval not in ("", kind):
        yield f"the intervals of {one.folder}{METRICS} are '{kind}', not '{one.claim.interval}'"
    for name, (low, high) in one.claim.intervals.items():
        if not name.startswith("mIoU") or name not in produced:
            yield f"the protocol has no interval of {one.folder}{name}"
        ends = given.get(f"{name}_low"), given.get(f"{name}_high")
        if kind and not (_close(low, ends[0]) and _close(high, ends[1])):
            yield f"the interval of {one.folder}{name} is {low:g} to {high:g}, but its matrices give {ends}"


def _same_table(claimed: Mapping[str, float | None], given: Mapping[str, float | None]) -> bool:
    return claimed.keys() == given.keys() and all(
        _close(value, given[name]) for name, value in claimed.items()
    )


def _close(claimed: float | None, given: float | None) -> bool:
    """Equal, or both undefined."""
    if claimed is None or given is None:
        return claimed is given
    return abs(claimed - given) <= TOLERANCE


def _text(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def parameters(case: Case) -> Iterator[str]:
    """The fields of the record agree with its params."""
    record, experiment = case.record, case.recorded
    if not RUN_KEY.fullmatch(record.run_key):
        yield f"'{record.run_key}' is not a run key"
    if isinstance(experiment, ReproError):
        return
    found: dict[str, tuple[object, object]] = {
        "experiment": (record.experiment, experiment.name),
        "dataset": (record.dataset, experiment.dataset),
        "rows": (record.rows, experiment.rows),
        "also": (set(record.also), set(experiment.also)),
        "protocol": (case.main.protocol, experiment.protocol),
    }
    for (name, protocol), one in zip(experiment.also.items(), case.measurements[1:], strict=False):
        found[f"protocol {name}"] = (one.protocol, protocol)
    yield from (f"its {what} does not match its params" for what, (a, b) in found.items() if a != b)


def cost(case: Case) -> Iterator[str]:
    """cost.json agrees with the record and contains the size of the network."""
    found = mapping(case.evidence.read(COST), COST)
    claimed = {name: value for name, value in case.record.cost.items() if not name.startswith("train_")}
    if found is None and claimed:
        yield f"{COST} is missing"
    if found is not None:
        require(Cost, found, COST, hint="`repro benchmark` again")
        if found != claimed:
            yield f"{COST} does not match the record"
        elif "params_M" not in found and not isinstance(case.recorded, ExternalExperiment):
            yield f"{COST} has no 'params_M'"


def lock(case: Case) -> Iterator[str]:
    """dvc.lock has the hashes of these files, and its stages read the outputs of earlier ones."""
    found, record = case.evidence.lock, case.record
    if found is None:
        return
    noted = record.provenance.get("locks") or {}
    if not found.outs:
        if f"experiments/{record.experiment}/{LOCK}" in noted:
            yield f"{LOCK} is missing"
        return
    names = [COST, CURVE, *(one.folder + name for one in case.measurements for name in (METRICS, CSV, NPZ))]
    for name in names:
        content = case.evidence.read(name)
        digest = None if content is None else hashlib.md5(content, usedforsecurity=False).hexdigest()
        if digest is not None and found.outs.get(name) != digest:
            yield f"{name} does not match {LOCK}: `dvc repro` or `dvc commit`"
    for name, read in found.deps.items():
        if name in found.outs and set(read) != {found.outs[name]}:
            yield f"{LOCK}: {name} changed after a stage had read it"


def weights(case: Case) -> Iterator[str]:
    """The weights, if available, are those of the record and its run."""
    record = case.record
    if not SHA256.fullmatch(record.model_sha256 or ""):
        yield "the record has no hash of the weights (model_sha256)"
    if not case.evidence.thorough:
        return
    found = case.evidence.left() if record.kind == "external" else case.evidence.weights()
    if found is None:
        return
    if found.sha256 != record.model_sha256:
        yield f"the weights are {found.sha256[:12]}, the record has {(record.model_sha256 or 'none')[:12]}"
    if found.run_key and found.run_key != record.run_key:
        yield f"the weights are from run {found.run_key}, the record from {record.run_key}"


def program(case: Case) -> Iterator[str]:
    """What predicted is the program of the record, and released weights are those that its params name."""
    record, experiment = case.record, case.recorded
    inputs = record.provenance.get("inputs")
    if not isinstance(experiment, ExternalExperiment) or not isinstance(inputs, dict):
        return
    external, also = experiment.external, inputs.get("also_deps") or {}
    for name, one in zip((None, *experiment.also), case.measurements, strict=False):
        _, predict = external.predicting(name)
        deps = also.get(name, {}) if name in external.also else inputs.get("predict_deps") or {}
        stated = (one.metrics or {}).get("program_sha256")
        if stated != predict_sha256(predict.command, deps):
            yield f"{one.folder}{METRICS} was measured with another program than that of the record"
    if external.train is None and external.weights and record.model_sha256 != external.weights.sha256:
        yield "the weights of the record are not those that its params name"


def data(case: Case) -> Iterator[str]:
    """The prepared split is the one it was measured on."""
    record, current = case.record, case.current
    if not isinstance(current, Experiment):
        return
    # Paths are built from names in params.yaml, never from a record's.
    dataset, split = current.dataset, current.evaluation.split
    if (dataset, split) != (record.dataset, record.split):
        return
    found = case.evidence.fingerprint(dataset, split)
    if found is not None and found != record.dataset_fingerprint:
        yield f"measured on different data than the prepared {record.dataset} {record.split}"


def kind(case: Case) -> Iterator[str]:
    """Trained results have a learning curve, released ones have none."""
    content, experiment = case.evidence.read(CURVE), case.recorded
    curve, is_external = content is not None, case.record.kind == "external"
    steps = parse_curve((content or b"").decode("utf-8", "replace"), case.evidence.where / CURVE)
    if curve and not steps and not is_external:  # a program need not log anything
        yield f"{CURVE} has no training steps"
    if isinstance(experiment, Experiment) and experiment.cost_only != (case.record.kind == "cost"):
        measured = "cost" if experiment.cost_only else "all"
        yield f"its kind is '{case.record.kind}', but its params measure '{measured}'"
    if is_external and isinstance(experiment, TrainedExperiment):
        yield "its kind is 'external', but its params build a network of this project"
    if case.record.kind in ("trained", "released") and isinstance(experiment, ExternalExperiment):
        yield f"its kind is '{case.record.kind}', but its params run a program"
    if case.record.kind == "trained" and not curve:
        yield f"its kind is 'trained', but {CURVE} is missing"
    if case.record.kind == "released" and curve:
        yield f"its kind is 'released', but {CURVE} shows a training"


def run_key(case: Case) -> Iterator[str]:
    """The run key matches params and training data, if these are known."""
    record, experiment = case.record, case.recorded
    inputs = record.provenance.get("inputs")
    if isinstance(experiment, ReproError):
        return
    inputs = inputs if isinstance(inputs, dict) else _known_inputs(case, experiment)
    if inputs is None:
        return
    key = run_key_of(experiment, inputs)
    if key != record.run_key:
        yield f"its run key is {record.run_key}, but its params and data give {key}"


def _known_inputs(case: Case, experiment: Experiment) -> dict[str, str] | None:
    """The inputs of a training from scratch, for records that have none; None if the data is not here."""
    if not isinstance(experiment, TrainedExperiment) or not isinstance(case.current, Experiment):
        return None
    from_scratch = experiment.start_from is None and experiment.model.pretrained is None
    if not from_scratch or case.current.dataset != experiment.dataset:
        return None
    found = case.evidence.fingerprint(experiment.dataset, experiment.training.split)
    return None if found is None else {"training_fingerprint": found, "initial_sha256": ""}


CHECKS: tuple[Callable[[Case], Iterator[str]], ...] = (
    *(ranges, metrics_file, matrices, parameters, cost, lock, weights, program, data, kind, run_key),
)

COST_CHECKS: tuple[Callable[[Case], Iterator[str]], ...] = (parameters, cost, lock, kind)


def not_recomputed(case: Case) -> tuple[str, ...]:
    """Return which numbers of a consistent result could not be recomputed."""
    missing = [
        f"{one.folder}{name}"
        for one in case.measurements
        for name in one.claim.metrics
        if name not in one.determined and name.removeprefix("mIoU") != name
    ]
    absent = any(one.stored is None for one in case.measurements)
    found = [*missing, *(["the interval"] if absent else [])]
    return (f"not recomputed here: {', '.join(found)}" + (f" (no {NPZ})" if absent else ""),) if found else ()
