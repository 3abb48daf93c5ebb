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
import zipfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from repro.datasets.archive import Sample, index_csv, member
from repro.datasets.images import Pixels, check_image, read_rgb
from repro.datasets.png import encode_png
from repro.datasets.source import Source
from repro.datasets.spec import IGNORE, DatasetModule, Pair, SplitAbsent, Window
from repro.errors import DataError, ParamsError, StorageError
from repro.params import DatasetFacts

Progress = Callable[[str, int, int], None]  # split, pairs done, pairs in all


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a preparation did; `notes` name files that are unusual but usable."""

    images: dict[str, int]
    fingerprints: dict[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A finished sample: its line of the index, the bytes to store, the hash of what it holds."""

    sample: Sample
    image: bytes
    label: bytes | None
    digest: str
    notes: list[str]


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


def convert(
    module: DatasetModule, source: Source, pair: Pair, split: str, *, workers: int = 1
) -> list[_Made]:
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


def _tile(pair: Pair, image_HWC: Pixels, label_HW: Pixels | None, window: Window, notes: list[str]) -> _Made:
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
) -> _Made:
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
    return _Made(sample=sample, image=image, label=label, digest=digest.hexdigest(), notes=notes)


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
        with _Journal(part / f"{split}.zip", part / f"{split}.jsonl") as journal:
            rest = found[journal.pairs :]
            # Images that are cut are large: one at a time, its tiles in parallel, stays below 1 GB.
            inside, outside = (workers, 1) if hasattr(module, "windows") else (1, workers)
            work = partial(convert, module, source, split=split, workers=inside)
            made = _in_order(work, rest, outside)
            for i in range(journal.pairs + 1, len(found) + 1):
                journal.add(next(made))
                if progress:
                    progress(split, i, len(found))
            summary = _finish(journal, name, module, split, source, facts)
        done.write_text(json.dumps(summary))
    notes: list[str] = json.loads(done.read_text())["notes"]
    return notes


def _finish(
    journal: _Journal, name: str, module: DatasetModule, split: str, source: Source, facts: DatasetFacts
) -> dict[str, Any]:
    """Check the count, then add index.csv and fingerprint.json."""
    samples = journal.samples
    if len(samples) != facts.splits[split]:
        raise DataError(
            f"split {split} has {len(samples)} images, params say {facts.splits[split]}",
            where=source.where,
            allowed=f"officially {module.SPLITS[split]}",
            hint="complete the data, or write the number that you have under datasets: in params.yaml",
        )
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


class _Journal:
    """A growing zip and, line by line, what is safely in it."""

    def __init__(self, path: Path, lines: Path) -> None:
        self.samples: list[Sample] = []
        self.digests: list[str] = []
        self.notes: list[str] = []
        self.pairs = 0
        kept = self._replay(path, lines)
        self._file = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(kept[-1].header_offset + _length(kept[-1]) if kept else 0)
        self._zip = zipfile.ZipFile(self._file, "a" if kept else "w", zipfile.ZIP_STORED)
        for info in kept:  # the central directory is written at the end; tell it what is there
            self._zip.filelist.append(info)
            self._zip.NameToInfo[info.filename] = info
        self._lines = lines.open("a")

    def __enter__(self) -> _Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.close()
        if error[0] is None:
            self._zip.close()
        self._zip.fp = None  # an interrupted zip gets no directory now; the next run goes on from the journal
        self._file.close()

    def add(self, made: list[_Made]) -> None:
        """Store the samples of one pair, then say so."""
        stored = []
        for one in made:
            stored.append(self.store(one.sample.image, one.image))
            if one.label is not None and one.sample.label is not None:
                stored.append(self.store(one.sample.label, one.label))
        self._file.flush()
        line = {
            "samples": [asdict(one.sample) for one in made],
            "digests": [one.digest for one in made],
            "notes": made[0].notes,
            "members": [[i.filename, i.header_offset, i.file_size, i.CRC] for i in stored],
        }
        self._note(line)
        self._lines.write(json.dumps(line) + "\n")
        self._lines.flush()

    def store(self, name: str, data: bytes) -> zipfile.ZipInfo:
        info = member(name)
        self._zip.writestr(info, data)
        return info

    def _note(self, line: dict[str, Any]) -> None:
        self.samples += [Sample(**sample) for sample in line["samples"]]
        self.digests += line["digests"]
        self.notes += line["notes"]
        self.pairs += 1

    def _replay(self, path: Path, lines: Path) -> list[zipfile.ZipInfo]:
        """Members that an interrupted run finished; a torn last line is cut off."""
        kept: list[zipfile.ZipInfo] = []
        if not (path.exists() and lines.exists()):
            lines.unlink(missing_ok=True)
            return kept
        size, good = path.stat().st_size, 0
        for text in lines.read_bytes().splitlines(keepends=True):
            line = _whole(text)
            infos = [_restored(*entry) for entry in line["members"]] if line else []
            if line is None or infos[-1].header_offset + _length(infos[-1]) > size:
                break
            self._note(line)
            kept += infos
            good += len(text)
        os.truncate(lines, good)
        return kept


def _whole(text: bytes) -> dict[str, Any] | None:
    try:
        line: dict[str, Any] = json.loads(text)
    except ValueError:
        return None
    return line if text.endswith(b"\n") else None


def _restored(name: str, offset: int, size: int, crc: int) -> zipfile.ZipInfo:
    info = member(name)
    info.header_offset, info.file_size, info.compress_size, info.CRC = offset, size, size, crc
    return info


def _length(info: zipfile.ZipInfo) -> int:
    return 30 + len(info.filename.encode()) + info.file_size


def _in_order(work: Callable[[Pair], list[_Made]], pairs: list[Pair], workers: int) -> Iterator[list[_Made]]:
    """Results in the order of `pairs`; at most one finished pair a worker waits in memory."""
    if workers <= 1:
        yield from map(work, pairs)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[list[_Made]]] = deque()
        try:
            for pair in pairs:
                waiting.append(pool.submit(work, pair))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


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


def cores() -> int:
    """Threads to use where nobody said how many."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
