"""Images that lie in two splits of which neither is meant to hold the other: found by name and by content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cache
from itertools import combinations

from repro.datasets.source import Source
from repro.datasets.spec import Pair

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
