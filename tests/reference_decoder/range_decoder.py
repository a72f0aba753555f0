"""From weights to frequencies (docs/arithmetic.md, section 5) to symbols (docs/format.md, "Range
coder")."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence

from tests.reference_decoder.errors import DecodeError

BITS = 24
"""Frequencies add up to 2**24."""
BUCKET = 256
"""Tokens are coded in two steps: the bucket of 256, and which of these."""
BYTES = range(0, (1 << BITS) + 1, 1 << 16)
"""The cumulative frequencies of a literal byte: all alike."""

_MASK = (1 << 64) - 1


def cumulative_frequencies(weights: Sequence[int]) -> list[int]:
    """F_0 ... F_n for n weights: symbol i has the interval from F_i up to F_{i+1}."""
    n, total = len(weights), sum(weights)
    if total == 0:
        weights, total = [1] * n, n
    if total >= 1 << 39:
        shift = total.bit_length() - 39
        weights = [w >> shift for w in weights]
        total = sum(weights)
    sums = itertools.accumulate(weights, initial=0)
    return [i + before * ((1 << BITS) - n) // total for i, before in enumerate(sums)]


def in_buckets(weights: Sequence[int]) -> list[list[int]]:
    """The weights of all symbols in buckets, the last one filled up with 0."""
    padded = [*weights, *[0] * (-len(weights) % BUCKET)]
    return [padded[i : i + BUCKET] for i in range(0, len(padded), BUCKET)]


class RangeDecoder:
    """Bytes to symbols."""

    def __init__(self, data: bytes) -> None:
        self._data, self._offset = data, 0
        self._lower, self._range = 0, _MASK
        self._point = self._word() << 32 | self._word()

    def _word(self) -> int:
        """The next 32 bits; zeros beyond the end."""
        word = self._data[self._offset : self._offset + 4]
        self._offset += 4
        return int.from_bytes(word.ljust(4, b"\0"), "big")

    def decode(self, cumulative: Sequence[int]) -> int:
        """The next symbol, which has these cumulative frequencies."""
        scale = self._range >> BITS
        quotient = ((self._point - self._lower) & _MASK) // scale
        if quotient >= 1 << BITS:
            raise DecodeError("the range coder meets bytes that no encoder writes")
        symbol = bisect.bisect_right(cumulative, quotient) - 1
        self._lower = (self._lower + scale * cumulative[symbol]) & _MASK
        self._range = scale * (cumulative[symbol + 1] - cumulative[symbol])
        if self._range < 1 << 32:
            self._lower = self._lower << 32 & _MASK
            self._range <<= 32
            self._point = (self._point << 32 | self._word()) & _MASK
        return symbol
