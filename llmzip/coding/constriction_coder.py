"""The range coder on constriction's `RangeEncoder` and `RangeDecoder`: 32-bit words, 64-bit
state.
"""

from __future__ import annotations

import constriction
import numpy as np
import numpy.typing as npt


def _tables(frequencies: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """What makes `Categorical(perfect=False)` use exactly these frequencies.

    It gives each symbol 1 plus its share of the rest, rounded down cumulatively; with f - 1 as the
    shares, whose sum is the rest, the scale is exactly 1.
    """
    return (frequencies - 1).astype(np.float64)


class Encoder:
    """Symbols -> an interval."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()
        self._model = constriction.stream.model.Categorical(perfect=False)

    def encode(
        self, symbols: npt.NDArray[np.integer], frequencies: npt.NDArray[np.integer]
    ) -> None:
        """Append symbols [N] with their tables [N, n]."""
        self._coder.encode(symbols.astype(np.int32), self._model, _tables(frequencies))

    def interval(self) -> tuple[int, int, int]:
        """Its lower end, its width, and how many bytes those numbers have; the symbols are any
        number inside.
        """
        words: npt.NDArray[np.uint32] = self._coder.get_compressed()
        state: tuple[int, tuple[int, int]] = self._coder.pos()
        position, (lower, width) = state
        size = 4 * (position + 2)
        # Some number inside the interval.
        number = int.from_bytes(words.astype(">u4").tobytes().ljust(size, b"\0"), "big")
        return number - (number - lower) % (1 << 64), width, size


class Decoder:
    """Words -> symbols."""

    def __init__(self, words: npt.NDArray[np.uint32]) -> None:
        """words: at least two."""
        self._coder = constriction.stream.queue.RangeDecoder(words)
        self._model = constriction.stream.model.Categorical(perfect=False)

    def decode(self, frequencies: npt.NDArray[np.integer]) -> npt.NDArray[np.int32] | None:
        """The next N symbols, given their tables [N, n]; None where the words cannot have come from
        them.
        """
        try:
            symbols: npt.NDArray[np.int32] = self._coder.decode(self._model, _tables(frequencies))
        except AssertionError:
            return None
        return symbols
