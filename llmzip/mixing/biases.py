"""Adaptive biases: how much more often a token came than the model expected, alone, after the last
one or two tokens, and where another token was the most likely one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmzip.mixing.base import BIAS_SLOTS_BITS
from llmzip.mixing.counts import count, excess
from llmzip.mixing.step import Candidates, Observation, Step
from llmzip.types import Float32Array, IdArray, Int64Array

TOKEN_FACTOR, LAST_FACTOR, BEFORE_FACTOR, TOP_FACTOR = (
    0x9E3779B97F4A7C15,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
)


class Biases:
    """Counts of each token in its contexts."""

    contexts = 1

    def __init__(self, capacity: int, vocab: int, version: int) -> None:
        """version: of the mixing; the first has no context of the most likely token."""
        slots = capacity << BIAS_SLOTS_BITS
        self._shift = np.uint64(64 - slots.bit_length() + 1)
        self._has_top = version >= 2
        self.initial_weights: tuple[float, ...] = (0.3, 0.3, 0.1) + (0.1,) * self._has_top
        # Pairs of counts: observed, expected.
        self._tables = [np.zeros((size, 2), np.int64) for size in (vocab, slots)]

    def propose(self, step: Step) -> IdArray:
        """No candidates."""
        return np.empty((len(step.top_tokens), 0), np.int32)

    def features(self, step: Step, candidates: Candidates) -> list[Float32Array]:
        """log2 of the observed count over the expected one, for each context."""
        self._slots = self._find_slots(step, candidates.tokens)
        return [excess(table, slots) for table, slots in self._slots]

    def _find_slots(self, step: Step, tokens: IdArray) -> list[tuple[Int64Array, Int64Array]]:
        """The table of each feature, and the slots [A, C] of the candidates in it."""
        token, last, before, top = (
            (x + 1).astype(np.uint64)
            for x in (tokens, step.history[:, :1], step.history[:, 1:2], step.top_tokens[:, :1])
        )
        key = token * np.uint64(TOKEN_FACTOR)
        pair = key + last * np.uint64(LAST_FACTOR)
        keys = [pair, pair + before * np.uint64(BEFORE_FACTOR)]
        if self._has_top:
            keys.append(key + top * np.uint64(TOP_FACTOR))
        alone, hashed = self._tables
        return [
            (alone, np.maximum(tokens, 0).astype(np.int64)),
            *((hashed, self._slot(key)) for key in keys),
        ]

    def _slot(self, key: npt.NDArray[np.uint64]) -> Int64Array:
        mixed = (key ^ (key >> np.uint64(32))) * np.uint64(TOKEN_FACTOR)
        return (mixed >> self._shift).astype(np.int64)

    def context(self, step: Step) -> Int64Array:
        """Always 0: the mixer has one set of weights."""
        return np.zeros(len(step.top_tokens), np.int64)

    def learn(self, step: Step, candidates: Candidates, observation: Observation) -> None:
        """Count each candidate in all its contexts."""
        for table, slots in self._slots:
            count(table, slots, candidates, observation)
