"""Adaptive biases: how much more often a token came than the model expected, alone and after the
last one or two tokens.

A relative of secondary symbol estimation (SSE, as in PAQ): it corrects a prediction by how such
predictions came out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.powers import log2, quotient
from llmzip.mixing.base import BIAS_SLOTS_BITS
from llmzip.mixing.step import Candidates, Observation, Step
from llmzip.types import Float32Array, IdArray, Int64Array

BIAS_UNIT = 1 << 12
"""One occurrence of a token, and how many are added to both counts before they are divided."""

TOKEN_FACTOR, LAST_FACTOR, BEFORE_FACTOR = (
    0x9E3779B97F4A7C15,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
)


class Biases:
    """Counts of each token in three contexts: observed occurrences and expected ones, in units of
    BIAS_UNIT.
    """

    initial_weights: tuple[float, ...] = (0.3, 0.3, 0.1)
    contexts = 1

    def __init__(self, capacity: int, vocab: int) -> None:
        slots = capacity << BIAS_SLOTS_BITS
        self._shift = np.uint64(64 - slots.bit_length() + 1)
        # Pairs of counts: observed, expected.
        self._tables = [np.zeros((size, 2), np.int64) for size in (vocab, slots)]

    def propose(self, step: Step) -> IdArray:
        """No candidates."""
        return np.empty((len(step.top_tokens), 0), np.int32)

    def features(self, step: Step, candidates: Candidates) -> list[Float32Array]:
        """log2 of the observed count over the expected one, for each context."""
        self._slots = self._find_slots(step, candidates.tokens)
        out = []
        for table, slots in self._slots:
            observed, expected = np.moveaxis(table[slots] + BIAS_UNIT, -1, 0)
            out.append(log2(quotient(observed, expected)))
        self._expected = np.rint(candidates.probabilities * np.float32(BIAS_UNIT)).astype(np.int64)
        return out

    def _find_slots(self, step: Step, tokens: IdArray) -> list[tuple[Int64Array, Int64Array]]:
        """The table of each feature, and the slots [A, C] of the candidates in it."""
        token, last, before = (
            (x + 1).astype(np.uint64) for x in (tokens, step.history[:, :1], step.history[:, 1:2])
        )
        pair = token * np.uint64(TOKEN_FACTOR) + last * np.uint64(LAST_FACTOR)
        triple = pair + before * np.uint64(BEFORE_FACTOR)
        alone, hashed = self._tables
        return [
            (alone, np.maximum(tokens, 0).astype(np.int64)),
            *((hashed, self._slot(key)) for key in (pair, triple)),
        ]

    def _slot(self, key: npt.NDArray[np.uint64]) -> Int64Array:
        mixed = (key ^ (key >> np.uint64(32))) * np.uint64(TOKEN_FACTOR)
        return (mixed >> self._shift).astype(np.int64)

    def context(self) -> Int64Array:
        """Always 0: the mixer has one set of weights."""
        return np.zeros(len(self._expected), np.int64)

    def learn(self, step: Step, candidates: Candidates, observation: Observation) -> None:
        """Count the observation of each candidate, and its expectation: the model's probability."""
        real = candidates.tokens >= 0
        change = np.stack([observation.is_candidate * BIAS_UNIT, self._expected], axis=-1)
        for table, slots in self._slots:
            np.add.at(table, slots[real], change[real])
