"""Uniform integers by seed, the same on every machine (docs/generation.md)."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmzip.buffers import whole_number


class Randomness:
    """Uniform integers from SHA-256 in counter mode.

    Number i is ⌊u · n / 2^64⌋, u being the first 8 bytes, little-endian, of the digest of `llmzip
    generate`, the seed and i (8 bytes each, little-endian).
    """

    def __init__(self, seed: int) -> None:
        """seed: 0 to 2^64 − 1. Raises ValueError for others."""
        if not 0 <= whole_number(seed, "seed") < 1 << 64:
            raise ValueError(f"seed {seed}: seeds are 0 to 2^64 - 1")
        self._seed = seed
        self._counter = itertools.count()

    def below(self, bound: int) -> int:
        """The next number, 0 to bound − 1."""
        message = (
            b"llmzip generate"
            + self._seed.to_bytes(8, "little")
            + next(self._counter).to_bytes(8, "little")
        )
        return int.from_bytes(hashlib.sha256(message).digest()[:8], "little") * bound >> 64

    def choose(self, weights: Sequence[int]) -> int:
        """An index, each with a probability in proportion to its weight (non-negative integers, not
        all 0).
        """
        sums = list(itertools.accumulate(weights))
        drawn = self.below(sums[-1]) if sums[-1] < 1 << 64 else self._long(sums[-1])
        return next(i for i, total in enumerate(sums) if drawn < total)

    def choose_by_sums(self, sums: npt.NDArray[np.int64]) -> int:
        """The same for weights of which the running sums are given."""
        return int(np.searchsorted(sums, self.below(int(sums[-1])), side="right"))

    def _long(self, bound: int) -> int:
        """The same for bounds of more than 64 bits: as many numbers as it takes, the first one on
        top.
        """
        words = -(-bound.bit_length() // 64) + 1
        value = 0
        for _ in range(words):
            value = value << 64 | self.below(1 << 64)
        return value * bound >> (64 * words)
