"""A project of many measured experiments, for measurements of scale: copies of one real result.

`python -m tests.bench.large_project FOLDER 10000` writes it. Every copy has its own name, seed, run key,
record, dvc.yaml and dvc.lock. Two seeds of each experiment are one family.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from repro.params import Project, read_yaml, to_plain
from repro.params.experiment import Experiment, resolve
from repro.records import Record, read_record, training_key, write_record

ROOT = Path(__file__).parents[2]
SOURCE = "synthetic_mobilenetv2_os16"
FILES = ("metrics.json", "cost.json", "confusion.csv", "curve.csv", "dvc.yaml")
SEEDS = 2


def large_project(root: Path, count: int) -> Project:
    """Write a project with `count` experiments named synthetic_NNNNN_seedK, without data and weights."""
    source, project = Project(ROOT), Project(root)
    project.rows.mkdir(parents=True)
    project.experiments.mkdir()
    shutil.copy(source.params, root)
    for path in source.experiments.glob("*.*"):
        shutil.copy(path, project.experiments)
    record, shared = read_record(source.record(SOURCE)), read_yaml(source.params)
    for i in range(count):
        _experiment(project, record, shared, i)
    return project


def _experiment(project: Project, record: Record, shared: dict[str, object], number: int) -> None:
    group, seed = divmod(number, SEEDS)
    name = f"synthetic_{group:05}_seed{seed}"
    source, folder = Project(ROOT).experiment_folder(SOURCE), project.experiments / name
    folder.mkdir()
    for file in FILES:
        shutil.copyfile(source / file, folder / file)
    lr = 0.01 + group / 1e6
    text = (source / "params.yaml").read_text().replace("seed: 0", f"seed: {seed}")
    (folder / "params.yaml").write_text(text.replace("lr: 0.03", f"lr: {lr:.6f}"))
    lock = (source / "dvc.lock").read_text().replace("seed: 0", f"seed: {seed}")
    (folder / "dvc.lock").write_text(lock.replace("lr: 0.03", f"lr: {lr:.6f}"))
    experiment = resolve(name, read_yaml(folder / "params.yaml"), shared, folder / "params.yaml")
    write_record(project.record(name), _record(record, experiment))


def _record(record: Record, experiment: Experiment) -> Record:
    """The record that this experiment would have if it had measured the same."""
    inputs = {"training_fingerprint": record.dataset_fingerprint, "initial_sha256": ""}
    return replace(
        record,
        experiment=experiment.name,
        params=json.loads(json.dumps(to_plain(experiment))),
        run_key=training_key(experiment, record.dataset_fingerprint, initial_sha256=""),
        provenance={**record.provenance, "locks": {}, "inputs": inputs},
    )


if __name__ == "__main__":
    large_project(Path(sys.argv[1]), int(sys.argv[2]))
