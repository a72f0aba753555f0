"""Symbols with integer frequencies <-> bytes.

docs/format.md, "Range coder", describes the coder so that it can be rewritten: constriction's, with
32-bit words and a state of 64 bits. The C core's is the quickest; where that is not built, the
library's own serves, and where PyPI has none of it (Linux on ARM64), plain Python: the bytes are
the same. The words are stored big-endian without trailing zero bytes, which decoding supplies
again.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from llmzip.coding.observer import CodingObserver
from llmzip.engine.native_core import native_is_available
from llmzip.errors import IntegrityError

if TYPE_CHECKING or native_is_available():
    from llmzip.coding.native_coder import Decoder, Decoders, Encoder
else:
    from llmzip.coding.in_turn import Decoders

    if importlib.util.find_spec("constriction"):
        from llmzip.coding.constriction_coder import Decoder, Encoder
    else:
        from llmzip.coding.plain_coder import Decoder, Encoder

MOST_PER_BYTE = 1 << 10
"""Tokens or symbols for each coded byte, and for none: it bounds what a few bytes can claim
(docs/format.md).
"""

_WORD_BYTES = 4
_STATE_WORDS = 2  # the coder's state, and what the decoder may read past the end


def has_too_many(symbols: int, coded: bytes) -> bool:
    """Whether so many symbols are more than the format allows in these bytes."""
    return symbols > MOST_PER_BYTE * (1 + len(coded))


def padded(coded: bytes, symbols: int) -> bytes:
    """The coded bytes with as many zeros, which change nothing, as so many symbols must have."""
    return coded.ljust((symbols - 1) // MOST_PER_BYTE, b"\0")


class RangeEncoder:
    """Collects symbols; one encoder serves a whole block."""

    def __init__(self, observer: CodingObserver | None = None) -> None:
        """observer: is told all symbols and their tables; it changes no byte."""
        self._observer = observer
        self._coder = Encoder()

    def encode(
        self, symbols: npt.NDArray[np.integer], frequencies: npt.NDArray[np.integer]
    ) -> None:
        """Append symbols [N] with their tables [N, n]; each table sums to 2**24 with entries of at
        least 1.

        Tables of one symbol code nothing.
        """
        if len(symbols) and frequencies.shape[1] > 1:
            self._coder.encode(symbols, frequencies)
            if self._observer is not None:
                self._observer.symbols(symbols, frequencies)

    def finish(self) -> bytes:
        """The coded bytes so far."""
        lowest, width, size = self._coder.interval()  # any number in it will do
        for shift in range(56, -1, -8):  # the roundest one has the fewest bytes
            number = -(-lowest >> shift) << shift
            if number < lowest + width:
                break
        return number.to_bytes(size, "big").rstrip(b"\0")


class RangeDecoder:
    """Reads symbols back in the order in which they were encoded."""

    def __init__(self, coded: bytes, observer: CodingObserver | None = None) -> None:
        """observer: is told all symbols and their tables."""
        self._several = RangeDecoders([coded], observer)

    def decode(self, frequencies: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """The next N symbols, given their tables [N, n]. Raises IntegrityError."""
        symbols, failed = self._several.decode([slice(0, len(frequencies))], frequencies)
        if failed:
            raise IntegrityError(MISFIT)
        return symbols


MISFIT = "the coded symbols do not fit the model's predictions; the block is damaged"


class RangeDecoders:
    """Reads the symbols of several blocks back, those of a step together."""

    def __init__(self, coded: Sequence[bytes], observer: CodingObserver | None = None) -> None:
        """observer: is told all symbols of a single block and their tables."""
        self._observer = observer
        self._decoders = Decoders([Decoder(_words(each)) for each in coded])

    def decode(
        self, parts: Sequence[slice], frequencies: npt.NDArray[np.integer]
    ) -> tuple[npt.NDArray[np.int32], list[int]]:
        """The next symbols [N] of each block's part of the tables [N, n]; and the numbers of the
        blocks whose bytes cannot have come from them. Theirs, and what lies between the parts, are
        zeros.
        """
        if not len(frequencies) or frequencies.shape[1] == 1:
            return np.zeros(len(frequencies), np.int32), []
        symbols, failed = self._decoders.decode(parts, frequencies)
        if self._observer is not None and not failed:
            self._observer.symbols(symbols[parts[0]], frequencies[parts[0]])
        return symbols, failed


def _words(coded: bytes) -> npt.NDArray[np.uint32]:
    missing = -len(coded) % _WORD_BYTES + _STATE_WORDS * _WORD_BYTES
    return np.frombuffer(coded + bytes(missing), ">u4").astype(np.uint32)
