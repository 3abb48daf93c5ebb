"""Raw data into one zip a split: checked, parallel, resumable, atomic, the same bytes for the same input.

Work in progress lies in `.<dataset>.part/` beside the output folder (not inside: DVC empties outputs before
a stage runs). A journal there has one line per finished sample, so an interrupted run goes on after the
last one. All splits move into place together, by renames, when everything is done.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from repro.datasets.archive import Sample, index_csv
from repro.datasets.images import Pixels, check_image, read_rgb
from repro.datasets.journal import Journal, Made
from repro.datasets.png import encode_png
from repro.datasets.source import Source
from repro.datasets.spec import IGNORE, DatasetModule, Pair, SplitAbsent, Window
from repro.errors import DataError, ParamsError, StorageError
from repro.params import DatasetFacts
from repro.threads import cores, in_order

Progress = Callable[[str, int, int], None]  # split, pairs done, pairs in all


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a preparation did; `notes` name files that are unusual but usable."""

    images: dict[str, int]
    fingerprints: dict[str, str]
    notes: tuple[str, ...]


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
    file) for data that is not as it should be, StorageError when the disk is full or read-only.
    """
    from repro.datasets import dataset_module

    module = dataset_module(name)
    _check_facts(name, module, facts)
    with Source.open(raw) as whole:
        return _prepare(name, module, whole.under(*module.MARKERS), out, facts, progress, workers or cores())


def _prepare(
    name: str,
    module: DatasetModule,
    source: Source,
    out: Path,
    facts: DatasetFacts,
    progress: Progress | None,
    workers: int,
) -> Report:
    splits = {split: find_pairs(module, source, split) for split in facts.splits}
    if not hasattr(module, "windows"):  # how many an image is cut into is known once it is opened
        for split, found in splits.items():
            _check_count(module, source, split, len(found), facts)
    part = out.parent / f".{out.name}.part"
    try:
        _start(part, _key(name, source, facts))
        notes = []
        for split, found in splits.items():
            notes += _write_split(part, name, module, source, split, found, facts, progress, workers)
        return _promote(part, out, list(splits), tuple(notes))
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise StorageError(
            f"cannot write the prepared data: {error.strerror}",
            where=error.filename or out,
            hint="free some space or fix the permission; nothing half-written was left",
        ) from error


def _check_facts(name: str, module: DatasetModule, facts: DatasetFacts) -> None:
    """Params that cannot be true of this data set are a mistake in params.yaml, not in the data."""
    where = f"params.yaml: datasets.{name}"
    if facts.classes != len(module.CLASSES):
        raise ParamsError(f"{facts.classes} classes", where=where, allowed=str(len(module.CLASSES)))
    for split in facts.splits:
        if split not in module.SPLITS:
            raise ParamsError(f"unknown split '{split}'", where=where, allowed=", ".join(module.SPLITS))


def find_pairs(module: DatasetModule, source: Source, split: str) -> list[Pair]:
    """The pairs of a split; SplitAbsent when there are none, DataError when two have the same id."""
    pairs = module.pairs(source, split)
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise DataError(f"duplicate id '{pair.id}' in split {split}", where=source.place(pair.image))
        seen.add(pair.id)
    if not pairs:
        raise SplitAbsent(f"no images for split {split}", where=source.where, allowed=module.LAYOUT)
    return pairs


def convert(module: DatasetModule, source: Source, pair: Pair, split: str, *, workers: int = 1) -> list[Made]:
    """One pair, read, checked and encoded: one sample, or one a tile (`workers` encode them).

    The file of an image that will be cut, its label and its pixels are never in memory together: the file
    is read again after the label (108 MB each for 6000x6000).
    """
    cut = getattr(module, "windows", None)
    data = source.read(pair.image)
    info = check_image(data, source.place(pair.image))
    if cut:
        del data
    size_HW = (info.height, info.width)
    label_HW = None if pair.label is None else checked_label(module, source, pair, *size_HW)
    notes = [*([info.note] if info.note else []), *source.notes(pair.id)]
    windows: list[Window] = cut(*size_HW, split) if cut else []
    if not windows:
        whole = source.read(pair.image) if cut else data
        return [_made(pair.id, whole, PurePosixPath(pair.image).suffix.lower(), label_HW, size_HW, notes)]
    image_HWC = read_rgb(source.read(pair.image), source.place(pair.image))
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda window: _tile(pair, image_HWC, label_HW, window, notes), windows))


def _tile(pair: Pair, image_HWC: Pixels, label_HW: Pixels | None, window: Window, notes: list[str]) -> Made:
    """One window; what lies beyond the image is black and ignored."""
    box = (slice(window.top, window.bottom), slice(window.left, window.right))
    size_HW = (window.bottom - window.top, window.right - window.left)
    image = encode_png(_filled(image_HWC[box], size_HW, 0))
    label = None if label_HW is None else _filled(label_HW[box], size_HW, IGNORE)
    return _made(f"{pair.id}_{window.name}", image, ".png", label, size_HW, notes)


def _filled(part: Pixels, size_HW: tuple[int, int], value: int) -> Pixels:
    if part.shape[:2] == size_HW:
        return np.ascontiguousarray(part)
    whole = np.full((*size_HW, *part.shape[2:]), value, dtype=np.uint8)
    whole[: part.shape[0], : part.shape[1]] = part
    return whole


def checked_label(module: DatasetModule, source: Source, pair: Pair, height: int, width: int) -> Pixels:
    """The label of a pair; DataError when its size is not that of the image."""
    label_HW = module.read_label(source, pair)
    if label_HW.shape != (height, width):
        raise DataError(
            f"label is {label_HW.shape[1]}x{label_HW.shape[0]}, image is {width}x{height}",
            where=source.place(pair.label or pair.image),
            allowed="equal sizes",
            hint=f"the image is {source.place(pair.image)}",
        )
    return label_HW


def _made(
    name: str,
    image: bytes,
    suffix: str,
    label_HW: Pixels | None,
    size_HW: tuple[int, int],
    notes: list[str],
) -> Made:
    """The digest covers id, image bytes and label pixels: not the PNG bytes, which an encoder may change."""
    digest = hashlib.sha256(f"{name} {size_HW}\n".encode() + hashlib.sha256(image).digest())
    if label_HW is not None:
        digest.update(label_HW.tobytes())
    sample = Sample(
        id=name,
        image=f"images/{name}{suffix}",
        label=None if label_HW is None else f"labels/{name}.png",
        height=size_HW[0],
        width=size_HW[1],
    )
    label = None if label_HW is None else encode_png(label_HW)
    return Made(sample=sample, image=image, label=label, digest=digest.hexdigest(), notes=notes)


def _write_split(
    part: Path,
    name: str,
    module: DatasetModule,
    source: Source,
    split: str,
    found: list[Pair],
    facts: DatasetFacts,
    progress: Progress | None,
    workers: int,
) -> list[str]:
    """Write one split into the part folder, going on after what its journal says is there."""
    done = part / f"{split}.json"
    if not done.exists():
        with Journal(part / f"{split}.zip", part / f"{split}.jsonl") as journal:
            rest = found[journal.pairs :]
            # Images that are cut are large: one at a time, its tiles in parallel, stays below 1 GB.
            inside, outside = (
                (workers, 0) if hasattr(module, "windows") else (1, workers if workers > 1 else 0)
            )
            work = partial(convert, module, source, split=split, workers=inside)
            made = in_order(work, rest, workers=outside, ahead=outside)  # a finished pair a worker waits
            for i in range(journal.pairs + 1, len(found) + 1):
                journal.add(next(made))
                if progress:
                    progress(split, i, len(found))
            summary = _finish(journal, name, module, split, source, facts)
        done.write_text(json.dumps(summary))
    notes: list[str] = json.loads(done.read_text())["notes"]
    return notes


def _finish(
    journal: Journal, name: str, module: DatasetModule, split: str, source: Source, facts: DatasetFacts
) -> dict[str, Any]:
    """Check the count, then add index.csv and fingerprint.json."""
    samples = journal.samples
    _check_count(module, source, split, len(samples), facts)
    fingerprint = hashlib.sha256("\n".join([*module.CLASSES, *journal.digests]).encode()).hexdigest()
    summary = {
        "dataset": name,
        "split": split,
        "images": len(samples),
        "labelled": samples[0].label is not None,
        "ignore": 255,
        "classes": list(module.CLASSES),
        "palette": [list(colour) for colour in module.PALETTE],
        "fingerprint": fingerprint,
    }
    journal.store("index.csv", index_csv(samples))
    journal.store("fingerprint.json", (json.dumps(summary, indent=1) + "\n").encode())
    return summary | {"notes": journal.notes}


def _check_count(module: DatasetModule, source: Source, split: str, found: int, facts: DatasetFacts) -> None:
    if found != facts.splits[split]:
        raise DataError(
            f"split {split} has {found} images, params say {facts.splits[split]}",
            where=source.where,
            allowed=f"officially {module.SPLITS[split]}",
            hint="complete the data, or write the number that you have under datasets: in params.yaml",
        )


def _key(name: str, source: Source, facts: DatasetFacts) -> str:
    text = json.dumps([name, source.stamp(), facts.classes, dict(facts.splits)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _start(part: Path, key: str) -> None:
    """Keep the part folder when it was begun for the same input, else begin anew."""
    stamp = part / "key"
    if not (stamp.exists() and stamp.read_text() == key):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        stamp.write_text(key)


def _promote(part: Path, out: Path, splits: list[str], notes: tuple[str, ...]) -> Report:
    out.mkdir(parents=True, exist_ok=True)
    done = {split: json.loads((part / f"{split}.json").read_text()) for split in splits}
    for split in splits:
        os.replace(part / f"{split}.zip", out / f"{split}.zip")
    shutil.rmtree(part)
    return Report(
        images={split: summary["images"] for split, summary in done.items()},
        fingerprints={split: summary["fingerprint"] for split, summary in done.items()},
        notes=notes,
    )
