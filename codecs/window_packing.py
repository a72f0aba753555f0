"""The bookkeeping of Equal-Info Windows: parts of a text, the tokens that a window may take, and
statistics.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import BUCKET_BITS, BUCKET_SIZE, FREQUENCY_TOTAL
from llmzip.coding.windows import Interval

LITERAL_FREQUENCY = FREQUENCY_TOTAL // 256

_PART_TOKENS, _MAX_PARTS = 256, 32

Symbol = tuple[int, int]
"""A token and the literal byte behind it (0 where it is not the escape token)."""


@dataclasses.dataclass(frozen=True)
class WindowStatistics:
    """How well a text fills its windows."""

    bits: int
    bytes: int
    tokens: int
    windows: int
    escaped: int
    """Windows spent on tokens that no window holds."""
    information_bits: float
    """Σ −log2 p of the tokens in the other windows, each predicted from its window alone."""

    @property
    def ratio(self) -> float:
        """Bytes of text per byte of windows."""
        return 8 * self.bytes / (self.bits * self.windows)

    @property
    def tokens_per_window(self) -> float:
        """Mean over all windows."""
        return self.tokens / self.windows

    @property
    def padding(self) -> float:
        """The share of the windows' bits that carries no information."""
        return 1 - self.information_bits / (self.bits * self.windows)


class Part:
    """A part of the text with the windows that it has so far."""

    def __init__(self, symbols: list[Symbol], bits: int) -> None:
        self.symbols = symbols
        self.bits = bits
        self.done = 0
        self.numbers: list[int] = []
        self.information_bits = 0.0

    def add(self, count: int, interval: Interval, number: int) -> None:
        """Append a window of `count` tokens."""
        self.done += count
        self.numbers.append(number)
        self.information_bits += interval.information_bits(self.bits)


class Walk:
    """The tokens that a window may hold, added one by one."""

    def __init__(self, ahead: list[Symbol], bits: int) -> None:
        self.ahead = ahead
        self.intervals = [Interval.whole(bits)]
        """After 0, 1, 2 ... tokens that fit."""
        self.inputs: list[tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]] = []
        """What predicts token 0, 1, 2 ..."""
        self.open = True
        """Whether all tokens so far have fitted."""

    def add(
        self, buckets: npt.NDArray[np.int64], slots: npt.NDArray[np.int64], escape: int
    ) -> None:
        """Append the next token, given the starts of the intervals in its two tables."""
        token, literal = self.ahead[len(self.intervals) - 1]
        interval = self.intervals[-1]
        for starts, symbol in ((buckets, token >> BUCKET_BITS), (slots, token & (BUCKET_SIZE - 1))):
            interval = interval.narrowed(
                int(starts[symbol]), int(starts[symbol + 1] - starts[symbol])
            )
        if token == escape:
            interval = interval.narrowed(literal * LITERAL_FREQUENCY, LITERAL_FREQUENCY)
        if interval.fits:
            self.intervals.append(interval)
        else:
            self.open = False


def part_bounds(tokens: int) -> list[tuple[int, int]]:
    """Where the parts of a text of so many tokens begin and end."""
    parts = max(1, min(_MAX_PARTS, tokens // _PART_TOKENS))
    ends = [tokens * (i + 1) // parts for i in range(parts)]
    return list(zip([0, *ends[:-1]], ends, strict=True))
