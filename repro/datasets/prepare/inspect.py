"""Checks of raw data without changing it: `repro data link`, `verify`, `stats`, and leakage across splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repro.datasets.formats.image_io import check_image, count_values
from repro.datasets.formats.label_maps import LabelFacts, facts_of, label_warnings
from repro.datasets.prepare.convert import checked_label, find_pairs
from repro.datasets.prepare.prepare import Progress
from repro.datasets.raw.source import Source
from repro.datasets.sets.spec import DatasetModule, Pair, SplitAbsent
from repro.errors import DataError
from repro.io.download import digest
from repro.io.threads import cores

QUICK = 16  # pairs of a split that are decoded unless everything is asked for
LARGE = 2  # images that will be cut are looked at so many at once: 6000x6000 with its label takes 0.35 GB


@dataclass(frozen=True, kw_only=True)
class SplitFinding:
    """One split: `histogram` counts the pixels of each train id (255 = ignore) in the decoded labels."""

    split: str
    images: int
    official: int
    decoded: int
    sizes: Counter[tuple[int, int]]  # width, height
    histogram: NDArray[np.int64]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]  # what cannot be right with the decoded labels

    @property
    def complete(self) -> bool:
        return self.images == self.official


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What is there, what is absent (with the reason), and images that two splits share but should not."""

    name: str
    where: Path
    splits: tuple[SplitFinding, ...]
    absent: dict[str, str]
    shared: dict[str, int]  # "train & val" -> images in both


def inspect(
    name: str, raw: Path, *, deep: bool = False, progress: Progress | None = None, workers: int | None = None
) -> Findings:
    """Find and pair the files of every split and decode some (`deep`: all) of them.

    `deep` also compares the owner's archives with their published checksums. Raises DataError, naming the
    file, for the first thing that is wrong. A split of which nothing is here is not wrong as long as
    another one is.
    """
    from repro.datasets import dataset_module

    module = dataset_module(name)
    with Source.open(raw) as whole:
        source = whole.under(*module.MARKERS)
        if deep:
            _check_archives(module, source)
        found, absent = _present(module, source)
        if not found:
            hint = "name the folder or archive that holds these files"
            raise DataError(
                f"none of the splits of {name} is here", where=raw, allowed=module.LAYOUT, hint=hint
            )
        look = partial(_look, module, source, deep=deep, progress=progress, workers=workers or cores())
        findings = tuple(look(split, pairs) for split, pairs in found.items())
        shared = shared_images(source, found)
    return Findings(name=name, where=raw, splits=findings, absent=absent, shared=shared)


def _present(module: DatasetModule, source: Source) -> tuple[dict[str, list[Pair]], dict[str, str]]:
    """The pairs of every split that is here, and why the others are not."""
    found, absent = {}, {}
    for split in module.SPLITS:
        try:
            found[split] = find_pairs(module, source, split)
        except SplitAbsent as error:
            absent[split] = f"{error.what} ({error.where})"
    return found, absent


def _check_archives(module: DatasetModule, source: Source) -> None:
    published = {download.name: download.checksum for download in module.DOWNLOADS}
    for path in source.archives():
        if expected := published.get(path.name):
            kind = expected.partition(":")[0]
            found = f"{kind}:{digest(path, kind)}"
            if found != expected:
                raise DataError(
                    f"not the owner's file: {found}", where=path, allowed=expected, hint="download it again"
                )


def _look(
    module: DatasetModule,
    source: Source,
    split: str,
    pairs: list[Pair],
    *,
    deep: bool,
    progress: Progress | None,
    workers: int,
) -> SplitFinding:
    chosen = pairs if deep else pairs[:: max(1, len(pairs) // QUICK)][:QUICK]
    sizes: Counter[tuple[int, int]] = Counter()
    histogram = np.zeros(256, dtype=np.int64)
    notes, facts = [], []
    with ThreadPoolExecutor(min(workers, LARGE) if hasattr(module, "windows") else workers) as pool:
        for i, one in enumerate(pool.map(partial(_decode, module, source), chosen), start=1):
            sizes[one.size] += 1
            histogram += one.histogram
            notes += one.notes
            facts += [one.facts] if one.facts else []
            if progress:
                progress(split, i, len(chosen))
    official = getattr(module, "IMAGES", module.SPLITS)[split]
    return SplitFinding(
        split=split,
        images=len(pairs),
        official=official,
        decoded=len(chosen),
        sizes=sizes,
        histogram=histogram,
        notes=tuple(notes),
        warnings=label_warnings(split, facts, module.CLASSES, complete=len(chosen) == official),
    )


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    size: tuple[int, int]
    histogram: NDArray[np.int64]
    notes: list[str]
    facts: LabelFacts | None


def _decode(module: DatasetModule, source: Source, pair: Pair) -> _Decoded:
    data = source.read(pair.image)
    info = check_image(data, source.place(pair.image))
    del data  # 108 MB, before the label takes as much
    histogram, facts = np.zeros(256, dtype=np.int64), None
    if pair.label is not None:
        label_HW = checked_label(module, source, pair, info.height, info.width)
        histogram += count_values(label_HW)
        facts = facts_of(pair.id, label_HW)
    return _Decoded(
        size=(info.width, info.height),
        histogram=histogram,
        notes=[*([info.note] if info.note else []), *source.notes(pair.id)],
        facts=facts,
    )


Key = Callable[[str], Hashable]
HEAD = 1 << 16  # uncompressed aerial images all have one size: the first rows tell them apart


def shared_images(source: Source, found: Mapping[str, list[Pair]]) -> dict[str, int]:
    """ "train & val" -> images in both. Raises DataError for a file that cannot be read.

    Only files that have an equal size in the other split are looked into, and only those that begin alike
    are read to the end: of 20,000 JPEG files that is a few hundred.
    """
    images = {split: {pair.image for pair in pairs} for split, pairs in found.items()}
    keys: list[Key] = [
        cache(source.size),
        cache(lambda name: (source.size(name), _hash(source.read(name, HEAD)))),
        cache(lambda name: _hash(source.read(name))),
    ]
    shared: dict[str, int] = {}
    for left, right in combinations(images, 2):
        if _apart(images[left], images[right], left, right):
            both = len(images[left] & images[right]) + _alike(keys, images[left], images[right])
            shared |= {f"{left} & {right}": both} if both else {}
    return shared


def _apart(one: set[str], other: set[str], *names: str) -> bool:
    """Whether two splits may have nothing in common; two to train on may (VOC's trainaug and trainval)."""
    training = all(name.startswith("train") for name in names)
    return not (training or one <= other or other <= one)


def _alike(keys: Iterable[Key], left: set[str], right: set[str]) -> int:
    """How many contents lie under different names on both sides, by keys that get dearer."""
    one, other, common = left - right, right - left, set[Hashable]()
    for key in keys:
        common = {key(name) for name in one} & {key(name) for name in other}
        one, other = ({name for name in names if key(name) in common} for names in (one, other))
    return len(common)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
