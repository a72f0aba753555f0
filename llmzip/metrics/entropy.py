"""LLMZip's estimate of the entropy of text, its interval, and the three coders that approach it
(arXiv 2306.04050).
"""

from __future__ import annotations

import dataclasses
import math
import zlib

import numpy as np
import numpy.typing as npt

from llmzip.types import Float64Array, IntArray

RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Interval:
    """A ratio with its confidence interval."""

    value: float
    low: float
    high: float
    stderr: float


def bootstrap(
    numerators: npt.ArrayLike, denominators: npt.ArrayLike, *, coverage: float = 0.95, seed: int = 0
) -> Interval:
    """The ratio of two sums with its percentile bootstrap interval, resampling the pairs (Efron,
    1979).

    numerators, denominators: [n], one pair per independent part (a segment's bits and its
    characters).
    """
    above, below = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    chosen = np.random.Generator(np.random.PCG64(seed)).integers(
        0, len(above), (RESAMPLES, len(above))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = above[chosen].sum(axis=1) / below[chosen].sum(axis=1)
    low, high = np.quantile(ratios, [(1 - coverage) / 2, (1 + coverage) / 2])
    return Interval(float(above.sum() / below.sum()), float(low), float(high), float(ratios.std()))


@dataclasses.dataclass(frozen=True)
class Coders:
    """What LLMZip's three coders make of the same predictions [bits]."""

    ranks_deflate: int
    """Each token's rank as LEB128, the bytes by zlib at level 9."""
    whole_bits: int
    """Token by token: the sum of ceil(-log2 q), a prefix code per token."""
    arithmetic: int
    """Arithmetic coding of all: ceil of the sum, and one bit to end (Cover & Thomas, section
    13.3).
    """


def three_coders(bits: Float64Array, ranks: IntArray) -> Coders:
    """Code lengths of tokens with ideal lengths `bits` [n] whose ranks in the predictions were
    `ranks` [n], 0 the best.
    """
    coded = zlib.compress(b"".join(_leb128(rank) for rank in ranks.tolist()), 9)
    return Coders(8 * len(coded), int(np.ceil(bits).sum()), math.ceil(float(bits.sum())) + 1)


def _leb128(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
