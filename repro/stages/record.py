"""The stage `record`: build an experiment's record from the outputs of its stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from repro.errors import RecordError
from repro.evaluation.outputs import read_confusions
from repro.judgement import Judge, Judgement, folder_evidence, from_project
from repro.judgement.evidence import NPZ
from repro.params import AnyExperiment, ExternalExperiment, Project
from repro.records import (
    Record,
    make_record,
    read_records,
    with_seed_statistics,
    write_record,
)
from repro.records.build import ALSO, make_cost_record, run_key_of
from repro.records.seeds import with_replicates
from repro.records.verdict import Kind
from repro.scaffold.dvc_files import renew_views
from repro.stages.lookup import open_split, training_split
from repro.stages.model_setup import initial_sha256


def record_experiment(project: Project, experiment: AnyExperiment, *, kind: Kind = "trained") -> Record:
    """Build the record, write it to reports/rows/NAME.json and return it. Raises like `build`.

    DVC then shows its metrics and plots: the root dvc.yaml lists them.
    """
    made = write_record(project.record(experiment.name), build(project, experiment, kind=kind))
    renew_views(project)
    return made


def build(project: Project, experiment: AnyExperiment, *, kind: Kind = "trained") -> Record:
    """Build the record with its verdict and the fingerprints of its data.

    Raises:
        RecordError: the outputs do not match the current parameters and data.
    """
    if experiment.cost_only:
        return make_cost_record(project, experiment)
    measured = open_split(project, experiment).fingerprint
    inputs = training_inputs(project, experiment)
    if kind == "trained" and isinstance(experiment, ExternalExperiment):
        kind = "external"
    folder = project.experiment_folder(experiment.name)
    for name in ("", *(f"{ALSO}/{one}" for one in experiment.also)):
        read_confusions(folder / name / NPZ)  # the interval is recomputed from it
    known, _ = read_records(project.rows)
    made = make_record(
        project,
        experiment,
        dataset_fingerprint=measured,
        key=run_key_of(experiment, inputs),
        kind=kind,
        inputs=inputs,
        known=known.values(),
    )
    made = with_replicates(made, known.values())
    made = with_seed_statistics(made, known.values())
    return judged(made, judgement_of(project, experiment, {**known, made.experiment: made}))


def training_inputs(project: Project, experiment: AnyExperiment) -> dict[str, Any]:
    """What determines the weights besides the params; stored in the record."""
    if isinstance(experiment, ExternalExperiment):
        from repro.stages.evaluate_program import program_inputs

        return program_inputs(project, experiment)
    return {
        "training_fingerprint": training_split(project, experiment).fingerprint,
        "initial_sha256": initial_sha256(project, experiment),
    }


def judgement_of(project: Project, experiment: AnyExperiment, records: Mapping[str, Record]) -> Judgement:
    """Judge a record before it is written; RecordError if its files contradict it."""
    name, others = experiment.name, from_project(project)
    judge = Judge(
        project=project,
        records=records,
        experiment=lambda one: experiment if one == name else others(one),
        # DVC writes dvc.lock only after this stage.
        evidence=lambda one: folder_evidence(project, one, thorough=True, locked=one != name),
    )
    wrong = judge.contradiction(name)
    if wrong:
        hint = f"evaluate again: `dvc repro {experiment.folder}` or `repro evaluate {name}`"
        raise RecordError(wrong, where=project.experiment_folder(name), hint=hint)
    return judge.judge(name)


def judged(record: Record, found: Judgement) -> Record:
    """`record` with the verdict, and notes that explain it."""
    notes: tuple[str, ...] = ()
    if found.verdict == "incomparable" and record.expectation is not None:
        notes = (found.reason,)
    elif len(found.seeds) > 2:
        notes = (f"judged by the mean of {len(found.seeds)} seeds",)
    return replace(record, verdict=found.verdict, notes=(*record.notes, *notes))
