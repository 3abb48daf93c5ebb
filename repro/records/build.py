"""Build the record of an experiment from metrics.json, cost.json, the weights and the published row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from repro.errors import RecordError
from repro.io.atomic import canonical, run_key, sha256_file, sha256_text
from repro.params import (
    AnyExperiment,
    Experiment,
    ExternalExperiment,
    Project,
    Protocol,
    TrainedExperiment,
    to_plain,
)
from repro.params.expectation import expectation_for
from repro.published import Published, Row
from repro.published.page import QUIRK, page_value
from repro.records.flatten import drop_neutral_defaults
from repro.records.journal import read_journal
from repro.records.metrics_io import (
    inference_cost,
    interval_kind,
    intervals,
    plain_metrics,
    read_metrics,
    undefined_metrics,
)
from repro.records.printed_costs import PrintedCost, cost_text, cost_verdict, printed_costs
from repro.records.provenance import collect, lock_hashes, made_on
from repro.records.record import Expected, Measured, Record, Seeds
from repro.records.seeds import seeds_of
from repro.records.verdict import Kind, default_band, seed_band

PRETRAINED = "pretrained"  # entry of a journal: what `pretrained_args` of a network by reference loaded
ALSO = "also"  # subfolder of an experiment, with a folder per additional protocol


def training_key(experiment: TrainedExperiment, dataset_fingerprint: str, *, initial_sha256: str = "") -> str:
    """Return the run key of a training, a hash of everything that determines the weights.

    Name, note, published rows and evaluation are not included: changing them does not require training again.

    Args:
        experiment: The resolved experiment.
        dataset_fingerprint: Fingerprint of the training split.
        initial_sha256: sha256 of the initial weights, "" without any.
    """
    plain = drop_neutral_defaults(to_plain(experiment), type(experiment))
    made_from = {name: plain.get(name) for name in ("dataset", "seed", "model", "augmentation", "training")}
    engine = {name: plain["engine"][name] for name in ("data", "training")}
    made_from |= {"engine": engine, "fingerprint": dataset_fingerprint, "initial": initial_sha256}
    return run_key(made_from)


def program_key(experiment: ExternalExperiment, inputs: Mapping[str, Any]) -> str:
    """Return the run key of a training by a program: its command, its files, its data, seed and weights.

    What predicts is not included: an edit of it does not require training again.
    """
    train, weights = experiment.external.train, experiment.external.weights
    made_from = {
        "command": train.command if train else "",
        "weights": weights.sha256 if weights else "",
        "seed": experiment.seed,
        "deps": dict(inputs.get("deps") or {}),
        "fingerprint": str(inputs.get("training_fingerprint")),
    }
    return run_key(made_from)


def predict_sha256(command: str, deps: Mapping[str, str]) -> str:
    """Return the `program_sha256` of metrics.json: of a command that predicts and what it depends on."""
    return sha256_text(canonical({"command": command, "deps": dict(deps)}))


def program_deps(inputs: Mapping[str, Any]) -> dict[str, str]:
    """Return path -> sha256 of what an experiment's programs depended on, from the `inputs` of its record."""
    also = inputs.get("also_deps")
    parts = [
        inputs.get("deps"),
        inputs.get("predict_deps"),
        *(also.values() if isinstance(also, Mapping) else ()),
    ]
    return {
        str(path): str(digest) for one in parts if isinstance(one, Mapping) for path, digest in one.items()
    }


def run_key_of(experiment: AnyExperiment, inputs: Mapping[str, Any]) -> str:
    """Return the run key of any experiment from its resolved params and the `inputs` of its record."""
    if isinstance(experiment, ExternalExperiment):
        return program_key(experiment, inputs)
    fingerprint, initial = (str(inputs.get(name)) for name in ("training_fingerprint", "initial_sha256"))
    return training_key(experiment, fingerprint, initial_sha256=initial)


def cost_key(plain: Mapping[str, Any]) -> str:
    """Return the run key of a benchmark without training, from the params of its experiment."""
    kept = drop_neutral_defaults({name: plain[name] for name in ("model", "facts", "measure")})
    head = plain["model"].get("head") or {}
    if "glorot" in head:  # these keys have always contained it
        kept["model"]["head"]["glorot"] = head["glorot"]
    return run_key(kept)


def make_record(
    project: Project,
    experiment: Experiment,
    *,
    dataset_fingerprint: str,
    key: str,
    kind: Kind = "trained",
    inputs: Mapping[str, Any] | None = None,
    known: Collection[Record] = (),
) -> Record:
    """Build the record of an experiment from the outputs of its stages, with the verdict "unmeasured".

    Args:
        project: The project.
        experiment: The resolved experiment.
        dataset_fingerprint: Fingerprint of the evaluated split.
        key: Run key of the training.
        kind: How the weights were obtained.
        inputs: Inputs of the run key besides the params: `training_fingerprint`, `initial_sha256`.
        known: Earlier records; that of the same weights knows their training, if the journal is elsewhere.

    Raises:
        RecordError: The evaluation has not run, or its outputs are invalid.
        ParamsError: None of several expected numbers is for this device.
    """
    folder = project.experiment_folder(experiment.name)
    found = read_metrics(folder / "metrics.json")
    weights, journal = folder / "model.safetensors", read_journal(project.journal(key))
    locks, training = lock_hashes(project.root, experiment.name), training_provenance(journal)
    published, notes = published_metrics(project.published, experiment)
    further = experiment.also.items()
    cost = inference_cost(folder / "cost.json") | training_cost(experiment, journal)
    plain = to_plain(experiment)
    origin = collect(project.root, params=plain)
    made = Record(
        experiment=experiment.name,
        rows=experiment.rows,
        kind=kind,
        dataset=experiment.dataset,
        dataset_fingerprint=dataset_fingerprint,
        split=str(found["split"]),
        n_images=int(found["n_images"]),
        metrics=plain_metrics(found),
        undefined=undefined_metrics(found),
        intervals=intervals(found),
        interval=interval_kind(found),
        per_class=found["IoU"],
        protocol=to_plain(experiment.protocol),
        protocol_hash=str(found["protocol"]),
        also={name: measurement_under(experiment, folder / ALSO / name, one) for name, one in further},
        cost=cost,
        published=published,
        expectation=None,
        verdict="unmeasured",
        notes=notes,
        model_sha256=sha256_file(weights) if weights.is_file() else found.get("model_sha256"),
        params=plain,
        run_key=key,
        provenance=origin | {"locks": locks, "training": training, "inputs": inputs},
    )
    made = with_earlier_training(made, known)
    number = made.metrics.get("mIoU")
    wanted = expected(project, experiment, kind, published, provenance=made.provenance, measured=number)
    return replace(made, expectation=wanted)


def make_cost_record(project: Project, experiment: Experiment) -> Record:
    """Build the record of an experiment with `measure: cost`: sizes and speed, no metrics.

    Raises RecordError if the benchmark has not run.
    """
    path = project.experiment_folder(experiment.name) / "cost.json"
    cost, plain = inference_cost(path), to_plain(experiment)
    if not cost:
        raise RecordError("nothing was measured yet", where=path, hint=f"`repro benchmark {experiment.name}`")
    found = costs_of(project.published, experiment.rows, cost, where=f"{experiment.folder}/params.yaml")
    origin = collect(project.root, params=plain)
    locks = lock_hashes(project.root, experiment.name)
    return Record(
        experiment=experiment.name,
        rows=experiment.rows,
        kind="cost",
        dataset=experiment.dataset,
        dataset_fingerprint="",
        split=experiment.evaluation.split,
        n_images=0,
        metrics={},
        intervals={},
        per_class={},
        protocol=plain["protocol"],
        protocol_hash="",
        cost=cost,
        published={},
        expectation=None,
        verdict=cost_verdict(found),
        notes=tuple(map(cost_text, found)),
        model_sha256=None,
        params=plain,
        run_key=cost_key(plain),
        provenance=origin | {"locks": locks, "training": {}},
    )


def costs_of(
    published: Published, row_names: Sequence[str], cost: Mapping[str, Any], where: object
) -> list[PrintedCost]:
    """Return every cost that the rows print, beside that of `cost`."""
    names = published.row_ids(row_names, where)
    return [
        one
        for name in names
        for one in printed_costs(cost, published.rows[name], published.known_differences(name))
    ]


def with_earlier_training(record: Record, known: Iterable[Record]) -> Record:
    """Copy the training provenance from an earlier record of the same weights if `record` has none.

    The journal stays on the machine that trained, so recording again on another machine lacks it.
    """
    before = [one for one in known if one.experiment == record.experiment]
    if record.provenance["training"] or not before or record.model_sha256 != before[0].model_sha256:
        return record
    speeds = {name: value for name, value in before[0].cost.items() if name.startswith("train_")}
    training = before[0].provenance.get("training", {})
    return replace(
        record, cost={**speeds, **record.cost}, provenance={**record.provenance, "training": training}
    )


def with_seed_statistics(record: Record, others: Iterable[Record]) -> Record:
    """Return `record` with the statistics over its seeds."""
    return replace(record, seeds=spread(record, seeds_of(record, others)[1:]))


def spread(record: Record, family: Iterable[Record]) -> Seeds | None:
    """Mean, standard deviation and prediction interval over seeds; None for a single seed."""
    wanted = record.expectation
    found = {one.experiment: measured_value(one.metrics, wanted) for one in (record, *family)}
    values = {name: value for name, value in found.items() if value is not None}
    if len(values) < 2 or record.experiment not in values:
        return None
    numbers, band = list(values.values()), seed_band(list(values.values()))
    return Seeds(
        metric=wanted.metric if wanted else "mIoU",
        values=values,
        mean=round(fmean(numbers), 4),
        sd=round(stdev(numbers), 4),
        half=band.value if band else None,
    )


def training_provenance(journal: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the last `provenance` entry of a training journal, with its pretrained weights; or {}."""
    found = [entry for entry in journal if entry["kind"] == "provenance"]
    sha256 = pretrained_of(journal)
    started = {"pretrained_sha256": sha256} if sha256 else {}
    return dict(found[-1]["found"]) | started if found else {}


def pretrained_of(journal: Sequence[Mapping[str, Any]]) -> str:
    """Return the sha256 of the weights that `pretrained_args` loaded; "" if none were."""
    return next((str(entry["sha256"]) for entry in journal[::-1] if entry["kind"] == PRETRAINED), "")


def training_cost(experiment: Experiment, journal: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return median speed and peak memory of a training, {} if the journal has no metrics.

    Iterations/s is the "speed" column of page 003, memory the "Mem" column of page 004.
    """
    lines = [entry["values"] for entry in journal if entry["kind"] == "metrics"]
    speeds = [one["system/images_per_s"] for one in lines if "system/images_per_s" in one]
    if not speeds or not isinstance(experiment, TrainedExperiment):
        return {}
    images = float(median(speeds))
    return {
        "train_images_per_s": round(images, 3),
        "train_iterations_per_s": round(images / experiment.training.batch, 4),
        "train_memory_MiB": round(max(one.get("system/memory_MiB", 0.0) for one in lines), 1),
    }


def measurement_under(experiment: Experiment, folder: Path, protocol: Protocol) -> Measured:
    """Read the results of an additional protocol. Raises RecordError if split or image count do not match."""
    found = read_metrics(folder / "metrics.json")
    for wrong in mismatches(experiment, found, protocol):
        raise RecordError(
            wrong, where=folder, hint=f"`repro evaluate {experiment.name} --protocol {folder.name}`"
        )
    return Measured(
        n_images=int(found["n_images"]),
        metrics=plain_metrics(found),
        undefined=undefined_metrics(found),
        intervals=intervals(found),
        interval=interval_kind(found),
        per_class=found["IoU"],
        protocol=to_plain(protocol),
        protocol_hash=str(found["protocol"]),
    )


def published_metrics(
    published: Published, experiment: Experiment
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the published metrics of the experiment's rows (the first row takes precedence) and remarks."""
    names = published.row_ids(experiment.rows, f"{experiment.folder}/params.yaml")
    found: dict[str, float] = {}
    remarks: tuple[str, ...] = ()
    for row in (published.rows[name] for name in names):
        found = dict(row.metrics) | found
        remarks += tuple(f"{row.id}: {remark}" for remark in remarks_of(row))
    return found, remarks


def remarks_of(row: Row) -> tuple[str, ...]:
    return (*row.remarks, *(() if row.metrics else ("the page prints no number in this row",)))


def expected(
    project: Project,
    experiment: Experiment,
    kind: Kind,
    published: Mapping[str, float],
    *,
    provenance: Mapping[str, Any] | None = None,
    measured: float | None = None,
) -> Expected | None:
    """Return the reference of the verdict: the published row, or else the experiment's `expect:`.

    Args:
        project: The project.
        experiment: The experiment, as params.yaml is now.
        kind: How the weights were obtained.
        published: The numbers of its rows.
        provenance: Where the result was measured, which chooses one of several expected numbers.
        measured: The number of the result, for the message that one is missing.

    Raises:
        ParamsError: None of several expected numbers is for the device of the result.
    """
    is_released = isinstance(experiment, ExternalExperiment) and experiment.external.train is None
    band = default_band(project.bands, "released" if is_released else kind, experiment.dataset)
    for metric in ("mIoU", "mIoU_ms_flip", *published):
        if metric in published:
            source = f"row {experiment.rows[0]}; band: {band.source}"
            return Expected(metric=metric, value=published[metric], band=band.value, source=source)
    where, on = (
        f"{experiment.folder}/params.yaml: expect",
        made_on(provenance or {}, precision_of(experiment)),
    )
    own = expectation_for(experiment.expect, on, where, measured=measured)
    return Expected(metric="mIoU", value=own.mIoU, band=own.band, source=own.source) if own else None


def precision_of(experiment: Experiment) -> str:
    """The precision that decides a result: of the training, else of the evaluation."""
    trained = experiment.training.precision if isinstance(experiment, TrainedExperiment) else ""
    return trained or experiment.protocol.precision


def measured_value(metrics: Mapping[str, Any], expectation: Expected | None) -> float | None:
    """Return the value to compare, by the page's own formula if there is one."""
    return page_value(metrics, expectation.metric if expectation else "mIoU")


def why_undefined(undefined: Mapping[str, str], expectation: Expected | None) -> str:
    """Return why the compared metric is undefined; "" if it has a value."""
    metric = expectation.metric if expectation else "mIoU"
    name = metric + QUIRK if metric + QUIRK in undefined else metric
    return f"{metric} is undefined: {undefined[name]}" if name in undefined else ""


def mismatches(experiment: Experiment, metrics: Mapping[str, Any], protocol: Protocol) -> tuple[str, ...]:
    """Return why a result is not comparable with the row: a different split or number of images."""
    split = experiment.evaluation.split
    full = protocol.first or experiment.facts.splits.get(split)
    found: list[str] = []
    if metrics["split"] != split:
        found.append(f"measured on '{metrics['split']}', the experiment says '{split}'")
    if full is not None and metrics["n_images"] != min(full, experiment.facts.splits.get(split, full)):
        found.append(f"{metrics['n_images']} images were counted, the split has {full}")
    return tuple(found)
