"""Symbols that are chosen, not decoded, and the range encoder that writes them (docs/format.md, "Range coder")."""

from __future__ import annotations

import bisect
import random
from collections.abc import Iterable, Sequence

from tests.reference_decoder.range_decoder import BITS


class RangeEncoder:
    """Intervals to bytes; `lower` has all bits that were ever shifted out, so that carries need no thought."""

    def __init__(self) -> None:
        self._lower, self._range, self._words = 0, (1 << 64) - 1, 2

    def encode(self, cumulative: Sequence[int], symbol: int) -> None:
        """Write a symbol that has these cumulative frequencies."""
        scale = self._range >> BITS
        self._lower += scale * cumulative[symbol]
        self._range = scale * (cumulative[symbol + 1] - cumulative[symbol])
        if self._range < 1 << 32:
            self._lower, self._range = self._lower << 32, self._range << 32
            self._words += 1

    def finish(self, rng: random.Random) -> bytes:
        """The bytes: any number of the interval will do, mostly it is the one with the fewest."""
        number = self._lower + rng.randrange(self._range)
        if rng.random() < 0.8:
            top = self._lower + self._range - 1
            zeros = (self._lower ^ top).bit_length()
            while top >> zeros << zeros < self._lower:
                zeros -= 1
            number = top >> zeros << zeros
        return number.to_bytes(4 * self._words, "big").rstrip(b"\0")


class Chooser:
    """In the place of a range decoder: chooses the next symbol, and encodes it."""

    def __init__(self, rng: random.Random, planned: Iterable[int] = ()) -> None:
        """planned: the first symbols. The others are drawn by their probability, now and then any one."""
        self._rng, self._planned = rng, iter(planned)
        self._encoder = RangeEncoder()

    def decode(self, cumulative: Sequence[int]) -> int:
        """Choose a symbol."""
        symbol = next(self._planned, None)
        if symbol is None and self._rng.random() < 0.03:
            symbol = self._rng.randrange(len(cumulative) - 1)
        if symbol is None:
            symbol = bisect.bisect_right(cumulative, self._rng.randrange(1 << BITS)) - 1
        self._encoder.encode(cumulative, symbol)
        return symbol

    def finish(self, symbols: int) -> bytes:
        """The bytes, with the zeros that so many symbols need, now and then with more."""
        data = self._encoder.finish(self._rng)
        more = self._rng.choice((0, 0, 0, 1, 7))
        return data.ljust(-(-symbols // 1024) - 1, b"\0") + bytes(more)
