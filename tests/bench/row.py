"""One line of `make bench`: our cost beside a named peer's, measured in the same run."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.stats import t


@dataclass(frozen=True, kw_only=True)
class Row:
    """`ours / peer` against `bound` (the largest ratio that is good enough; None: only shown).

    `ours` and `peer` are in `unit` (seconds, MiB, ...); a rate is given as its inverse. `interval` is that of
    the ratio, at 95 %, where single measurements differ by as much as the bound allows. The bound is then
    missed only if the whole interval is above it: noise alone does that in one of 40 runs.
    """

    name: str
    peer_name: str
    ours: float
    peer: float
    bound: float | None = None
    unit: str = "s"
    interval: tuple[float, float] | None = None

    @property
    def ratio(self) -> float:
        return self.ours / self.peer

    @property
    def good(self) -> bool:
        least = self.interval[0] if self.interval else self.ratio
        return self.bound is None or least <= self.bound

    @property
    def shown_ratio(self) -> str:
        low, high = self.interval or (0.0, 0.0)
        return f"{self.ratio:.3f}" + (f" ({low:.3f} to {high:.3f})" if self.interval else "")


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


def ratio_interval(pairs: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Geometric mean of `ours / peer` over pairs measured in turn, and its 95 % interval by Student's t."""
    logs = [math.log(ours / peer) for ours, peer in pairs]
    middle, spread = statistics.mean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    half = float(t.ppf(0.975, len(logs) - 1)) * spread
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)


def medians(*runs: Callable[[], object], repeats: int) -> list[float]:
    """Median wall seconds of each of `runs`, called in turn `repeats` times."""
    rounds = [[best_of(run, repeats=1) for run in runs] for _ in range(repeats)]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]
