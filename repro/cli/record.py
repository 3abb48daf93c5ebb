"""`repro record`: from what the stages of an experiment wrote to its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from repro.cli.common import Json, Name, console, emit_json

if TYPE_CHECKING:
    from repro.params import Experiment, Project
    from repro.records import Record
    from repro.records.verdict import Kind


def record(
    name: Name,
    mirror: Annotated[bool, typer.Option(help="Show the record in MLflow too.")] = True,
    as_json: Json = False,
) -> None:
    """Compare the measured numbers with the published row and write reports/rows/NAME.json.

    Example: repro record camvid_mobilenetv2_os16
    """
    from repro.params import find_project, load_experiment
    from repro.records import to_json, write_record

    project = find_project()
    experiment = load_experiment(project, name)
    path = project.rows / f"{experiment.name}.json"
    made = write_record(path, build(project, experiment))
    if as_json:
        emit_json(to_json(made))
    else:
        console().print(summary(made), f"wrote {path.relative_to(project.root)}", sep="\n")
    if mirror:
        show_in_mlflow(project, made)


def build(project: Project, experiment: Experiment, *, kind: Kind = "trained") -> Record:
    """The record, with the fingerprints of the splits it was trained and measured on.

    RecordError when the files of the experiment are not what its params and data are now.
    """
    from repro.cli.train import initial_sha256
    from repro.datasets.archive import Split
    from repro.records import among_seeds, keep_training, make_record, read_records, training_key

    folder = project.prepared / experiment.dataset
    measured = Split.open(folder / f"{experiment.evaluation.split}.zip").fingerprint
    trained = Split.open(folder / f"{experiment.training.split}.zip").fingerprint
    key = training_key(experiment, trained, initial_sha256=initial_sha256(project, experiment))
    require_agreement(project, experiment, fingerprint=measured, key=key)
    made = make_record(project, experiment, dataset_fingerprint=measured, key=key, kind=kind)
    known, _ = read_records(project.rows)
    return among_seeds(keep_training(made, known.values()), known.values())


def require_agreement(project: Project, experiment: Experiment, *, fingerprint: str, key: str) -> None:
    """RecordError unless weights and measurements are those of the params and data as they are now."""
    from repro.checkpoints.files import read_metadata
    from repro.errors import RecordError
    from repro.evaluation.agreement import require_measured_so
    from repro.records.make import ALSO

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


def summary(made: Record) -> str:
    """One line: measured, published, verdict."""
    value = made.metrics.get(made.primary)
    measured = "not measured" if value is None else f"{made.primary} {value:.2f}"
    low_high = made.intervals.get(made.primary)
    interval = f" ({low_high[0]:.2f} to {low_high[1]:.2f})" if low_high else ""
    wanted = made.expectation
    against = f", expected {wanted.value:.2f} ± {wanted.band:g}" if wanted else ", nothing to compare with"
    return f"{made.experiment}: {measured}{interval}{against}: {made.verdict}"


def show_in_mlflow(project: Project, made: Record) -> None:
    """Mirror one record; whatever MLflow says, the record stands."""
    import os

    from repro.tracking.mirror import is_wanted

    if not is_wanted():
        return
    try:
        from repro.tracking.sync import sync_record

        sync_record(project, made, uri=os.environ.get("MLFLOW_TRACKING_URI"))
    except Exception as error:  # the record is written: a tracker must not turn that into a failure
        from repro.records.secrets import without_secrets

        text = without_secrets(f"{type(error).__name__}: {error}").splitlines()[0][:200]
        console(stderr=True).print(
            f"MLflow was not reached ({text}); `repro sync` fills it later", markup=False
        )
