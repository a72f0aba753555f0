"""Symbols that are chosen, not decoded, and the range encoder that writes them (docs/format.md,
"Range coder")."""

from __future__ import annotations

import bisect
import random
from collections.abc import Callable, Iterable, Sequence

from tests.reference_decoder.range_decoder import BITS


class RangeEncoder:
    """Intervals to bytes; `lower` has all bits that were ever shifted out, so that carries need no
    thought."""

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

    def shortest(self) -> bytes:
        """The number of the interval with the fewest bytes."""
        top = self._lower + self._range - 1
        zeros = (self._lower ^ top).bit_length()
        while top >> zeros << zeros < self._lower:
            zeros -= 1
        return self._bytes(top >> zeros << zeros)

    def any(self, rng: random.Random) -> bytes:
        """Some number of the interval: all of them decode."""
        return self._bytes(self._lower + rng.randrange(self._range))

    def _bytes(self, number: int) -> bytes:
        return number.to_bytes(4 * self._words, "big").rstrip(b"\0")


class Chooser:
    """In the place of a range decoder: chooses the next symbol, and encodes it."""

    def __init__(self, choose: Callable[[Sequence[int]], int]) -> None:
        """choose: cumulative frequencies -> symbol."""
        self._choose = choose
        self._encoder = RangeEncoder()

    @classmethod
    def drawing(cls, rng: random.Random, planned: Iterable[int] = ()) -> Chooser:
        """Takes the planned symbols first, and draws the others by their probability, now and then
        any one."""
        left = iter(planned)

        def choose(cumulative: Sequence[int]) -> int:
            symbol = next(left, None)
            if symbol is None and rng.random() < 0.03:
                symbol = rng.randrange(len(cumulative) - 1)
            if symbol is None:
                symbol = bisect.bisect_right(cumulative, rng.randrange(1 << BITS)) - 1
            return symbol

        return cls(choose)

    @classmethod
    def planned(cls, symbols: Iterable[int]) -> Chooser:
        """Takes these symbols."""
        left = iter(symbols)
        return cls(lambda _: next(left))

    def decode(self, cumulative: Sequence[int]) -> int:
        """Choose a symbol."""
        symbol = self._choose(cumulative)
        self._encoder.encode(cumulative, symbol)
        return symbol

    def finish(self, symbols: int, rng: random.Random | None = None) -> bytes:
        """The bytes, with the zeros that so many symbols need; rng: or other bytes that decode to
        the same."""
        data, more = self._encoder.shortest(), 0
        if rng:
            data = self._encoder.any(rng) if rng.random() < 0.2 else data
            more = rng.choice((0, 0, 0, 1, 7))
        return data.ljust(-(-symbols // 1024) - 1, b"\0") + bytes(more)
