"""From integer token weights to the coder's integer frequencies (docs/arithmetic.md, section 5)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import BUCKET_SIZE, FREQUENCY_TOTAL

Int64Array = npt.NDArray[np.int64]

_SUM_BITS = 39  # cumulative sum (39 bits) times 2**24 stays below 2**63


def frequencies(weights: npt.NDArray[np.integer]) -> Int64Array:
    """Weights [N, n], non-negative -> frequencies [N, n] int64, each at least 1, each row summing to 2**24.

    >>> frequencies(np.array([[3, 0, 1]]))
    array([[12582910,        1,  4194305]])
    """
    symbols = weights.shape[1]
    cumulative = np.cumsum(weights, axis=1, dtype=np.int64)
    total = cumulative[:, -1:]
    excess = np.frexp(total.astype(np.float64))[1] - _SUM_BITS  # how many bits the sum is too long
    if (excess > 0).any():
        cumulative = np.cumsum(weights.astype(np.int64) >> np.maximum(excess, 0), axis=1)
        total = cumulative[:, -1:]
    if not total.all():
        cumulative = np.where(total == 0, np.arange(1, symbols + 1), cumulative)
        total = cumulative[:, -1:]
    upper = cumulative * (FREQUENCY_TOTAL - symbols) // total + np.arange(1, symbols + 1)
    result: Int64Array = np.diff(upper, axis=1, prepend=0)
    return result


class TokenDistributions:
    """See `llmzip.engine.base.Distributions`: all weights in numpy."""

    def __init__(self, weights: npt.NDArray[np.int32], top: npt.NDArray[np.int32]) -> None:
        """weights: [N, V] int32, 0 ... 2**23. top: the most likely tokens [N, n]."""
        count, vocab = weights.shape
        buckets = -(-vocab // BUCKET_SIZE)
        if vocab % BUCKET_SIZE:
            weights = np.pad(weights, ((0, 0), (0, buckets * BUCKET_SIZE - vocab)))
        self._weights = weights.reshape(count, buckets, BUCKET_SIZE)
        self._sums: Int64Array = self._weights.sum(axis=2, dtype=np.int64)
        self._totals: Int64Array = self._sums.sum(axis=1)
        self._top = top
        self._replaced: list[tuple[int, npt.NDArray[np.int32], Int64Array]] = []

    def top_tokens(self) -> npt.NDArray[np.int32]:
        """See `Distributions.top_tokens`."""
        return self._top

    def totals(self) -> Int64Array:
        """See `Distributions.totals`."""
        return self._totals

    def weights_of(self, first: int, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """See `Distributions.weights_of`."""
        rows = self._weights[first : first + len(tokens)].reshape(len(tokens), -1)
        found: npt.NDArray[np.int32] = np.take_along_axis(rows, np.maximum(tokens, 0).astype(np.int64), axis=1)
        return np.where(tokens >= 0, found, 0).astype(np.int32)

    def replace(self, first: int, tokens: npt.NDArray[np.int32], weights: Int64Array) -> None:
        """See `Distributions.replace`."""
        row, column = np.nonzero(tokens >= 0)
        token = tokens[row, column]
        change = weights[row, column] - self.weights_of(first, tokens)[row, column]
        np.add.at(self._sums, (first + row, token // BUCKET_SIZE), change)
        self._replaced.append((first, tokens, weights))

    def bucket_frequencies(self) -> Int64Array:
        """[N, B], each row summing to 2**24."""
        return frequencies(self._sums)

    def token_frequencies(self, buckets: npt.NDArray[np.integer]) -> Int64Array:
        """The table inside bucket `buckets[i]` for each row i: [N, 256], each row summing to 2**24."""
        weights = self._weights[np.arange(len(buckets)), buckets].astype(np.int64)
        for first, tokens, replaced in self._replaced:
            row, column = np.nonzero(tokens // BUCKET_SIZE == buckets[first : first + len(tokens), None])
            weights[first + row, tokens[row, column] % BUCKET_SIZE] = replaced[row, column]
        return frequencies(weights)
