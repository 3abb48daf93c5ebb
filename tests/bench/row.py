"""One line of `make bench`: our cost beside a named peer's, measured in the same run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """`ours / peer` against `bound` (the largest ratio that is good enough; None: only shown).

    `ours` and `peer` are in `unit` (seconds, MiB, ...); a rate is given as its inverse.
    """

    name: str
    peer_name: str
    ours: float
    peer: float
    bound: float | None = None
    unit: str = "s"

    @property
    def ratio(self) -> float:
        return self.ours / self.peer

    @property
    def good(self) -> bool:
        return self.bound is None or self.ratio <= self.bound


def best_of(run: Callable[[], object], *, repeats: int = 5) -> float:
    """The shortest wall time of `repeats` calls in seconds: the one least disturbed by other work."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def interleaved(
    ours: Callable[[], object], peer: Callable[[], object], *, repeats: int = 5
) -> tuple[float, float]:
    """Best times of two functions called in turn, so that a slow moment of the machine hits both."""
    pairs = [(best_of(ours, repeats=1), best_of(peer, repeats=1)) for _ in range(repeats)]
    return min(a for a, _ in pairs), min(b for _, b in pairs)


def medians(*runs: Callable[[], object], repeats: int) -> list[float]:
    """Median wall seconds of each of `runs`, called in turn `repeats` times."""
    rounds = [[best_of(run, repeats=1) for run in runs] for _ in range(repeats)]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]
