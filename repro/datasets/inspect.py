"""Looking at raw data without changing it: what `repro data link`, `verify` and `stats` report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repro.datasets.images import check_image
from repro.datasets.prepare import Progress, cores, find_pairs
from repro.datasets.source import Source
from repro.datasets.spec import IGNORE, DatasetModule, Pair
from repro.errors import DataError

QUICK = 16  # pairs of a split that are decoded unless everything is asked for


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

    @property
    def complete(self) -> bool:
        return self.images == self.official


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All splits that are there; `missing` ones are not, with the reason."""

    name: str
    where: Path
    splits: tuple[SplitFinding, ...]
    missing: dict[str, str] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)  # "train & val": ids in both, where none may be


def inspect(
    name: str, raw: Path, *, deep: bool = False, progress: Progress | None = None, workers: int | None = None
) -> Findings:
    """Find and pair the files of every split and decode some (`deep`: all) of them.

    Raises DataError, naming the file, for the first thing that is wrong; a split that is absent is not
    wrong as long as another one is there.
    """
    from repro.datasets import dataset_module

    module = dataset_module(name)
    source = Source.open(raw).under(*module.MARKERS)
    found: dict[str, list[Pair]] = {}
    missing: dict[str, str] = {}
    for split in module.SPLITS:
        try:
            found[split] = find_pairs(module, source, split)
        except DataError as error:
            missing[split] = f"{error.what} ({error.where})"
    if not found:
        raise DataError(f"none of the splits of {name} is here", where=raw, allowed=module.LAYOUT) from None
    findings = tuple(
        _look(module, source, split, pairs, deep, progress, workers or cores())
        for split, pairs in found.items()
    )
    return Findings(name=name, where=raw, splits=findings, missing=missing, shared=_shared(found))


def _look(
    module: DatasetModule,
    source: Source,
    split: str,
    pairs: list[Pair],
    deep: bool,
    progress: Progress | None,
    workers: int,
) -> SplitFinding:
    chosen = pairs if deep else pairs[:: max(1, len(pairs) // QUICK)][:QUICK]
    sizes: Counter[tuple[int, int]] = Counter()
    histogram = np.zeros(256, dtype=np.int64)
    notes: list[str] = []
    results = _parallel(lambda pair: _decode(module, source, pair), chosen, workers)
    for i, (size, counts, note) in enumerate(results, start=1):
        sizes[size] += 1
        histogram += counts
        notes += [note] if note else []
        if progress:
            progress(split, i, len(chosen))
    return SplitFinding(
        split=split,
        images=len(pairs),
        official=module.SPLITS[split],
        decoded=len(chosen),
        sizes=sizes,
        histogram=histogram,
        notes=tuple(notes),
    )


Decoded = tuple[tuple[int, int], NDArray[np.int64], str | None]


def _decode(module: DatasetModule, source: Source, pair: Pair) -> Decoded:
    info = check_image(source.read(pair.image), source.place(pair.image))
    counts = np.zeros(256, dtype=np.int64)
    if pair.label is not None:
        label_HW = module.read_label(source, pair)
        if label_HW.shape != (info.height, info.width):
            raise DataError(
                f"label is {label_HW.shape[1]}x{label_HW.shape[0]}, image is {info.width}x{info.height}",
                where=source.place(pair.label),
                allowed="equal sizes",
            )
        counts += np.bincount(label_HW.reshape(-1), minlength=256)
        wrong = np.flatnonzero(counts[len(module.CLASSES) : IGNORE])
        assert not wrong.size, f"{pair.label}: the module let {wrong} pass"
    return (info.width, info.height), counts, info.note


def _parallel(work: Callable[[Pair], Decoded], pairs: list[Pair], workers: int) -> Iterator[Decoded]:
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(work, pairs)


def _shared(found: dict[str, list[Pair]]) -> dict[str, int]:
    """Images that lie in two splits of which neither is meant to contain the other."""
    images = {split: {pair.image for pair in pairs} for split, pairs in found.items()}
    shared = {}
    for left, right in combinations(images, 2):
        both = len(images[left] & images[right])
        if both and not _nested(images[left], images[right]):
            shared[f"{left} & {right}"] = both
    return shared


def _nested(left: Iterable[str], right: Iterable[str]) -> bool:
    return set(left) <= set(right) or set(right) <= set(left)
