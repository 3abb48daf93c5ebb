"""From the files of an experiment to its record: metrics.json, cost.json, weights, and the published row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from repro.errors import RecordError
from repro.io.atomic import run_key, sha256_file
from repro.params import Experiment, Project, Protocol, to_plain
from repro.published import Row, row_ids, rows
from repro.published.page import QUIRK, page_value
from repro.records.flatten import without_neutral
from repro.records.journal import read_journal
from repro.records.metrics_io import (
    inference_cost,
    interval_kind,
    intervals,
    plain_metrics,
    read_metrics,
    undefined_metrics,
)
from repro.records.provenance import collect, lock_hashes
from repro.records.record import Expected, Measured, Record, Seeds
from repro.records.seeds import seeds_of
from repro.records.verdict import Kind, Size, default_band, seed_band, size_text, size_verdict, sizes

ALSO = "also"  # folder of an experiment with a folder for every further protocol


def training_key(experiment: Experiment, dataset_fingerprint: str, *, initial_sha256: str = "") -> str:
    """The run key of a training: what its weights are made from, and nothing else.

    `dataset_fingerprint` is that of the training split, `initial_sha256` that of the weights it starts from.
    Name, note, published rows and evaluation are not in it: changing them never trains again.
    """
    plain = without_neutral(to_plain(experiment))
    made_from = {name: plain.get(name) for name in ("dataset", "seed", "model", "augmentation", "training")}
    engine = {name: plain["engine"][name] for name in ("data", "training")}
    made_from |= {"engine": engine, "fingerprint": dataset_fingerprint, "initial": initial_sha256}
    return run_key(made_from)


def make_record(
    project: Project,
    experiment: Experiment,
    *,
    dataset_fingerprint: str,
    key: str,
    kind: Kind = "trained",
    inputs: Mapping[str, str] | None = None,
) -> Record:
    """The record of `experiment` from what its stages wrote, not judged yet ("unmeasured").

    `inputs` is what the run key was made from beside the params: `training_fingerprint`, `initial_sha256`.
    RecordError when evaluation has not run.
    """
    folder = project.experiment_folder(experiment.name)
    found = read_metrics(folder / "metrics.json")
    weights, journal = folder / "model.safetensors", read_journal(project.journal(key))
    locks, training = lock_hashes(project.root, experiment.name), training_provenance(journal)
    published, notes = published_metrics(experiment)
    expectation = expected(experiment, kind, published)
    further = experiment.also.items()
    return Record(
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
        also={name: measured_under(experiment, folder / ALSO / name, one) for name, one in further},
        cost=inference_cost(folder / "cost.json") | training_cost(journal, batch=experiment.training.batch),
        published=published,
        expectation=expectation,
        verdict="unmeasured",
        notes=notes,
        model_sha256=sha256_file(weights) if weights.is_file() else None,
        params=to_plain(experiment),
        run_key=key,
        provenance=collect(project.root) | {"locks": locks, "training": training, "inputs": inputs},
    )


def make_cost_record(project: Project, experiment: Experiment) -> Record:
    """The record of an experiment that measures cost alone: sizes beside the published ones, no metric.

    Raises RecordError where the benchmark has not run.
    """
    path = project.experiment_folder(experiment.name) / "cost.json"
    cost, plain = inference_cost(path), to_plain(experiment)
    if not cost:
        raise RecordError("nothing was measured yet", where=path, hint=f"`repro benchmark {experiment.name}`")
    found = sizes_of(experiment.rows, cost, where=f"{experiment.folder}/params.yaml")
    origin = collect(project.root) | {"locks": lock_hashes(project.root, experiment.name), "training": {}}
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
        verdict=size_verdict(found),
        notes=tuple(map(size_text, found)),
        model_sha256=None,
        params=plain,
        run_key=run_key({name: plain[name] for name in ("model", "facts", "measure")}),
        provenance=origin,
    )


def sizes_of(row_names: Sequence[str], cost: Mapping[str, Any], where: object) -> list[Size]:
    """Every size that the rows of an experiment print, beside those of its cost.json."""
    known = rows()
    return [size for name in row_ids(row_names, where) for size in sizes(cost, known[name])]


def keep_training(record: Record, known: Iterable[Record]) -> Record:
    """`record` with what an earlier one of the same weights knew of their training, where it knows nothing.

    The journal stays on the machine that trained: whoever records again elsewhere has none.
    """
    before = [one for one in known if one.experiment == record.experiment]
    if record.provenance["training"] or not before or record.model_sha256 != before[0].model_sha256:
        return record
    speeds = {name: value for name, value in before[0].cost.items() if name.startswith("train_")}
    training = before[0].provenance.get("training", {})
    return replace(
        record, cost={**speeds, **record.cost}, provenance={**record.provenance, "training": training}
    )


def with_spread(record: Record, others: Iterable[Record]) -> Record:
    """`record` with the spread of its seeds."""
    return replace(record, seeds=spread(record, seeds_of(record, others)[1:]))


def spread(record: Record, family: Iterable[Record]) -> Seeds | None:
    """Mean, deviation and prediction interval of a record and its other seeds; None for a single one."""
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
    """Where and with what a training ran: the last `provenance` line of its journal, {} without one."""
    found = [entry for entry in journal if entry["kind"] == "provenance"]
    return dict(found[-1]["found"]) if found else {}


def training_cost(journal: Sequence[Mapping[str, Any]], *, batch: int) -> dict[str, float]:
    """Speed (median over the journal's lines) and peak memory of a training, {} without any line.

    Iterations/s is the "speed" column of page 003, the memory the "Mem" column of page 004.
    """
    lines = [entry["values"] for entry in journal if entry["kind"] == "metrics"]
    speeds = [one["system/images_per_s"] for one in lines if "system/images_per_s" in one]
    if not speeds:
        return {}
    images = float(median(speeds))
    return {
        "train_images_per_s": round(images, 3),
        "train_iterations_per_s": round(images / batch, 4),
        "train_memory_MiB": round(max(one.get("system/memory_MiB", 0.0) for one in lines), 1),
    }


def measured_under(experiment: Experiment, folder: Path, protocol: Protocol) -> Measured:
    """What `repro evaluate NAME --protocol P` wrote for a further protocol; RecordError in doubt."""
    found = read_metrics(folder / "metrics.json")
    for wrong in doubts(experiment, found, protocol):
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


def published_metrics(experiment: Experiment) -> tuple[dict[str, float], tuple[str, ...]]:
    """Metric -> published value over the experiment's rows, the first row first; and remarks on them."""
    known = rows()
    found: dict[str, float] = {}
    remarks: tuple[str, ...] = ()
    for row in (known[name] for name in row_ids(experiment.rows, f"{experiment.folder}/params.yaml")):
        found = dict(row.metrics) | found
        remarks += tuple(f"{row.id}: {remark}" for remark in remarks_of(row))
    return found, remarks


def remarks_of(row: Row) -> tuple[str, ...]:
    return (*row.remarks, *(() if row.metrics else ("the page prints no number in this row",)))


def expected(experiment: Experiment, kind: Kind, published: Mapping[str, float]) -> Expected | None:
    """What the verdict compares with: the published row, else the number this project measured before."""
    own, band = experiment.expect, default_band(kind, experiment.dataset)
    for metric in ("mIoU", "mIoU_ms_flip", *published):
        if metric in published:
            source = f"row {experiment.rows[0]}; band: {band.source}"
            return Expected(metric=metric, value=published[metric], band=band.value, source=source)
    return Expected(metric="mIoU", value=own.mIoU, band=own.band, source=own.source) if own else None


def measured_value(metrics: Mapping[str, Any], expectation: Expected | None) -> float | None:
    """The number to compare; where a page computed its metric otherwise, the number of that computation."""
    return page_value(metrics, expectation.metric if expectation else "mIoU")


def why_undefined(undefined: Mapping[str, str], expectation: Expected | None) -> str:
    """Why the number to compare is none: the absent class; empty where it has a value."""
    metric = expectation.metric if expectation else "mIoU"
    name = metric + QUIRK if metric + QUIRK in undefined else metric
    return f"{metric} is undefined: {undefined[name]}" if name in undefined else ""


def doubts(experiment: Experiment, metrics: Mapping[str, Any], protocol: Protocol) -> tuple[str, ...]:
    """Why this result must not be compared with the row; empty when it may be."""
    split = experiment.evaluation.split
    full = protocol.first or experiment.facts.splits.get(split)
    found: list[str] = []
    if metrics["split"] != split:
        found.append(f"measured on '{metrics['split']}', the experiment says '{split}'")
    if full is not None and metrics["n_images"] != min(full, experiment.facts.splits.get(split, full)):
        found.append(f"{metrics['n_images']} images were counted, the split has {full}")
    return tuple(found)
