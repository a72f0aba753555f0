"""Code lengths per unit of text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from llmzip.types import Float64Array, IntArray


def characters(data: bytes) -> int:
    """Unicode characters: the bytes that do not continue a UTF-8 character; for other bytes a count
    of those too.

    >>> characters("né".encode())
    2
    """
    array = np.frombuffer(data, np.uint8)
    return int(np.count_nonzero((array & 0xC0) != 0x80))


def text_size(sample_bytes: Sequence[int], sample_tokens: Sequence[int]) -> float:
    """TS [bits/token]: the mean over samples of 8 * bytes / tokens, of the scored tokens (arXiv
    2511.08066, section 3).

    It averages samples where the NLL averages tokens, as the authors' code does.

    >>> text_size([10, 30], [5, 10])
    20.0
    """
    return float(np.mean(8 * np.asarray(sample_bytes) / np.asarray(sample_tokens)))


def smoothed_bits(bits: Float64Array, vocab: int, alpha: float) -> Float64Array:
    """Code lengths under p_a = (1 - a) p + a / V, bounded by log2(V / a) (non-vacuous bounds, arXiv
    2312.17173).

    >>> smoothed_bits(np.array([np.inf]), 8, 0.5)
    array([4.])
    """
    smoothed: Float64Array = -np.log2((1 - alpha) * np.exp2(-bits) + alpha / vocab)
    return smoothed


def by_position(
    bits: Float64Array, sizes: IntArray, positions: IntArray, edges: Sequence[int]
) -> list[float | None]:
    """Bits/byte of the tokens whose position lies in [edges[i], edges[i+1]); None where there is
    none.

    bits, sizes (bytes), positions (0 is the first token of a segment): [n].
    """
    rates: list[float | None] = []
    for low, high in itertools.pairwise(edges):
        inside = (positions >= low) & (positions < high)
        total = int(sizes[inside].sum())
        rates.append(float(bits[inside].sum()) / total if total else None)
    return rates


def percentile(bits: Float64Array, share: float = 99.0) -> float:
    """The percentile of per-token code lengths [bits/token]: means hide rare catastrophes."""
    return float(np.percentile(bits, share))
