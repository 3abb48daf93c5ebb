"""Checks of raw data: files, labels, checksums, and duplicates across splits."""

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
from repro.datasets.formats.label_files import stored_size
from repro.datasets.formats.label_maps import LabelFacts, label_facts, label_warnings
from repro.datasets.prepare.convert import checked_label, find_pairs, module_windows
from repro.datasets.prepare.prepare import SplitProgress
from repro.datasets.raw.source import Source
from repro.datasets.sets.spec import DatasetModule, Pair, SplitAbsent
from repro.errors import DataError
from repro.io.download import digest
from repro.io.threads import cores

QUICK = 16  # pairs per split that are decoded without `deep`
LARGE = 2  # threads for images that are cut into tiles: 6000x6000 with its label takes 0.35 GB


@dataclass(frozen=True, kw_only=True)
class SplitCheck:
    """Result for a split. `histogram` counts the pixels per train id (255 = ignore) in the decoded labels."""

    split: str
    images: int
    official: int
    decoded: int
    sizes: Counter[tuple[int, int]]  # width, height
    histogram: NDArray[np.int64]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]  # about implausible labels

    @property
    def complete(self) -> bool:
        return self.images == self.official


@dataclass(frozen=True, kw_only=True)
class DatasetCheck:
    """Result for a data set: splits found, reasons for absent ones, and duplicate images across splits."""

    name: str
    where: Path
    splits: tuple[SplitCheck, ...]
    absent: dict[str, str]
    shared: dict[str, int]  # "train & val" -> images in both


def inspect(
    name: str,
    raw: Path,
    *,
    module: DatasetModule | None = None,
    deep: bool = False,
    progress: SplitProgress | None = None,
    workers: int | None = None,
) -> DatasetCheck:
    """Find and pair the files of every split, and decode some of them.

    Args:
        name: Name of the data set.
        raw: Folder or archive with the raw data.
        module: The data set; default: the built-in one of this name.
        deep: Decode all files, and verify the published checksums of archives.
        progress: Called with (split, pairs done, total).
        workers: Number of threads.

    Raises:
        DataError: The first error found; the message names the file. An absent split is no error if another
            split is present.
    """
    from repro.datasets import built_in

    module = module or built_in(name)
    with Source.open(raw) as top:
        source = top.under(*module.MARKERS)
        if deep:
            _check_archives(module, source)
        found, absent = _present(module, source)
        if not found:
            hint = "name the folder or archive that contains these files"
            raise DataError(f"no split of {name} found", where=raw, allowed=module.LAYOUT, hint=hint)
        check = partial(
            _check_split, module, source, deep=deep, progress=progress, workers=workers or cores()
        )
        findings = tuple(check(split, pairs) for split, pairs in found.items())
        shared = duplicate_images(source, found)
    return DatasetCheck(name=name, where=raw, splits=findings, absent=absent, shared=shared)


def _present(module: DatasetModule, source: Source) -> tuple[dict[str, list[Pair]], dict[str, str]]:
    """Pairs of the splits found, and reasons for the absent ones."""
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
                raise DataError(f"wrong {found}", where=path, allowed=expected, hint="download it again")


def _check_split(
    module: DatasetModule,
    source: Source,
    split: str,
    pairs: list[Pair],
    *,
    deep: bool,
    progress: SplitProgress | None,
    workers: int,
) -> SplitCheck:
    chosen = pairs if deep else pairs[:: max(1, len(pairs) // QUICK)][:QUICK]
    sizes: Counter[tuple[int, int]] = Counter()
    histogram = np.zeros(256, dtype=np.int64)
    notes, facts = [], []
    with ThreadPoolExecutor(min(workers, LARGE) if module_windows(module) else workers) as pool:
        for i, one in enumerate(pool.map(partial(_decode, module, source), chosen), start=1):
            sizes[one.size] += 1
            histogram += one.histogram
            notes += one.notes
            facts += [one.facts] if one.facts else []
            if progress:
                progress(split, i, len(chosen))
    official = getattr(module, "IMAGES", module.SPLITS)[split]
    images = len(pairs)
    if module_windows(module) and not hasattr(module, "IMAGES"):  # params.yaml counts tiles
        images = sum(map(partial(_samples, module, source, split), pairs))
    everything = len(chosen) == len(pairs) and images == official
    return SplitCheck(
        split=split,
        images=images,
        official=official,
        decoded=len(chosen),
        sizes=sizes,
        histogram=histogram,
        notes=tuple(notes),
        warnings=label_warnings(split, facts, module.CLASSES, complete=everything),
    )


def _samples(module: DatasetModule, source: Source, split: str, pair: Pair) -> int:
    """The number of tiles of an image, from its declared size."""
    windows, where = module_windows(module), source.place(pair.image)
    try:
        height, width = stored_size(source.read(pair.image, HEAD), where)
    except DataError:  # the size is further back in some TIFF files
        height, width = stored_size(source.read(pair.image), where)
    return len(windows(height, width, split)) or 1 if windows else 1


@dataclass(frozen=True, kw_only=True)
class _Decoded:
    size: tuple[int, int]
    histogram: NDArray[np.int64]
    notes: list[str]
    facts: LabelFacts | None


def _decode(module: DatasetModule, source: Source, pair: Pair) -> _Decoded:
    data = source.read(pair.image)
    info = check_image(data, source.place(pair.image))
    del data  # up to 108 MB, before the label needs as much
    histogram, facts = np.zeros(256, dtype=np.int64), None
    if pair.label is not None:
        label_HW = checked_label(module, source, pair, info.height, info.width)
        histogram += count_values(label_HW)
        facts = label_facts(pair.id, label_HW)
    return _Decoded(
        size=(info.width, info.height),
        histogram=histogram,
        notes=[*([info.note] if info.note else []), *source.notes(pair.id)],
        facts=facts,
    )


Key = Callable[[str], Hashable]
HEAD = 1 << 16  # first bytes to compare: uncompressed aerial images all have the same size


def duplicate_images(source: Source, found: Mapping[str, list[Pair]]) -> dict[str, int]:
    """Count images that are in two splits, by "train & val". Raises DataError for unreadable files.

    Compares sizes, then the first bytes of files of equal size, then full hashes: a few hundred of 20,000
    JPEG files are read completely.
    """
    images = {split: {pair.image for pair in pairs} for split, pairs in found.items()}
    keys: list[Key] = [
        cache(source.size),
        cache(lambda name: (source.size(name), _hash(source.read(name, HEAD)))),
        cache(lambda name: _hash(source.read(name))),
    ]
    shared: dict[str, int] = {}
    for left, right in combinations(images, 2):
        if _must_be_disjoint(images[left], images[right], left, right):
            both = len(images[left] & images[right]) + _count_equal(keys, images[left], images[right])
            shared |= {f"{left} & {right}": both} if both else {}
    return shared


def _must_be_disjoint(one: set[str], other: set[str], *names: str) -> bool:
    """Whether two splits must be disjoint; two training splits may overlap (VOC's trainaug and trainval)."""
    training = all(name.startswith("train") for name in names)
    return not (training or one <= other or other <= one)


def _count_equal(keys: Iterable[Key], left: set[str], right: set[str]) -> int:
    """Count equal contents under different names; `keys` are ordered by cost."""
    one, other, common = left - right, right - left, set[Hashable]()
    for key in keys:
        common = {key(name) for name in one} & {key(name) for name in other}
        one, other = ({name for name in names if key(name) in common} for names in (one, other))
    return len(common)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
