"""Preparation of raw data as a zip per split: checked, parallel, resumable, atomic and deterministic.

Work in progress is in `.<dataset>.part/` next to the output folder (not inside: DVC empties outputs before a
stage runs). A log there has a line per finished pair, so an interrupted run resumes after the last one. When
everything is done, all splits are renamed into place and splits that params.yaml no longer lists are removed.
A lock file prevents concurrent preparation of the same data set.
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
from repro.datasets.prepare.convert import convert, find_pairs, module_windows
from repro.datasets.prepare.prepared_split import Split, index_csv
from repro.datasets.prepare.resume_log import Converted, ResumeLog
from repro.datasets.raw.source import Source
from repro.datasets.sets.spec import IGNORE, DatasetModule, Pair
from repro.errors import DataError, ParamsError, StorageError
from repro.io.atomic import sha256_file, write_json
from repro.io.json_reader import read_json
from repro.io.threads import cores, in_order
from repro.params import DatasetFacts, to_plain
from repro.records import locked

SplitProgress = Callable[[str, int, int], None]  # split, pairs done, total pairs


@dataclass(frozen=True, kw_only=True)
class PrepareResult:
    """Result of a preparation; `notes` are about unusual files, `warnings` about implausible labels."""

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
    module: DatasetModule | None = None,
    progress: SplitProgress | None = None,
    workers: int | None = None,
) -> PrepareResult:
    """Write `out/<split>.zip` for every split of `facts`.

    Args:
        name: Name of the data set.
        raw: Folder, zip or tar with the raw data.
        out: Output folder, prepared/<dataset>.
        facts: Classes, and images per split.
        module: The data set; default: the built-in one of this name.
        progress: Called with (split, pairs done, total).
        workers: Number of threads.

    Raises:
        DataError: Invalid data; the message names the file.
        StorageError: The disk is full or read-only, or the data set is being prepared already.
    """
    from repro.datasets import built_in

    module = module or built_in(name)
    _check_facts(name, module, facts)
    with Source.open(raw) as top:
        job = _Job(
            name=name,
            module=module,
            source=top.under(*module.MARKERS),
            facts=facts,
            out=out,
            progress=progress,
            workers=workers or cores(),
        )
        return _prepare(job)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A preparation: written to the folder `part`, then moved to `out`."""

    name: str
    module: DatasetModule
    source: Source
    facts: DatasetFacts
    out: Path
    progress: SplitProgress | None
    workers: int

    @property
    def part(self) -> Path:
        """Folder of work in progress."""
        return self.out.parent / f".{self.out.name}.part"

    def official(self, split: str) -> int:
        """The official number of images; what params.yaml says where a module of a zoo has none."""
        return self.module.SPLITS.get(split, self.facts.splits[split])

    @property
    def tiled(self) -> bool:
        """Whether images are cut into tiles, whose number is known only after opening them."""
        return module_windows(self.module) is not None


def _prepare(job: _Job) -> PrepareResult:
    splits = {split: find_pairs(job.module, job.source, split) for split in job.facts.splits}
    if not job.tiled:
        for split, found in splits.items():
            _check_count(job, split, len(found))
    with _exclusive(job):
        try:
            _start(job)
            for split, found in splits.items():
                _write_split(job, split, found)
            return _promote(job)
        except OSError:
            shutil.rmtree(job.part, ignore_errors=True)
            raise


@contextmanager
def _exclusive(job: _Job) -> Iterator[None]:
    """Hold the lock of the output folder; convert OSError to StorageError."""
    path = job.out.parent / f".{job.out.name}.lock"
    try:
        with locked(path, f"the data set {job.name} is being prepared", reentrant=False):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)  # while it is held: a lock on a removed file has no effect
    except OSError as error:
        raise StorageError(
            f"cannot write the prepared data: {error.strerror}",
            where=error.filename or job.out,
            hint="free some space or fix the permission; partial files were removed",
        ) from error


def _check_facts(name: str, module: DatasetModule, facts: DatasetFacts) -> None:
    """Raise ParamsError if params.yaml contradicts the module of the data set."""
    where = f"params.yaml: datasets.{name}"
    if facts.num_classes != len(module.CLASSES):
        raise ParamsError(f"{facts.num_classes} classes", where=where, allowed=str(len(module.CLASSES)))
    if isinstance(facts.classes, tuple) and facts.classes != tuple(module.CLASSES):
        raise ParamsError("other classes", where=where, allowed=", ".join(module.CLASSES))
    if not facts.splits:
        hint = f"list the splits with their number of images under datasets.{name}.splits"
        raise ParamsError("no splits", where=where, allowed=", ".join(module.SPLITS), hint=hint)
    for split in facts.splits:
        if split not in module.SPLITS and not facts.is_declared:
            raise ParamsError(f"unknown split '{split}'", where=where, allowed=", ".join(module.SPLITS))


def _write_split(job: _Job, split: str, found: list[Pair]) -> None:
    """Write a split into the part folder, resuming from its log."""
    if _finished(job, split):
        return
    with ResumeLog(job.part / f"{split}.zip", job.part / f"{split}.jsonl") as log:
        made = _converted(job, split, found[log.pairs :])
        for i in range(log.pairs + 1, len(found) + 1):
            log.add(next(made))
            if job.progress:
                job.progress(split, i, len(found))
        summary = _finish(job, log, split)
    write_json(job.part / f"{split}.json", summary)


def _finished(job: _Job, split: str) -> bool:
    """Whether a split is complete: in the part folder, or already moved by an interrupted run."""
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


def _converted(job: _Job, split: str, pairs: list[Pair]) -> Iterator[list[Converted]]:
    """Yield the samples of every pair, in order; at most one finished pair per worker waits in memory.

    Images that are cut are large: they are read one after the other, with parallel tiles, to stay below 1 GB.
    """
    inside, outside = (job.workers, 0) if job.tiled else (1, job.workers)
    work = partial(convert, job.module, job.source, split=split, workers=inside)
    return in_order(work, pairs, workers=outside if outside > 1 else 0, ahead=outside)


def _finish(job: _Job, log: ResumeLog, split: str) -> dict[str, Any]:
    """Check the count, then add index.csv and fingerprint.json."""
    samples, classes = log.samples, job.module.CLASSES
    _check_count(job, split, len(samples))
    fingerprint = hashlib.sha256("\n".join([*classes, *log.digests]).encode()).hexdigest()
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
    log.store("index.csv", index_csv(samples))
    log.store("fingerprint.json", (json.dumps(summary, indent=1) + "\n").encode())
    complete = job.facts.splits[split] == job.official(split)
    warnings = label_warnings(split, log.label_facts, classes, complete=complete)
    return summary | {"notes": log.notes, "warnings": warnings}


def _check_count(job: _Job, split: str, found: int) -> None:
    if found != job.facts.splits[split]:
        raise DataError(
            f"split {split} has {found} {'tiles' if job.tiled else 'images'}, "
            f"params.yaml has {job.facts.splits[split]}",
            where=job.source.where,
            allowed=None if job.facts.is_declared else f"officially {job.official(split)}",
            hint="complete the data, or change the number under datasets: in params.yaml",
        )


def _start(job: _Job) -> None:
    """Keep the part folder if it was started for the same input, else start from scratch."""
    inputs = [job.name, job.source.stamp(), job.facts.num_classes, dict(job.facts.splits), _VERSION]
    if job.facts.is_declared:
        code = getattr(job.module, "__file__", None)
        inputs += [to_plain(job.facts), sha256_file(Path(code)) if code else ""]
    text = json.dumps(inputs, sort_keys=True)
    key, stamp = hashlib.sha256(text.encode()).hexdigest(), job.part / "key"
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == key):
        shutil.rmtree(job.part, ignore_errors=True)
        job.part.mkdir(parents=True)
        stamp.write_text(key, encoding="utf-8")


_VERSION = 2  # of label reading and of the log; work started by another version is discarded


def _promote(job: _Job) -> PrepareResult:
    """Move the finished splits into place, and remove splits that params.yaml no longer lists."""
    job.out.mkdir(parents=True, exist_ok=True)
    done = {split: _summary(job, split) for split in job.facts.splits}
    for split in done:
        if (job.part / f"{split}.zip").exists():
            os.replace(job.part / f"{split}.zip", job.out / f"{split}.zip")
    for path in job.out.glob("*.zip"):
        if path.stem not in done:
            path.unlink()
    shutil.rmtree(job.part)
    return PrepareResult(
        images={split: summary["images"] for split, summary in done.items()},
        fingerprints={split: summary["fingerprint"] for split, summary in done.items()},
        notes=tuple(note for summary in done.values() for note in summary["notes"]),
        warnings=tuple(text for summary in done.values() for text in summary["warnings"]),
    )
