"""A text coded with the distributions that a claimant shows, and decoded by a process that has
nothing but the file: the proof that no other check can replace.

The file is `varint(bytes) varint(symbols) CRC-32 coded`, the check that of the text, little-endian.
Each symbol is coded in two steps as the engine does it (docs/arithmetic.md, section 5): which of
the buckets of 256, then which in it.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence

import numpy as np

from llmzip.arithmetic.constants import BUCKET_BITS, BUCKET_SIZE
from llmzip.coding.adaptive import AdaptiveModel
from llmzip.coding.range_coder import RangeDecoder, RangeEncoder, has_too_many, padded
from llmzip.container.varint import ByteReader, varint
from llmzip.errors import FormatError, IntegrityError, LLMZipError
from llmzip.evaluation.checks import Check
from llmzip.evaluation.subjects import Steps
from llmzip.scoring.claims import Predictor
from llmzip.types import TokenProgress

_CHECK_BYTES = 4
_WEIGHT_BITS = 40
"""Probabilities are rounded to multiples of 2 to the power of minus this."""

OVERHEAD = 0.005
"""What tables of integers, and a last word of the coder, may cost beyond the claim [share]."""

_OVERHEAD_BITS = 128


def encode(predictor: Predictor, data: bytes, progress: TokenProgress | None = None) -> bytes:
    """Code a text. Raises LLMZipError for symbols that are no text again, or none of the
    distribution's.
    """
    symbols = list(predictor.symbols(data))
    if predictor.text(symbols) != data:
        raise LLMZipError("the symbols of the text do not stand for the text")
    coder = RangeEncoder()
    for i, symbol in enumerate(symbols):
        tables = _tables(predictor, symbols[:i])
        if not 0 <= symbol < tables.size:
            raise LLMZipError(f"symbol {symbol} at step {i} is none of {tables.size}")
        bucket, slot = np.array([symbol >> BUCKET_BITS]), np.array([symbol & (BUCKET_SIZE - 1)])
        coder.encode(bucket, tables.model.bucket_frequencies())
        coder.encode(slot, tables.model.slot_frequencies(bucket))
        if progress:
            progress(i + 1)
    head = varint(len(data)) + varint(len(symbols)) + _check(data)
    return head + padded(coder.finish(), len(symbols))


def decode(predictor: Predictor, coded: bytes) -> bytes:
    """The text of a file that `encode` has made. Raises FormatError or IntegrityError for anything
    else.
    """
    reader = ByteReader(io.BytesIO(coded))
    size, count = reader.varint("the size"), reader.varint("the number of symbols")
    body = coded[reader.offset + _CHECK_BYTES :]
    check = coded[reader.offset : reader.offset + _CHECK_BYTES]
    if has_too_many(count, body):
        raise FormatError(f"{count} symbols are more than {len(body)} bytes can hold: damaged")
    coder = RangeDecoder(body)
    symbols: list[int] = []
    for _ in range(count):
        tables = _tables(predictor, symbols)
        bucket = coder.decode(tables.model.bucket_frequencies())
        slot = coder.decode(tables.model.slot_frequencies(bucket))
        symbols.append(int(bucket[0]) << BUCKET_BITS | int(slot[0]))
    text = predictor.text(symbols)
    if len(text) != size or _check(text) != check:
        raise IntegrityError("what was decoded is not the text: other predictions, or damaged")
    return text


def _check(text: bytes) -> bytes:
    return zlib.crc32(text).to_bytes(_CHECK_BYTES, "little")


class _Tables:
    """The distribution behind a history as a model of integers."""

    def __init__(self, weights: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
        self.size = len(weights)
        self.model = AdaptiveModel(weights)


def _tables(predictor: Predictor, history: Sequence[int]) -> _Tables:
    probabilities = np.asarray(predictor.probabilities(history), np.float64)
    if probabilities.ndim != 1 or not (
        np.isfinite(probabilities).all() and (probabilities >= 0).all()
    ):
        raise LLMZipError(f"the probabilities behind {len(history)} symbols are no distribution")
    # A sum above 1 is no code: scaled down, it costs what it had claimed to save.
    scaled = probabilities / max(1.0, probabilities.sum())
    return _Tables(np.rint(scaled * (1 << _WEIGHT_BITS)).astype(np.int64))


def coded(claimed: Steps, data: bytes, file: bytes, decoded: bytes) -> Check:
    """The file gives back the text, and is as small as the claim."""
    if decoded != data:
        same = next(
            (i for i, (a, b) in enumerate(zip(data, decoded, strict=False)) if a != b),
            min(len(data), len(decoded)),
        )
        return Check(
            "coded",
            False,
            float(len(data) - same),
            "bytes",
            f"what was decoded differs from byte {same} on",
        )
    bits = float(claimed.bits.sum())
    off = 8 * len(file) / bits - 1 if bits > 0 else np.inf
    return Check(
        "coded",
        8 * len(file) <= bits * (1 + OVERHEAD) + _OVERHEAD_BITS,
        off,
        "share",
        f"{len(file)} bytes were decoded to the text by another process; "
        f"the claim is {bits / 8:.1f} bytes",
    )
