"""Records that look like real ones, and small projects that hold them."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from repro.evaluation.confusion import Confusions, Counts
from repro.evaluation.outputs import Totals, npz, pack, parse_confusions, table
from repro.evaluation.recompute import from_images, from_totals, metric_names, resampled
from repro.params import Experiment, Project, Protocol, read_yaml, to_plain
from repro.params.experiment import num_classes, resolve
from repro.params.protocol import protocol_hash
from repro.records import Expected, Record, default_band, write_json, write_record
from repro.records.metrics_io import intervals, plain_metrics
from repro.reports.results import Declared, Results, declared_experiments
from tests.kit import PROJECT, PUBLISHED, copy_pages

ROOT = Path(__file__).parents[2]
SHAPE = """recipe: scratch
model: {backbone: mobilenetv2, output_stride: 16}
augmentation: {crop: [120, 160]}
training: {split: train, epochs: 40, batch: 4, lr: 0.03}
"""
PIXELS = 10**6  # of the one class that is in the truth: its IoU has all digits of a metric
CPU = {"cpu": "Test CPU", "threads": 2, "torch": "2.15.0"}
COST = {
    "params_M": 2.99,
    "gmacs_conv": 5.25,
    "input_size": [360, 480],
    "latency_ms_p50": 31.54,
    "latency_ms_mean": 32.0,
    "images_per_s": 31.2,
    "peak_memory_MiB": 120.4,
    "device": CPU,
    "precision": "fp32",
    "batch": 1,
}


def a_record(name: str = "camvid_x", row: str | None = "003-028", **changes: Any) -> Record:
    """A record of one published row, measured exactly as published unless `changes` say otherwise."""
    published = dict(PUBLISHED.rows[row].metrics) if row else {"mIoU": 50.0}
    dataset = PUBLISHED.rows[row].dataset if row else "camvid"
    dataset = changes.get("dataset", dataset)
    split, n_images = measured_split(dataset)
    band = default_band(PROJECT.bands, "trained", dataset).value if row else 0.8
    reference = published.get("mIoU")
    expectation = Expected(metric="mIoU", value=reference, band=band, source="test") if reference else None
    fields: dict[str, Any] = {
        "experiment": name,
        "rows": (row,) if row else (),
        "kind": "trained",
        "dataset": dataset,
        "dataset_fingerprint": "ab" * 32,
        "split": split,
        "n_images": n_images,
        "metrics": {"mIoU": reference or 50.0, "aAcc": reference or 50.0},
        "intervals": {"mIoU": (48.9, 51.7)},
        "per_class": {"road": 90.0, "train": None},
        "protocol": {"mode": "slide", "scales": [0.5, 1.0]},
        "protocol_hash": "0123456789ab",
        "cost": COST,
        "published": published if row else {},
        "expectation": expectation,
        "verdict": ("reproduced" if row else "holds") if expectation else "incomparable",
        "notes": (),
        "model_sha256": "cd" * 32,
        "params": {"name": name, "seed": 0, "of": row},
        "run_key": "0123456789abcdef",
        "provenance": {"at": "2026-11-20T05:00:00Z", "git": {"commit": "c" * 40, "dirty": True}},
    }  # fmt: skip
    return Record(**(fields | changes))


@cache
def _root_params() -> Mapping[str, Any]:
    return read_yaml(ROOT / "params.yaml")


def measured_split(dataset: str) -> tuple[str, int]:
    """The split that results of a data set are measured on here, and its number of images."""
    splits = _root_params()["datasets"].get(dataset, {"splits": {"test": 233}})["splits"]
    split = next(name for name in ("test", "val", *splits) if name in splits)
    return split, splits[split]


def results(*records: Record, root: Path | None = None, declared: Iterable[Declared] = ()) -> Results:
    """Results of a project in a new folder (or in `root`): every record with its files and params.yaml."""
    project = a_project(root or Path(tempfile.mkdtemp(prefix="repro-")))
    stored = [add(project, record) for record in records]
    return Results(
        project=project,
        records={record.experiment: record for record in stored},
        experiments=declared_experiments(project)[0] | {one.name: one for one in declared},
    )


def unjudged(*records: Record) -> Results:
    """Results in memory, without any file, for what only shows records: each of them is incomparable."""
    own = {r.experiment: Declared(name=r.experiment, dataset=r.dataset, rows=r.rows) for r in records}
    known = {record.experiment: record for record in records}
    return Results(project=Project(ROOT), records=known, experiments=own)


def seeded(seed: int, **changes: Any) -> Record:
    """A record of the experiment camvid_s<seed>, trained with that seed."""
    record = a_record(f"camvid_s{seed}", **changes)
    return replace(record, params={**record.params, "seed": seed})


def a_project(root: Path, *records: Record) -> Project:
    """A folder with experiments and written records, enough for every reporting command."""
    shutil.copy(ROOT / "params.yaml", root)
    (root / "experiments").mkdir(exist_ok=True)
    copy_pages(root)
    project = Project(root)
    for record in records:
        add(project, record)
    return project


def add(
    project: Project,
    record: Record,
    *,
    protocol: str = "whole",
    confusions: Mapping[str, Confusions] | None = None,
) -> Record:
    """Write a record and the folder of its experiment: params.yaml, and every file that a result has.

    Without `confusions` (of every image, by suffix) the matrix of the split gives the record's mIoU, or
    holds nothing where the record has undefined metrics. Metrics
    that the matrices determine are theirs, with `confusions` all of them and their intervals.
    """
    folder = project.experiments / record.experiment
    folder.mkdir(parents=True, exist_ok=True)
    record = replace(record, params=to_plain(write_params(folder, record, protocol)))
    return write_files(folder, project, record, confusions)


def write_params(folder: Path, record: Record, protocol: str) -> Experiment:
    """A params.yaml that names what the record is about."""
    params, seed, wanted = folder / "params.yaml", record.params.get("seed", 0), record.expectation
    own = wanted if not record.published else None
    expect = f"expect: {{mIoU: {own.value}, band: {own.band}, source: test}}\n" if own else ""
    split, _ = measured_split(record.dataset)
    listed = ", ".join(row for row in record.rows if row in PUBLISHED.rows)
    params.write_text(
        f"# test\ndataset: {record.dataset}\nrows: [{listed}]\nseed: {seed}\n{SHAPE}"
        f"evaluation: {{split: {split}, protocol: {protocol}}}\n{expect}"
    )
    root = folder.parents[1] / "params.yaml"
    return resolve(record.experiment, read_yaml(params), read_yaml(root), params)


def write_files(
    folder: Path, project: Project, record: Record, confusions: Mapping[str, Confusions] | None
) -> Record:
    """The files that a result of these params and this mIoU has, and its record; the record as stored."""
    now = resolve(
        record.experiment,
        read_yaml(folder / "params.yaml"),
        read_yaml(project.params),
        folder / "params.yaml",
    )
    names = [*record.per_class, *(f"class{i}" for i in range(200))][: num_classes(now, now.protocol)]
    for name in ("confusion.npz", "dvc.lock"):
        (folder / name).unlink(missing_ok=True)
    if confusions is None:
        totals = matrices(record.metrics, names, now.protocol)
        if record.undefined:
            totals = Totals(classes=totals.classes, matrices={"": 0 * totals.matrices[""]})
        given = from_totals(totals, now.protocol)
    else:
        totals = Totals(classes=tuple(names), matrices={s: one.total() for s, one in confusions.items()})
        stored = stored_confusions(confusions, names, record, now)
        (folder / "confusion.npz").write_bytes(stored)
        parsed = parse_confusions(stored, folder)
        given = from_images(parsed, now.protocol, resampled(parsed, record.dataset, record.interval))
        record = replace(record, metrics=plain_metrics(given), intervals=intervals(given))
    known = metric_names(now.protocol) & given.keys()
    record = replace(
        record,
        metrics={
            name: given[name] if name in known and 0 <= value <= 100 else value
            for name, value in record.metrics.items()
            if given.get(name, value) is not None
        },
        intervals={name: pair for name, pair in record.intervals.items() if name in record.metrics},
        per_class=given["IoU"],
        protocol=to_plain(now.protocol),
        protocol_hash=protocol_hash(now.protocol, classes=names),
    )
    (folder / "confusion.csv").write_text(table(totals.matrices, names))
    (folder / "curve.csv").write_text("step,loss,lr,val_mIoU\n0,1.0,0.1,\n1,0.5,0.1,40.5\n")
    write_json(folder / "metrics.json", metrics_of(record))
    write_json(folder / "cost.json", {k: v for k, v in record.cost.items() if not k.startswith("train_")})
    return write_record(project.record(record.experiment), record)


def stored_confusions(
    confusions: Mapping[str, Confusions], names: list[str], record: Record, now: Experiment
) -> bytes:
    """The content of confusion.npz."""
    images = next(iter(confusions.values())).images
    arrays = pack(confusions) | {
        "ids": np.array([f"i{i}" for i in range(images)]),
        "classes": np.array(names),
        "protocol": np.array(protocol_hash(now.protocol, classes=names)),
        "fingerprint": np.array(record.dataset_fingerprint),
        "split": np.array(record.split),
        "chosen": np.arange(len(names)),
        "absent": np.array("skip"),
    }
    return npz(arrays)


def matrices(metrics: Mapping[str, float], names: list[str], protocol: Protocol) -> Totals:
    """Matrices [C, C + 1] that give the mIoU of every variant in `metrics` (50 where it has none)."""
    wanted = {suffix: metrics.get("mIoU" + suffix) for suffix in protocol.variants()}
    return Totals(
        classes=tuple(names),
        matrices={
            suffix: one_class(50.0 if value is None else value, len(names))
            for suffix, value in wanted.items()
            if value is not None or not suffix
        },
    )


def one_class(percent: float, classes: int) -> Counts:
    """The first class alone is in the truth, and this share of its pixels was found."""
    matrix = np.zeros((classes, classes + 1), np.int64)
    matrix[0, 0] = round(PIXELS * min(max(percent, 0), 100) / 100)
    matrix[0, -1] = PIXELS - matrix[0, 0]
    return matrix


def metrics_of(record: Record) -> dict[str, Any]:
    """What metrics.json says where it agrees with the record."""
    ends = {
        f"{name}_{end}": value
        for name, pair in record.intervals.items()
        for end, value in zip(("low", "high"), pair, strict=True)
    }
    said: dict[str, Any] = {
        "n_images": record.n_images,
        "protocol": record.protocol_hash,
        "split": record.split,
    }
    if record.interval:
        said |= {"interval": record.interval}
    if record.undefined:
        said |= {**dict.fromkeys(record.undefined), "undefined": dict(record.undefined)}
    return json.loads(json.dumps({**record.metrics, **ends, **said, "IoU": dict(record.per_class)}))  # type: ignore[no-any-return]


def git(root: Path, *arguments: str) -> str:
    """Run git with an identity of its own."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout
