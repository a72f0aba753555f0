"""From integer token weights to the coder's integer frequencies (docs/arithmetic.md, section 5)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import FREQUENCY_TOTAL, SUM_BITS
from llmzip.types import Int64Array


def frequencies(weights: npt.NDArray[np.integer]) -> Int64Array:
    """Weights [N, n], non-negative -> frequencies [N, n] int64, each at least 1, each row summing
    to 2**24.

    >>> frequencies(np.array([[3, 0, 1]]))
    array([[12582910,        1,  4194305]])
    """
    symbols = weights.shape[1]
    cumulative = np.cumsum(weights, axis=1, dtype=np.int64)
    total = cumulative[:, -1:]
    excess = np.frexp(total.astype(np.float64))[1] - SUM_BITS  # how many bits the sum is too long
    if (excess > 0).any():
        cumulative = np.cumsum(weights.astype(np.int64) >> np.maximum(excess, 0), axis=1)
        total = cumulative[:, -1:]
    if not total.all():
        cumulative = np.where(total == 0, np.arange(1, symbols + 1), cumulative)
        total = cumulative[:, -1:]
    upper = cumulative * (FREQUENCY_TOTAL - symbols) // total + np.arange(1, symbols + 1)
    result: Int64Array = np.diff(upper, axis=1, prepend=0)
    return result
