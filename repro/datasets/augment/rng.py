"""Random numbers that are the same on every machine and under every numpy version.

numpy promises stable streams for its bit generators, not for the distributions built on them (NEP 19), so
samples, epoch orders and the synthetic scenes draw raw 64-bit words and shape them here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Draw:
    """A stream of draws that depends on its seed numbers alone, e.g. Draw(seed, epoch, index)."""

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seed))

    def unit(self) -> float:
        """Uniform in [0, 1), 53 bits."""
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self.unit()

    def below(self, n: int) -> int:
        """An integer in [0, n); the bias of n / 2**64 is far below anything measurable."""
        return (int(self._bits.random_raw()) * n) >> 64

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high], both included."""
        return low + self.below(high - low + 1)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.unit() < probability

    def words(self, n: int) -> NDArray[np.uint64]:
        """n raw 64-bit words."""
        return np.asarray(self._bits.random_raw(n), dtype=np.uint64)

    def permutation(self, n: int) -> NDArray[np.int64]:
        """0..n-1 in random order."""
        return np.argsort(self.words(n), kind="stable")
