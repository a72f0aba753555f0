"""The GPU engine's distributions: products stay on the device, tables are made there, and only what the coder needs travels."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmzip.arithmetic.constants import BUCKET_SIZE
from llmzip.arithmetic.frequencies import Int64Array
from llmzip.mixing.base import NO_TOKEN, TOP_TOKENS

if TYPE_CHECKING:
    from llmzip.engine.triton.engine import TritonEngine


class Owner(Protocol):
    """Who computes products in memory that is used again."""

    generation: int
    """Grows each time."""


@dataclasses.dataclass
class Prediction:
    """What the head says of M rows."""

    vectors: Tensor  # [M, d] int8
    scales: Tensor  # [M] float32
    found: Tensor  # [M, V] float32, the products
    maxima: Tensor  # [M, tiles]
    sums: Tensor  # [M, B] int64
    table: Tensor  # [M, B] int32
    totals: Tensor  # [M] int64
    top: Tensor  # [M, n] int32

    def rows(self, count: int) -> Prediction:
        """The first rows."""
        return Prediction(*(getattr(self, field.name)[:count] for field in dataclasses.fields(self)))


def to_host(*tensors: Tensor) -> list[npt.NDArray[Any]]:
    """The tensors' content on the host: from a GPU by way of memory that it writes by itself, with one wait for all."""
    if tensors[0].device.type != "cuda":
        return [x.cpu().numpy() for x in tensors]
    copies = [torch.empty(x.shape, dtype=x.dtype, device="cpu", pin_memory=True) for x in tensors]
    for copy, x in zip(copies, tensors, strict=True):
        copy.copy_(x, non_blocking=True)
    torch.cuda.current_stream(tensors[0].device).synchronize()
    return [copy.numpy() for copy in copies]


class TritonDistributions:
    """See `llmzip.engine.base.Distributions`."""

    def __init__(self, engine: TritonEngine, prediction: Prediction, owner: Owner | None = None) -> None:
        """owner: whose the products are, if they will be overwritten; then they are computed again when they are needed."""
        self._engine = engine
        self._prediction = prediction
        self._owner = owner
        self._generation = owner.generation if owner else 0
        self._top, self._totals, self._table = to_host(prediction.top, prediction.totals, prediction.table)
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
        with self._engine.working():
            wanted = self._put(tokens, np.int32)
            weights = torch.empty_like(wanted)
            self._engine.operations.weights_of(*self._products(slice(first, first + len(tokens))), wanted, weights)
            return to_host(weights)[0]

    def replace(self, first: int, tokens: npt.NDArray[np.int32], weights: Int64Array) -> None:
        """See `Distributions.replace`."""
        with self._engine.working():
            if self._sums is None:
                self._sums = self._prediction.sums.clone()
            rows = slice(first, first + len(tokens))
            put = self._put(tokens, np.int32), self._put(weights, np.int64)
            self._engine.operations.replace(*self._products(rows), *put, self._sums[rows])
            self._replaced.append((first, *put))

    def bucket_frequencies(self) -> npt.NDArray[np.int32]:
        """See `Distributions.bucket_frequencies`."""
        if self._sums is None:
            return self._table
        with self._engine.working():
            table = torch.empty_like(self._prediction.table)
            self._engine.operations.bucket_table(self._sums, table, torch.empty_like(self._prediction.totals))
            return to_host(table)[0]

    def token_frequencies(self, buckets: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """See `Distributions.token_frequencies`."""
        with self._engine.working():
            chosen = self._put(buckets, np.int32)
            table = torch.empty(len(chosen), BUCKET_SIZE, dtype=torch.int32, device=chosen.device)
            products = self._products(slice(0, len(chosen)))
            self._engine.operations.token_table(*products, chosen, *self._all_replaced(), table)
            return to_host(table)[0]

    def _products(self, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """The products, scales and maxima of some rows."""
        if self._owner and self._owner.generation != self._generation:
            self._prediction = self._engine.predict(self._prediction.vectors, self._prediction.scales)
            self._owner = None
        prediction = self._prediction
        return prediction.found[rows], prediction.scales[rows], prediction.maxima[rows]

    def _all_replaced(self) -> tuple[Tensor, Tensor]:
        """Everything that has been replaced, for all rows: tokens [M, C] int32, weights [M, C] int64."""
        rows, device = len(self._top), self._prediction.found.device
        if len(self._replaced) == 1 and len(self._replaced[0][1]) == rows:  # a decoder's step
            return self._replaced[0][1:]
        width = max((tokens.shape[1] for _, tokens, _ in self._replaced), default=0)
        all_tokens = torch.full((rows, width), NO_TOKEN, dtype=torch.int32, device=device)
        all_weights = torch.zeros(rows, width, dtype=torch.int64, device=device)
        for first, tokens, weights in self._replaced:
            part = slice(first, first + len(tokens)), slice(0, tokens.shape[1])
            all_tokens[part], all_weights[part] = tokens, weights
        return all_tokens, all_weights

    def _put(self, numbers: npt.NDArray[np.integer], kind: type[np.integer]) -> Tensor:
        return torch.from_numpy(np.array(numbers, kind, order="C")).to(self._engine.device)


def empty_prediction(
    engine: TritonEngine, vectors: Tensor, scales: Tensor, found: Tensor, maxima: Tensor
) -> Prediction:
    """Room for what the head says."""
    rows, buckets, device = len(vectors), engine.operations.buckets, vectors.device
    return Prediction(
        vectors,
        scales,
        found,
        maxima,
        sums=torch.empty(rows, buckets, dtype=torch.int64, device=device),
        table=torch.empty(rows, buckets, dtype=torch.int32, device=device),
        totals=torch.empty(rows, dtype=torch.int64, device=device),
        top=torch.empty(rows, min(TOP_TOKENS, engine.model.spec.vocab), dtype=torch.int32, device=device),
    )
