"""What a machine does at best, and what of it a step of the native engine needs."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from llmzip.engine.native_engine import NativeEngine
from llmzip.model.spec import ModelSpec


class Ceiling:
    """What the machine does at best, and what of it a step needs."""

    MOST_BYTES = 1 << 30

    def __init__(self, engine: NativeEngine) -> None:
        self.engine = engine
        self.rounds = 1000
        while self._peak_seconds(self.rounds) < 0.02:
            self.rounds *= 4
        self._block = np.empty(0, np.uint8)

    def multiply_adds_per_second(self) -> float:
        """Now."""
        return self.engine.peak(1) * self.rounds / self._peak_seconds(self.rounds)

    def _peak_seconds(self, rounds: int) -> float:
        return seconds_of(lambda: self.engine.peak(rounds))

    def bytes_per_second(self, size: float) -> float:
        """Now, of reading as many bytes, again and again."""
        size = min(int(size), self.MOST_BYTES) >> 20 << 20
        if size != self._block.nbytes:
            self._block = np.ones(size, np.uint8)
            self.engine.read(self._block)
        return size / seconds_of(lambda: self.engine.read(self._block))

    def seconds(self, streams: int, count: int, context: float) -> tuple[float, float]:
        """Of multiply-adds alone and of reading alone, now: a step of `count` tokens per stream
        behind `context` tokens.
        """
        spec = self.engine.model.spec
        weights = sum(n * k for n, k in product_shapes(spec))
        # Scores take one product with the keys, weighted sums one for each byte of the weights.
        attention = 3 * context * spec.layers * spec.heads * spec.head_dim
        cache = streams * context * spec.layers * spec.kv_heads * (2 * spec.head_dim + 12)
        experts = expert_weights(spec)
        part = spec.features.experts_used / max(spec.features.experts, 1)
        # Of the experts those that some row chooses, if each is chosen as often as the others.
        read = weights + cache + experts * (1 - (1 - part) ** (streams * count) - part)
        return (
            streams * count * (weights + attention) / self.multiply_adds_per_second(),
            read / self.bytes_per_second(read),
        )


def product_shapes(spec: ModelSpec) -> list[tuple[int, int]]:
    """Outputs and inputs of each product that a token passes."""
    d, q, kv, f = spec.d_model, spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim, spec.d_ff
    features, inputs = spec.features, 1 + spec.features.gated
    shapes = []
    for layer in range(spec.layers):
        shapes += [(q + 2 * kv, d), (d, q)]
        if features.has_experts(layer):
            own, shared = features.expert_ff, features.shared_ff
            shapes += [(features.experts + features.shared_weighted, d)]
            shapes += [(inputs * own, d), (d, own)] * features.experts_used
            shapes += [(inputs * shared, d), (d, shared)] if shared else []
        else:
            shapes += [(inputs * f, d), (d, f)]
    return [*shapes, (spec.vocab, d)]


def expert_weights(spec: ModelSpec) -> int:
    """Those of all experts that are chosen or not."""
    features = spec.features
    layers = sum(features.has_experts(layer) for layer in range(spec.layers))
    one = (2 + features.gated) * spec.d_model * features.expert_ff
    return layers * features.experts * one


def seconds_of(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
