"""Looking at raw data without changing it: what `repro data link`, `verify` and `stats` report."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from repro.datasets.images import check_image, count_values
from repro.datasets.label_checks import LabelFacts, facts_of, label_warnings
from repro.datasets.prepare import Progress
from repro.datasets.samples import checked_label, find_pairs
from repro.datasets.shared import shared_images
from repro.datasets.source import Source
from repro.datasets.spec import DatasetModule, Pair, SplitAbsent
from repro.download import digest
from repro.errors import DataError
from repro.threads import cores

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
