"""The torch engine's distributions: token weights stay on the device, and only tables of
frequencies come to the host.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmzip.arithmetic.constants import BUCKET_SIZE
from llmzip.arithmetic.frequencies import frequencies
from llmzip.types import Int64Array


class TorchDistributions:
    """See `llmzip.engine.base.Distributions`.

    A step's weights are megabytes, its frequency tables some kilobytes.
    """

    def __init__(
        self,
        working: Callable[[], contextlib.AbstractContextManager[None]],
        weights: Tensor,
        sums: Tensor,
        top: Tensor,
    ) -> None:
        """weights: [N, B, 256] int32, 0 ... 2**23. sums: [N, B] int64, of the buckets.

        top: the likeliest tokens [N, n].

        working: the engine's, in which this is made, too.
        """
        self._working = working
        self._weights = weights
        self._sums: Int64Array = sums.cpu().numpy()
        self._totals: Int64Array = self._sums.sum(axis=1)
        self._top: npt.NDArray[np.int32] = top.to(torch.int32).cpu().numpy()
        self._replaced: list[tuple[int, npt.NDArray[np.int32], Int64Array]] = []

    def top_tokens(self) -> npt.NDArray[np.int32]:
        """See `Distributions.top_tokens`."""
        return self._top

    def totals(self) -> Int64Array:
        """See `Distributions.totals`."""
        return self._totals

    def weights_of(self, first: int, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """See `Distributions.weights_of`."""
        with self._working():
            rows = self._weights[first : first + len(tokens)].flatten(1)
            found = rows.gather(1, self._indices(np.maximum(tokens, 0))).cpu().numpy()
        return np.where(tokens >= 0, found, 0)

    def replace(self, first: int, tokens: npt.NDArray[np.int32], weights: Int64Array) -> None:
        """See `Distributions.replace`."""
        row, column = np.nonzero(tokens >= 0)
        token = tokens[row, column]
        change = weights[row, column] - self.weights_of(first, tokens)[row, column]
        np.add.at(self._sums, (first + row, token // BUCKET_SIZE), change)
        self._replaced.append((first, tokens, weights))

    def bucket_frequencies(self) -> Int64Array:
        """See `Distributions.bucket_frequencies`."""
        return frequencies(self._sums)

    def token_frequencies(self, buckets: npt.NDArray[np.integer]) -> Int64Array:
        """See `Distributions.token_frequencies`."""
        with self._working():
            rows = torch.arange(len(buckets), device=self._weights.device)
            weights = self._weights[rows, self._indices(buckets)].cpu().numpy().astype(np.int64)
        for first, tokens, replaced in self._replaced:
            row, column = np.nonzero(
                tokens // BUCKET_SIZE == buckets[first : first + len(tokens), None]
            )
            weights[first + row, tokens[row, column] % BUCKET_SIZE] = replaced[row, column]
        return frequencies(weights)

    def _indices(self, numbers: npt.NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(numbers.astype(np.int64)).to(self._weights.device)
