"""Raw data into one zip a split: checked, parallel, resumable, atomic, the same bytes for the same input.

Work in progress lies in `.<dataset>.part/` beside the output folder (not inside: DVC empties outputs before
a stage runs). A journal there has one line per finished sample, so an interrupted run goes on after the
last one. All splits move into place together, by renames, when everything is done; what params.yaml does not
list any more goes then. A lock beside the folder keeps a second preparation of the same data set out.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from repro.datasets.formats.label_maps import label_warnings
from repro.datasets.prepare.convert import convert, find_pairs
from repro.datasets.prepare.prepared_split import Split, index_csv
from repro.datasets.prepare.resume_log import Journal, Made
from repro.datasets.raw.source import Source
from repro.datasets.sets.spec import IGNORE, DatasetModule, Pair
from repro.errors import DataError, ParamsError, StorageError
from repro.io.atomic import write_json
from repro.io.json_reader import read_json
from repro.io.threads import cores, in_order
from repro.params import DatasetFacts
from repro.records import locked

Progress = Callable[[str, int, int], None]  # split, pairs done, pairs in all


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a preparation did; `notes` name unusual files, `warnings` what cannot be right with a split."""

    images: dict[str, int]
    fingerprints: dict[str, str]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def prepare_dataset(
    name: str,
    raw: Path,
    out: Path,
    facts: DatasetFacts,
    *,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Report:
    """Write `out/<split>.zip` for every split of `facts` from the owner's data in `raw`.

    `raw` is a folder, a zip or a tar; `out` is prepared/<dataset>. Raises DataError (which names the
    file) for data that is not as it should be, StorageError when the disk is full or read-only and when
    the same data set is being prepared already.
    """
    from repro.datasets import dataset_module

    module = dataset_module(name)
    _check_facts(name, module, facts)
    with Source.open(raw) as whole:
        job = _Job(
            name=name,
            module=module,
            source=whole.under(*module.MARKERS),
            facts=facts,
            out=out,
            progress=progress,
            workers=workers or cores(),
        )
        return _prepare(job)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One data set on its way into the folder `part`, then `out`."""

    name: str
    module: DatasetModule
    source: Source
    facts: DatasetFacts
    out: Path
    progress: Progress | None
    workers: int

    @property
    def part(self) -> Path:
        """Where work in progress lies."""
        return self.out.parent / f".{self.out.name}.part"

    @property
    def cut(self) -> bool:
        """Whether images are cut into tiles: how many is known once they are opened."""
        return hasattr(self.module, "windows")


def _prepare(job: _Job) -> Report:
    splits = {split: find_pairs(job.module, job.source, split) for split in job.facts.splits}
    if not job.cut:
        for split, found in splits.items():
            _check_count(job, split, len(found))
    with _alone(job):
        try:
            _start(job)
            for split, found in splits.items():
                _write_split(job, split, found)
            return _promote(job)
        except OSError:
            shutil.rmtree(job.part, ignore_errors=True)
            raise


@contextmanager
def _alone(job: _Job) -> Iterator[None]:
    """No second preparation writes into the same folder; what cannot be written is a StorageError."""
    path = job.out.parent / f".{job.out.name}.lock"
    try:
        with locked(path, f"the data set {job.name} is being prepared", reentrant=False):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)  # while it is ours: a lock on a removed file counts for nobody
    except OSError as error:
        raise StorageError(
            f"cannot write the prepared data: {error.strerror}",
            where=error.filename or job.out,
            hint="free some space or fix the permission; nothing half-written was left",
        ) from error


def _check_facts(name: str, module: DatasetModule, facts: DatasetFacts) -> None:
    """Params that cannot be true of this data set are a mistake in params.yaml, not in the data."""
    where = f"params.yaml: datasets.{name}"
    if facts.classes != len(module.CLASSES):
        raise ParamsError(f"{facts.classes} classes", where=where, allowed=str(len(module.CLASSES)))
    if not facts.splits:
        hint = f"write the splits to prepare, with their numbers of images, under datasets.{name}.splits"
        raise ParamsError("no splits", where=where, allowed=", ".join(module.SPLITS), hint=hint)
    for split in facts.splits:
        if split not in module.SPLITS:
            raise ParamsError(f"unknown split '{split}'", where=where, allowed=", ".join(module.SPLITS))


def _write_split(job: _Job, split: str, found: list[Pair]) -> None:
    """Write one split into the part folder, going on after what its journal says is there."""
    if _finished(job, split):
        return
    with Journal(job.part / f"{split}.zip", job.part / f"{split}.jsonl") as journal:
        made = _converted(job, split, found[journal.pairs :])
        for i in range(journal.pairs + 1, len(found) + 1):
            journal.add(next(made))
            if job.progress:
                job.progress(split, i, len(found))
        summary = _finish(job, journal, split)
    write_json(job.part / f"{split}.json", summary)


def _finished(job: _Job, split: str) -> bool:
    """Whether a split is whole: here, or in place where an earlier run stopped while it moved them."""
    if not (job.part / f"{split}.json").exists():
        return False
    if (job.part / f"{split}.zip").exists():
        return True
    try:
        moved = Split.open(job.out / f"{split}.zip")
    except DataError:
        return False
    return bool(moved.fingerprint == _summary(job, split)["fingerprint"])


def _summary(job: _Job, split: str) -> dict[str, Any]:
    return read_json(job.part / f"{split}.json", error=DataError, hint=f"remove {job.part} and prepare again")


def _converted(job: _Job, split: str, pairs: list[Pair]) -> Iterator[list[Made]]:
    """The samples of every pair, in order; at most one finished pair a worker waits in memory.

    Images that are cut are large: one at a time, its tiles in parallel, stays below 1 GB.
    """
    inside, outside = (job.workers, 0) if job.cut else (1, job.workers)
    work = partial(convert, job.module, job.source, split=split, workers=inside)
    return in_order(work, pairs, workers=outside if outside > 1 else 0, ahead=outside)


def _finish(job: _Job, journal: Journal, split: str) -> dict[str, Any]:
    """Check the count, then add index.csv and fingerprint.json."""
    samples, classes = journal.samples, job.module.CLASSES
    _check_count(job, split, len(samples))
    fingerprint = hashlib.sha256("\n".join([*classes, *journal.digests]).encode()).hexdigest()
    summary = {
        "dataset": job.name,
        "split": split,
        "images": len(samples),
        "labelled": samples[0].label is not None,
        "ignore": IGNORE,
        "classes": list(classes),
        "palette": [list(colour) for colour in job.module.PALETTE],
        "fingerprint": fingerprint,
    }
    journal.store("index.csv", index_csv(samples))
    journal.store("fingerprint.json", (json.dumps(summary, indent=1) + "\n").encode())
    complete = job.facts.splits[split] == job.module.SPLITS[split]
    warnings = label_warnings(split, journal.label_facts, classes, complete=complete)
    return summary | {"notes": journal.notes, "warnings": warnings}


def _check_count(job: _Job, split: str, found: int) -> None:
    if found != job.facts.splits[split]:
        raise DataError(
            f"split {split} has {found} images, params say {job.facts.splits[split]}",
            where=job.source.where,
            allowed=f"officially {job.module.SPLITS[split]}",
            hint="complete the data, or write the number that you have under datasets: in params.yaml",
        )


def _start(job: _Job) -> None:
    """Keep the part folder when it was begun for the same input, else begin anew."""
    made_from = [job.name, job.source.stamp(), job.facts.classes, dict(job.facts.splits), _READER]
    text = json.dumps(made_from, sort_keys=True)
    key, stamp = hashlib.sha256(text.encode()).hexdigest(), job.part / "key"
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == key):
        shutil.rmtree(job.part, ignore_errors=True)
        job.part.mkdir(parents=True)
        stamp.write_text(key, encoding="utf-8")


_READER = 2  # of labels and of the journal: what another one began is not gone on with


def _promote(job: _Job) -> Report:
    """Move what is not in place yet, and take away the splits that params.yaml does not list any more."""
    job.out.mkdir(parents=True, exist_ok=True)
    done = {split: _summary(job, split) for split in job.facts.splits}
    for split in done:
        if (job.part / f"{split}.zip").exists():
            os.replace(job.part / f"{split}.zip", job.out / f"{split}.zip")
    for split in job.module.SPLITS.keys() - done.keys():
        (job.out / f"{split}.zip").unlink(missing_ok=True)
    shutil.rmtree(job.part)
    return Report(
        images={split: summary["images"] for split, summary in done.items()},
        fingerprints={split: summary["fingerprint"] for split, summary in done.items()},
        notes=tuple(note for summary in done.values() for note in summary["notes"]),
        warnings=tuple(text for summary in done.values() for text in summary["warnings"]),
    )
