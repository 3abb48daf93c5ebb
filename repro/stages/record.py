"""The stage `record`: from what the stages of an experiment wrote to its record."""

from __future__ import annotations

from repro.checkpoints.files import read_metadata
from repro.errors import RecordError
from repro.evaluation.agreement import require_measured_so
from repro.params import Experiment, Project
from repro.records import (
    Record,
    among_seeds,
    keep_training,
    make_record,
    read_records,
    training_key,
    write_record,
)
from repro.records.make import ALSO, make_cost_record
from repro.records.verdict import Kind
from repro.stages.inputs import open_split, training_split
from repro.stages.network import initial_sha256


def record_experiment(project: Project, experiment: Experiment, *, kind: Kind = "trained") -> Record:
    """Build the record, write it to reports/rows/NAME.json and return it. Raises as `build` does."""
    path = project.record(experiment.name)
    return write_record(path, build(project, experiment, kind=kind))


def build(project: Project, experiment: Experiment, *, kind: Kind = "trained") -> Record:
    """The record, with the fingerprints of the splits it was trained and measured on.

    RecordError when the files of the experiment are not what its params and data are now.
    """
    if experiment.measure == "cost":
        return make_cost_record(project, experiment)
    measured = open_split(project, experiment).fingerprint
    trained = training_split(project, experiment).fingerprint
    key = training_key(experiment, trained, initial_sha256=initial_sha256(project, experiment))
    require_agreement(project, experiment, fingerprint=measured, key=key)
    made = make_record(project, experiment, dataset_fingerprint=measured, key=key, kind=kind)
    known, _ = read_records(project.rows)
    return among_seeds(keep_training(made, known.values()), known.values())


def require_agreement(project: Project, experiment: Experiment, *, fingerprint: str, key: str) -> None:
    """RecordError unless weights and measurements are those of the params and data as they are now."""
    folder = project.root / experiment.folder
    require_measured_so(folder, experiment.protocol, fingerprint=fingerprint)
    for name, protocol in experiment.also.items():
        require_measured_so(folder / ALSO / name, protocol, fingerprint=fingerprint)
    weights = folder / "model.safetensors"
    trained = read_metadata(weights).get("run_key", key) if weights.is_file() else key
    if trained != key:
        raise RecordError(
            f"the weights come from run {trained}; params and data as they are now make run {key}",
            where=weights,
            hint=f"`dvc repro {experiment.folder}` trains it, or git checkout the params",
        )
