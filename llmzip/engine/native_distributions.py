"""The native engine's distributions: frequencies in C, computed on demand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import BUCKET_SIZE
from llmzip.engine.native_core import address, check
from llmzip.engine.native_handle import NativeHandle
from llmzip.mixing.base import NO_TOKEN, TOP_TOKENS

ROWS_AT_ONCE = 64
"""Rows that the head takes at a time: few enough for the processor's cache, many enough for its
multipliers.
"""


class NativeDistributions:
    """The predictions of N head inputs as the frequencies of docs/arithmetic.md, section 5."""

    def __init__(
        self, handle: NativeHandle, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> None:
        """See `NativeEngine.distributions`."""
        spec = handle.spec
        if (
            vectors.ndim != 2
            or vectors.shape[1] != spec.d_model
            or scales.shape != vectors.shape[:1]
        ):
            raise ValueError(
                f"head inputs of shape {vectors.shape} and {scales.shape}: "
                f"[N, {spec.d_model}] and [N]"
            )
        if vectors.dtype != np.int8 or scales.dtype != np.float32:
            raise ValueError(
                f"head inputs of types {vectors.dtype} and {scales.dtype}: "
                "int8 and float32 are needed"
            )
        vectors = np.ascontiguousarray(vectors)
        rows, buckets = len(vectors), -(-spec.vocab // BUCKET_SIZE)
        self._handle, self._group = handle, handle.group
        self._scales = np.ascontiguousarray(scales)
        self._maxima = np.empty(rows, np.float32)
        self._bucket_weights = np.empty((rows, buckets), np.int64)
        self._totals = np.empty(rows, np.int64)
        self._top = np.empty((rows, TOP_TOKENS), np.int32)
        self._replaced: list[tuple[int, npt.NDArray[np.int32], npt.NDArray[np.int64]]] = []
        self._sums = self._group.take_buffer(self, rows * buckets * BUCKET_SIZE)
        self._addresses = address(self._sums), address(self._scales), address(self._maxima)
        check(
            handle.core.head(
                self._group.pointer,
                address(vectors),
                address(self._scales),
                rows,
                address(self._sums),
                address(self._maxima),
                address(self._bucket_weights),
                address(self._totals),
                address(self._top),
            )
        )

    def _rows_from(self, first: int) -> tuple[int, int, int]:
        """The addresses of the sums, scales and maxima of the rows from `first`."""
        sums, scales, maxima = self._addresses
        return (
            sums + 4 * BUCKET_SIZE * self._bucket_weights.shape[1] * first,
            scales + 4 * first,
            maxima + 4 * first,
        )

    def top_tokens(self) -> npt.NDArray[np.int32]:
        """See `Distributions.top_tokens`."""
        return self._top[:, : self._handle.spec.vocab]

    def totals(self) -> npt.NDArray[np.int64]:
        """See `Distributions.totals`."""
        return self._totals

    def weights_of(self, first: int, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """See `Distributions.weights_of`."""
        handle, wanted = self._handle, np.ascontiguousarray(tokens, np.int32)
        out = np.empty(wanted.shape, np.int32)
        handle.core.weights_of(
            self._group.pointer,
            *self._rows_from(first),
            address(wanted),
            *wanted.shape,
            address(out),
        )
        return out

    def replace(
        self, first: int, tokens: npt.NDArray[np.int32], weights: npt.NDArray[np.int64]
    ) -> None:
        """See `Distributions.replace`."""
        handle = self._handle
        tokens, weights = (
            np.ascontiguousarray(tokens, np.int32),
            np.ascontiguousarray(weights, np.int64),
        )
        buckets = address(self._bucket_weights[first : first + len(tokens)])
        handle.core.replace(
            self._group.pointer,
            *self._rows_from(first),
            address(tokens),
            address(weights),
            *tokens.shape,
            buckets,
        )
        self._replaced.append((first, tokens, weights))

    def _all_replaced(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """The replaced tokens and their weights for all rows: [N, C] each."""
        rows = len(self._scales)
        if len(self._replaced) == 1 and len(self._replaced[0][1]) == rows:  # a decoder's step
            return self._replaced[0][1:]
        width = max((tokens.shape[1] for _, tokens, _ in self._replaced), default=0)
        all_tokens = np.full((rows, width), NO_TOKEN, np.int32)
        all_weights = np.zeros(all_tokens.shape, np.int64)
        for first, tokens, weights in self._replaced:
            span = slice(first, first + len(tokens)), slice(0, tokens.shape[1])
            all_tokens[span], all_weights[span] = tokens, weights
        return all_tokens, all_weights

    def bucket_frequencies(self) -> npt.NDArray[np.uint32]:
        """Interval widths of the buckets: [N, B], each row summing to 2**24."""
        handle, out = self._handle, np.empty(self._bucket_weights.shape, np.uint32)
        check(
            handle.core.frequencies(
                self._group.pointer, address(self._bucket_weights), *out.shape, address(out)
            )
        )
        return out

    def token_frequencies(self, buckets: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint32]:
        """Interval widths of the 256 tokens of one bucket for each row: [N] -> [N, 256], rows
        summing to 2**24.
        """
        rows, count = self._bucket_weights.shape
        if buckets.shape != (rows,) or (rows and not 0 <= buckets.min() <= buckets.max() < count):
            raise ValueError(
                f"buckets of shape {buckets.shape}: {rows} numbers below {count} are needed"
            )
        handle, out = self._handle, np.empty((rows, BUCKET_SIZE), np.uint32)
        wanted = np.ascontiguousarray(buckets, np.int32)
        tokens, weights = self._all_replaced()
        check(
            handle.core.token_frequencies(
                self._group.pointer,
                *self._addresses,
                address(wanted),
                address(tokens),
                address(weights),
                tokens.shape[1],
                rows,
                address(out),
            )
        )
        return out

    def weights(self, out: npt.NDArray[np.int32]) -> None:
        """The token weights themselves: C-contiguous [N, vocab]."""
        handle, rows = self._handle, len(self._scales)
        check(handle.core.weights(self._group.pointer, *self._addresses, rows, address(out)))
