"""A mapping that reads its values when they are asked for, and keeps the last ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")
KEPT = 512  # values; ten thousand records would be a gigabyte


class Lazy(Mapping[str, T]):
    """Names in their order, and a function that reads the value of one."""

    def __init__(self, names: Sequence[str], read: Callable[[str], T]) -> None:
        self._names = dict.fromkeys(names)
        self._read = lru_cache(maxsize=KEPT)(read)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> T:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)
