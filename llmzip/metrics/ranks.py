"""Where the tokens stood in the model's order, and hints whether it has seen a text before."""

from __future__ import annotations

import zlib

import numpy as np

from llmzip.types import Float64Array, IntArray

RANK_EDGES = (0, 1, 2, 4, 8, 16, 64, 256, 1024)
"""Histogram bins [edge, next edge); the last one is open."""


def rank_histogram(ranks: IntArray) -> list[float]:
    """The share of tokens per bin of RANK_EDGES; rank 0 is the most probable token.

    >>> rank_histogram(np.array([0, 0, 3, 2000]))
    [0.5, 0.0, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25]
    """
    counts = np.histogram(ranks, [*RANK_EDGES, np.inf])[0]
    return [float(share) for share in counts / max(len(ranks), 1)]


def top1_accuracy(ranks: IntArray) -> float:
    """The share of tokens that were the model's first choice: 1 - Llamazip's miss rate."""
    return float(np.mean(ranks == 0))


def min_k(bits: Float64Array, share: float = 0.2) -> float:
    """Min-K% (arXiv 2310.16789) [bits/token]: the mean code length of the most surprising `share`
    of tokens.

    Low values hint that a text was in the training data. A hint, never a proof.

    >>> min_k(np.array([1.0, 2.0, 3.0, 4.0, 10.0]), 0.4)
    7.0
    """
    count = max(1, int(len(bits) * share))
    return float(np.sort(bits)[-count:].mean())


def model_to_zlib(bits: float, data: bytes) -> float:
    """Bits under the model / bits of zlib -9 of the same text (arXiv 2012.07805): low values hint
    at memorization.
    """
    return bits / (8 * len(zlib.compress(data, 9)))
