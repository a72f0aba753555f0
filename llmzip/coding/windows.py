"""Arithmetic codes of exactly W bits (Equal-Info Windows, arXiv 2404.03626), in exact integers.

A window holds as many symbols as its W bits can say. Who decodes is not told how many: a symbol
whose interval is narrower than one step of the W-bit number ends the window and is not part of it.
So who encodes chooses, among the numbers that say the symbols, one that such a symbol follows.
docs/codecs.md has the rules.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import FREQUENCY_BITS, FREQUENCY_TOTAL

_GUARD_BITS = 96
"""Precision beyond the window: more than the three tables of a token take, 24 bits each."""
_CELL = 1 << _GUARD_BITS
_MAX_TRIES = 32


@dataclasses.dataclass(frozen=True)
class Interval:
    """What the symbols so far leave of the numbers below 2^W, in units of 2^-96."""

    low: int
    width: int

    @classmethod
    def whole(cls, bits: int) -> Interval:
        """All of a window of `bits` bits but its last number, which stands for something else."""
        return cls(0, ((1 << bits) - 1) * _CELL)

    @property
    def fits(self) -> bool:
        """Whether it is as wide as a step of the number: then it holds one."""
        return self.width >= _CELL

    def narrowed(self, start: int, frequency: int) -> Interval:
        """After a symbol with the interval [start, start + frequency) of 2^24."""
        scale = self.width >> FREQUENCY_BITS
        return Interval(self.low + scale * start, scale * frequency)

    def quantile(self, number: int) -> int:
        """Where in 2^24 a number lies; from 2^24 on it is beyond all symbols."""
        return ((number << _GUARD_BITS) - self.low) // (self.width >> FREQUENCY_BITS)

    def information_bits(self, bits: int) -> float:
        """What the symbols amount to that led here from a whole window of `bits` bits."""
        return bits + _GUARD_BITS - math.log2(self.width)

    def first_number(self) -> int:
        """The least number inside, where there is one."""
        return -(-self.low // _CELL)

    def numbers(self) -> Iterator[int]:
        """Numbers inside, all or so many evenly spread that more are not worth trying; the least
        first.
        """
        first = self.first_number()
        count = -(-(self.low + self.width) // _CELL) - first
        for i in range(min(count, _MAX_TRIES)):
            yield first + i * count // min(count, _MAX_TRIES)


def interval_starts(tables: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Frequencies [N, n] -> where each symbol's interval begins, and the total: [N, n + 1]."""
    starts = np.zeros((tables.shape[0], tables.shape[1] + 1), np.int64)
    np.cumsum(tables, axis=1, out=starts[:, 1:])
    return starts


def symbol_at(
    interval: Interval, number: int, starts: npt.NDArray[np.int64]
) -> tuple[int, Interval] | None:
    """The symbol that a number says next and what it leaves, or None beyond all symbols."""
    quantile = interval.quantile(number)
    if quantile >= FREQUENCY_TOTAL:
        return None
    symbol = int(np.searchsorted(starts, quantile, "right")) - 1
    return symbol, interval.narrowed(int(starts[symbol]), int(starts[symbol + 1] - starts[symbol]))
