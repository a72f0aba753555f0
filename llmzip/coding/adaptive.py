"""Symbols of a large alphabet <-> bits, with frequencies learned on the way (docs/format.md,
"Payload of the meta-token codec").

Frequencies are integers and change between groups of symbols, so that a group is coded with a few
numpy calls.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import BUCKET_BITS, BUCKET_SIZE, FREQUENCY_TOTAL
from llmzip.arithmetic.frequencies import frequencies
from llmzip.coding.range_coder import RangeDecoder, RangeEncoder
from llmzip.types import Int64Array

SEEN_WEIGHT = 1 << 16
"""What one occurrence adds to a symbol's weight."""

_MIN_GROUP, _MAX_GROUP = 16, 256


class AdaptiveModel:
    """Weights of symbols, in buckets of 256."""

    def __init__(self, weights: npt.NDArray[np.integer]) -> None:
        """weights: [n], what the symbols weigh before any was seen."""
        self._weights = np.zeros((-(-len(weights) // BUCKET_SIZE), BUCKET_SIZE), np.int64)
        self._weights.flat[: len(weights)] = weights
        self._seen = 0

    def group(self) -> int:
        """How many symbols the next group has, unless they end before."""
        return max(_MIN_GROUP, min(_MAX_GROUP, self._seen // 8))

    def bucket_frequencies(self) -> npt.NDArray[np.int64]:
        """[1, B]."""
        return frequencies(self._weights.sum(axis=1)[None])

    def slot_frequencies(self, buckets: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """The tables inside the buckets [N]: [N, 256]."""
        distinct, rows = np.unique(buckets, return_inverse=True)
        return frequencies(self._weights[distinct])[rows]

    def learn(self, symbols: Int64Array) -> None:
        """A group has been coded."""
        np.add.at(self._weights.reshape(-1), symbols, SEEN_WEIGHT)
        self._seen += len(symbols)


def byte_tables(count: int) -> npt.NDArray[np.int64]:
    """The tables of bytes about which nothing is known: [count, 256]."""
    return np.full((count, 256), FREQUENCY_TOTAL // 256, np.int64)


def encode_bytes(coder: RangeEncoder, data: bytes) -> None:
    """Append bytes about which nothing is known."""
    for start in range(0, len(data), _MAX_GROUP):
        part = np.frombuffer(data[start : start + _MAX_GROUP], np.uint8)
        coder.encode(part, byte_tables(len(part)))


def decode_bytes(coder: RangeDecoder, count: int) -> bytes:
    """The next `count` bytes: a group at a time, as each takes a table of 2 KiB."""
    groups = [_MAX_GROUP] * (count // _MAX_GROUP) + [count % _MAX_GROUP]
    return b"".join(coder.decode(byte_tables(group)).astype(np.uint8).tobytes() for group in groups)


def encode_symbols(coder: RangeEncoder, model: AdaptiveModel, symbols: Int64Array) -> None:
    """Append symbols [n]."""
    start = 0
    while start < len(symbols):
        part = symbols[start : start + model.group()]
        buckets = part >> BUCKET_BITS
        coder.encode(buckets, model.bucket_frequencies().repeat(len(part), axis=0))
        coder.encode(part & (BUCKET_SIZE - 1), model.slot_frequencies(buckets))
        model.learn(part)
        start += len(part)


def decode_symbols(coder: RangeDecoder, model: AdaptiveModel, count: int) -> Int64Array:
    """The next `count` symbols; damaged data may yield symbols beyond the alphabet."""
    parts: list[Int64Array] = [np.empty(0, np.int64)]
    while count:
        size = min(model.group(), count)
        buckets = coder.decode(model.bucket_frequencies().repeat(size, axis=0)).astype(np.int64)
        part = buckets << BUCKET_BITS | coder.decode(model.slot_frequencies(buckets))
        model.learn(part)
        parts.append(part)
        count -= size
    return np.concatenate(parts)
