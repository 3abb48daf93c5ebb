"""Records that look like real ones, and small projects that hold them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from repro.params import Project, read_yaml, to_plain
from repro.params.experiment import resolve
from repro.published import rows
from repro.records import Expected, Record, default_band, write_record
from repro.reports.results import Declared, Results

ROOT = Path(__file__).parents[1]
SHAPE = """recipe: scratch
model: {backbone: mobilenetv2, output_stride: 16}
augmentation: {crop: [120, 160]}
training: {split: train, epochs: 40, batch: 4, lr: 0.03}
evaluation: {split: test, protocol: whole}
"""
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
    published = dict(rows()[row].metrics) if row else {"mIoU": 50.0}
    band = default_band("trained", "camvid").value
    reference = published.get("mIoU")
    expectation = Expected(metric="mIoU", value=reference, band=band, source="test") if reference else None
    fields: dict[str, Any] = {
        "experiment": name,
        "rows": (row,) if row else (),
        "kind": "trained",
        "dataset": rows()[row].dataset if row else "camvid",
        "dataset_fingerprint": "ab" * 32,
        "split": "test",
        "n_images": 233,
        "metrics": {"mIoU": reference or 50.0, "aAcc": 81.25},
        "intervals": {"mIoU": (48.9, 51.7)},
        "per_class": {"road": 90.0, "train": None},
        "protocol": {"mode": "slide", "scales": [0.5, 1.0]},
        "protocol_hash": "0123456789ab",
        "cost": COST,
        "published": published if row else {},
        "expectation": expectation,
        "verdict": "reproduced" if expectation else "incomparable",
        "notes": (),
        "model_sha256": "cd" * 32,
        "params": {"name": name, "seed": 0, "of": row},
        "run_key": "0123456789abcdef",
        "provenance": {"at": "2026-11-20T05:00:00Z", "git": {"commit": "c" * 40, "dirty": True}},
    }  # fmt: skip
    return Record(**(fields | changes))


def results(*records: Record, root: Path = ROOT, declared: Iterable[Declared] = ()) -> Results:
    """Results in memory; every record's experiment is declared with its rows."""
    own = {r.experiment: Declared(name=r.experiment, dataset=r.dataset, rows=r.rows) for r in records}
    return Results(
        project=Project(root),
        records={record.experiment: record for record in records},
        experiments=own | {one.name: one for one in declared},
    )


def seeded(seed: int, **changes: Any) -> Record:
    """A record of the experiment camvid_s<seed>, trained with that seed."""
    record = a_record(f"camvid_s{seed}", **changes)
    return replace(record, params={**record.params, "seed": seed})


def a_project(root: Path, *records: Record) -> Project:
    """A folder with experiments and written records, enough for every reporting command."""
    shutil.copy(ROOT / "params.yaml", root)
    (root / "experiments").mkdir()
    project = Project(root)
    for record in records:
        add(project, record)
    return project


def add(project: Project, record: Record) -> Path:
    """Write a record and the folder of its experiment, measured with the params that stand there."""
    folder = project.experiments / record.experiment
    folder.mkdir(exist_ok=True)
    params = folder / "params.yaml"
    listed, seed = ", ".join(record.rows), record.params.get("seed", 0)
    params.write_text(f"# test\ndataset: {record.dataset}\nrows: [{listed}]\nseed: {seed}\n{SHAPE}")
    path = project.record(record.experiment)
    now = resolve(record.experiment, read_yaml(params), read_yaml(project.params), params)
    write_record(path, replace(record, params=to_plain(now)))
    return path


def git(root: Path, *arguments: str) -> str:
    """Run git with an identity of its own."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout
