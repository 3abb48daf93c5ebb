"""Random numbers that are identical on every machine and with every numpy version.

numpy guarantees stable streams for its bit generators but not for distributions (NEP 19). Samples, epoch
orders and the synthetic scenes therefore use raw 64-bit words and the distributions below.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Rng:
    """A random number generator determined by its seeds.

    Example:
        >>> Rng(1, 2, 3).randrange(100)
        67
    """

    def __init__(self, *seed: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seed))

    def random(self) -> float:
        """Return a float in [0, 1) with 53 random bits."""
        return (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def uniform(self, low: float, high: float) -> float:
        """Return a float in [low, high)."""
        return low + (high - low) * self.random()

    def randrange(self, n: int) -> int:
        """Return an integer in [0, n), with a negligible bias of n / 2**64."""
        return (int(self._bits.random_raw()) * n) >> 64

    def randint(self, low: int, high: int) -> int:
        """Return an integer in [low, high], including both ends."""
        return low + self.randrange(high - low + 1)

    def bernoulli(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.random() < probability

    def raw_words(self, n: int) -> NDArray[np.uint64]:
        """Return n raw 64-bit words."""
        return np.asarray(self._bits.random_raw(n), dtype=np.uint64)

    def permutation(self, n: int) -> NDArray[np.int64]:
        """Return 0..n-1 in random order."""
        return np.argsort(self.raw_words(n), kind="stable")
