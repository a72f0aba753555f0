"""Integer models through the exact engine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import BUCKET_BITS, BUCKET_SIZE, FREQUENCY_TOTAL
from llmzip.engine.base import Engine
from llmzip.metrics.capacity import Shape
from llmzip.model.spec import ModelSpec
from llmzip.scoring.base import ModelCard, chunks
from llmzip.scoring.text import TextTokenizer
from llmzip.types import BoolArray, Float64Array, IdArray, Int64Array

_ZERO_WEIGHT = 2.0**-8
"""What a token weight of 0 counts as, so that its code length is finite; the coder's tables have a
similar floor.
"""

_GROUP = 64
"""This many rows of token weights are in memory at once."""


class IntegerPredictions:
    """Head inputs, from which token weights are made when they are asked for."""

    def __init__(
        self, engine: Engine, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> None:
        self._engine = engine
        self._vectors = vectors  # [N, d]
        self._scales = scales  # [N]

    def _weights(self) -> Iterator[tuple[slice, npt.NDArray[np.int32]]]:
        for start in range(0, len(self._scales), _GROUP):
            rows = slice(start, start + _GROUP)
            yield rows, self._engine.token_weights(self._vectors[rows], self._scales[rows])

    def measure(self, targets: IdArray) -> tuple[Float64Array, IdArray]:
        """See `Predictions.measure`."""
        bits, ranks = np.empty(len(targets)), np.empty(len(targets), np.int32)
        for rows, weights in self._weights():
            chosen = weights[np.arange(len(weights)), targets[rows]]
            zeros = weights.shape[1] - np.count_nonzero(weights, axis=1)
            total = weights.sum(axis=1, dtype=np.int64) + _ZERO_WEIGHT * zeros
            bits[rows] = np.log2(total / np.maximum(chosen, _ZERO_WEIGHT))
            ranks[rows] = (weights > chosen[:, None]).sum(axis=1)
        return bits, ranks

    def table_bits(self, targets: IdArray) -> Float64Array:
        """Code lengths [N] by the coder's integer tables (docs/arithmetic.md, section 5) instead of
        the weights.
        """
        bits = np.empty(len(targets))
        for start in range(0, len(targets), _GROUP):
            rows = slice(start, start + _GROUP)
            distributions = self._engine.distributions(self._vectors[rows], self._scales[rows])
            buckets, here = targets[rows] >> BUCKET_BITS, np.arange(len(targets[rows]))
            bucket = distributions.bucket_frequencies()[here, buckets]
            token = distributions.token_frequencies(buckets)[
                here, targets[rows] & (BUCKET_SIZE - 1)
            ]
            bits[rows] = 2 * math.log2(FREQUENCY_TOTAL) - np.log2(bucket) - np.log2(token)
        return bits

    def log2_probabilities(self) -> npt.NDArray[np.float32]:
        """See `Predictions.log2_probabilities`."""
        parts = []
        for _, weights in self._weights():
            floored = np.maximum(weights, _ZERO_WEIGHT, dtype=np.float64)
            parts.append(np.log2(floored / floored.sum(axis=1, keepdims=True)).astype(np.float32))
        return np.concatenate(parts)


class IntegerReader:
    """A reader on an exact engine: the weights are those of docs/arithmetic.md, section 4.8."""

    def __init__(self, engine: Engine, texts: int, length: int) -> None:
        self._engine = engine
        self._length = length
        self._chunk = next(chunks(texts, length)).stop
        self._session = engine.session(texts, length, self._chunk)

    def advance(self, tokens: IdArray) -> Int64Array:
        """See `Reader.advance`."""
        for start in range(0, tokens.shape[1], self._chunk):
            head = self._session.advance(tokens[:, start : start + self._chunk])
        weights = self._engine.token_weights(
            np.ascontiguousarray(head.vectors[:, -1]), np.ascontiguousarray(head.scales[:, -1])
        )
        return weights.astype(np.int64)

    def keep(self, rows: Sequence[int]) -> None:
        """See `Reader.keep`."""
        self._session = self._session.fork(rows, self._length, self._chunk)


class IntegerScorer:
    """A scorer on any exact engine; probabilities are token weights over their sum."""

    batch_positions = 32_768
    end_token: int | None = None
    """Nothing that is coded needs one, so that integer models keep none."""

    def __init__(self, engine: Engine, name: str) -> None:
        model, spec = engine.model, engine.model.spec
        self.engine = engine
        self.vocabulary = model.vocabulary
        self.max_positions = spec.max_positions
        self.tokenize = TextTokenizer(model.vocabulary)
        self.model_card = ModelCard(
            name=name,
            kind="integer",
            digest=model.fingerprint.hex(),
            parameters=spec.weight_bytes,  # one byte each
            model_bytes=sum(array.nbytes for array in model.tensors.values()),
            shape=_shape(spec),
            settings={"engine": type(engine).__name__},
        )

    def predict(
        self, inputs: IdArray, wanted: BoolArray, window: int | None
    ) -> Iterator[tuple[slice, IntegerPredictions]]:
        """See `Scorer.predict`; a window also sees the stream's first four tokens."""
        streams, length = inputs.shape
        session = None
        for columns in chunks(streams, length):
            part = np.ascontiguousarray(inputs[:, columns])
            if session is None:
                session = self.engine.session(streams, min(window or length, length), part.shape[1])
            head = session.advance(part)
            here = wanted[:, columns]
            if here.any():
                vectors, scales = (
                    np.ascontiguousarray(head.vectors[here]),
                    np.ascontiguousarray(head.scales[here]),
                )
                yield columns, IntegerPredictions(self.engine, vectors, scales)

    def reader(self, texts: int, length: int) -> IntegerReader:
        """See `Scorer.reader`."""
        return IntegerReader(self.engine, texts, length)


def _shape(spec: ModelSpec) -> Shape:
    """The shape as `float_scorer` finds it: with experts, all layers count as if they had them."""
    features = spec.features
    return Shape(
        layers=spec.layers,
        d_model=spec.d_model,
        heads=spec.heads,
        kv_heads=spec.kv_heads,
        head_dim=spec.head_dim,
        d_ff=features.expert_ff or spec.d_ff,
        vocab=spec.vocab,
        gated=features.gated,
        experts=features.experts or 1,
        active_experts=features.experts_used or 1,
    )
