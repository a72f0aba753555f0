"""The GPU engine's distributions: products stay on the device, tables are made there, and only what
the coder needs travels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmzip.arithmetic.constants import BUCKET_SIZE
from llmzip.engine.triton.prediction import Prediction, Predictor, to_device, to_host
from llmzip.engine.triton.transformer import TritonTransformer
from llmzip.mixing.base import NO_TOKEN
from llmzip.types import Int64Array


class TritonDistributions:
    """See `llmzip.engine.base.Distributions`."""

    def __init__(
        self,
        transformer: TritonTransformer,
        heads: tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]],
        predictor: Predictor | None = None,
    ) -> None:
        """heads: vectors [N, d_model] and scales [N]. predictor: who may have made their
        prediction, and overwrites it with its next one; it is then made again when needed.
        """
        self._transformer = transformer
        self._heads = heads
        found = predictor.predicted(*heads) if predictor else None
        self._predictor = predictor if found else None
        self._generation = predictor.generation if predictor else 0
        if found:
            self._prediction, (self._top, self._totals) = found
        else:
            with transformer.working():
                self._prediction = transformer.prediction(*transformer.put(*heads))
                self._top, self._totals = to_host(self._prediction.top, self._prediction.totals)
        self._sums: Tensor | None = None  # once they differ from the prediction's
        self._replaced: list[tuple[int, Tensor, Tensor]] = []

    def top_tokens(self) -> npt.NDArray[np.int32]:
        """See `Distributions.top_tokens`."""
        return self._top

    def totals(self) -> Int64Array:
        """See `Distributions.totals`."""
        return self._totals

    def weights_of(self, first: int, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """See `Distributions.weights_of`."""
        with self._transformer.working():
            wanted = self._put(tokens, np.int32)
            weights = torch.empty_like(wanted)
            self._transformer.operations.weights_of(
                *self._products(slice(first, first + len(tokens))), wanted, weights
            )
            return to_host(weights)[0]

    def replace(self, first: int, tokens: npt.NDArray[np.int32], weights: Int64Array) -> None:
        """See `Distributions.replace`."""
        with self._transformer.working():
            if self._sums is None:
                self._sums = self._latest().sums.clone()
            rows = slice(first, first + len(tokens))
            put = self._put(tokens, np.int32), self._put(weights, np.int64)
            self._transformer.operations.replace(*self._products(rows), *put, self._sums[rows])
            self._replaced.append((first, *put))

    def bucket_frequencies(self) -> npt.NDArray[np.int32]:
        """See `Distributions.bucket_frequencies`."""
        with self._transformer.working():
            prediction = self._latest()
            if self._sums is None:
                return to_host(prediction.table)[0]
            table = torch.empty_like(prediction.table)
            self._transformer.operations.bucket_table(
                self._sums, table, torch.empty_like(prediction.totals)
            )
            return to_host(table)[0]

    def token_frequencies(self, buckets: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """See `Distributions.token_frequencies`."""
        with self._transformer.working():
            chosen = self._put(buckets, np.int32)
            table = torch.empty(len(chosen), BUCKET_SIZE, dtype=torch.int32, device=chosen.device)
            products = self._products(slice(0, len(chosen)))
            self._transformer.operations.token_table(
                *products, chosen, *self._all_replaced(), table
            )
            return to_host(table)[0]

    def _products(self, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """The products, scales and maxima of some rows."""
        prediction = self._latest()
        return prediction.found[rows], prediction.scales[rows], prediction.maxima[rows]

    def _latest(self) -> Prediction:
        """The prediction, made again if another one has taken its memory."""
        if self._predictor and self._predictor.generation != self._generation:
            self._prediction = self._transformer.prediction(*self._transformer.put(*self._heads))
            self._predictor = None
        return self._prediction

    def _all_replaced(self) -> tuple[Tensor, Tensor]:
        """Everything that has been replaced, for all rows: tokens [M, C] int32, weights [M, C]
        int64.
        """
        rows, device = len(self._top), self._transformer.device
        if len(self._replaced) == 1 and len(self._replaced[0][1]) == rows:  # a decoder's step
            return self._replaced[0][1:]
        width = max((tokens.shape[1] for _, tokens, _ in self._replaced), default=0)
        all_tokens = torch.full((rows, width), NO_TOKEN, dtype=torch.int32, device=device)
        all_weights = torch.zeros(rows, width, dtype=torch.int64, device=device)
        for first, tokens, weights in self._replaced:
            span = slice(first, first + len(tokens)), slice(0, tokens.shape[1])
            all_tokens[span], all_weights[span] = tokens, weights
        return all_tokens, all_weights

    def _put(self, numbers: npt.NDArray[np.integer], kind: type[np.integer]) -> Tensor:
        return to_device(np.asarray(numbers, kind), self._transformer.device)
