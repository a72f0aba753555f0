"""The range coder in plain Python (docs/format.md, "Range coder"), for platforms where constriction
has no wheel.

It writes and reads the same bytes: 32-bit words, 64-bit state (Martin 1979, carries resolved in the
words written so far).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import FREQUENCY_BITS

_WORD_BITS = 32
_WORD_MASK = (1 << _WORD_BITS) - 1
_STATE_MASK = (1 << 2 * _WORD_BITS) - 1


class Encoder:
    """Symbols -> an interval."""

    def __init__(self) -> None:
        self._words: list[int] = []
        self._lower, self._range = 0, _STATE_MASK

    def encode(
        self, symbols: npt.NDArray[np.integer], frequencies: npt.NDArray[np.integer]
    ) -> None:
        """Append symbols [N] with their tables [N, n]."""
        rows = np.arange(len(symbols))
        ends, widths = frequencies.cumsum(axis=1)[rows, symbols], frequencies[rows, symbols]
        for end, width in zip(ends.tolist(), widths.tolist(), strict=True):
            scale = self._range >> FREQUENCY_BITS
            self._lower += scale * (end - width)
            self._range = scale * width
            if self._lower > _STATE_MASK:
                self._lower &= _STATE_MASK
                self._carry()
            if self._range <= _WORD_MASK:
                self._words.append(self._lower >> _WORD_BITS)
                self._lower = self._lower << _WORD_BITS & _STATE_MASK
                self._range <<= _WORD_BITS

    def _carry(self) -> None:
        last = len(self._words) - 1
        while self._words[last] == _WORD_MASK:
            self._words[last] = 0
            last -= 1
        self._words[last] += 1

    def interval(self) -> tuple[int, int, int]:
        """Its lower end, its width, and how many bytes those numbers have; the symbols are any
        number inside.
        """
        words = np.array(
            [*self._words, self._lower >> _WORD_BITS, self._lower & _WORD_MASK], ">u4"
        ).tobytes()
        return int.from_bytes(words, "big"), self._range, len(words)


class Decoder:
    """Words -> symbols."""

    def __init__(self, words: npt.NDArray[np.uint32]) -> None:
        """words: at least two."""
        self._words = words
        self._next = 2
        self._lower, self._range = 0, _STATE_MASK
        self._point = int(words[0]) << _WORD_BITS | int(words[1])

    def decode(self, frequencies: npt.NDArray[np.integer]) -> npt.NDArray[np.int32] | None:
        """The next N symbols, given their tables [N, n]; None where the words cannot have come from
        them.
        """
        symbols = np.empty(len(frequencies), np.int32)
        for r, ends in enumerate(frequencies.cumsum(axis=1)):
            scale = self._range >> FREQUENCY_BITS
            quantile = (self._point - self._lower & _STATE_MASK) // scale
            if quantile >> FREQUENCY_BITS:
                return None
            symbol = int(ends.searchsorted(quantile, "right"))
            width = int(frequencies[r, symbol])
            self._lower = self._lower + scale * (int(ends[symbol]) - width) & _STATE_MASK
            self._range = scale * width
            if self._range <= _WORD_MASK:
                word = int(self._words[self._next]) if self._next < len(self._words) else 0
                self._next += 1
                self._lower = self._lower << _WORD_BITS & _STATE_MASK
                self._point = (self._point << _WORD_BITS | word) & _STATE_MASK
                self._range <<= _WORD_BITS
            symbols[r] = symbol
        return symbols
