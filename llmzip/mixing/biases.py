"""Adaptive biases: how much more often a token came than the model expected, alone and after the last one or two tokens."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.powers import log2, quotient
from llmzip.mixing.base import BIAS_SLOTS_BITS
from llmzip.mixing.step import Options, Outcome, Step
from llmzip.types import Float32Array, IdArray, Int64Array

UNIT = 1 << 12
"""One occurrence."""

TOKEN_FACTOR, LAST_FACTOR, BEFORE_FACTOR = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9


class Biases:
    """See the module."""

    initial_weights: tuple[float, ...] = (0.3, 0.3, 0.1)
    situations = 1

    def __init__(self, capacity: int, vocab: int) -> None:
        slots = capacity << BIAS_SLOTS_BITS
        self._shift = np.uint64(64 - slots.bit_length() + 1)
        self._tables = [np.zeros((size, 2), np.int64) for size in (vocab, slots)]  # came, expected

    def candidates(self, step: Step) -> IdArray:
        """None of its own."""
        return np.empty((len(step.top), 0), np.int32)

    def features(self, step: Step, options: Options) -> list[Float32Array]:
        """log2 of what came over what was expected, for each context."""
        self._places = self._find(step, options.tokens)
        out = []
        for table, place in self._places:
            came, expected = np.moveaxis(table[place] + UNIT, -1, 0)
            out.append(log2(quotient(came, expected)))
        self._expected = np.rint(options.probabilities * np.float32(UNIT)).astype(np.int64)
        return out

    def _find(self, step: Step, tokens: IdArray) -> list[tuple[Int64Array, Int64Array]]:
        """The table and the places [A, C] of each feature."""
        token, last, before = ((x + 1).astype(np.uint64) for x in (tokens, step.history[:, :1], step.history[:, 1:2]))
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

    def situation(self) -> Int64Array:
        """Always the same."""
        return np.zeros(len(self._expected), np.int64)

    def learn(self, step: Step, options: Options, outcome: Outcome) -> None:
        """Count what came and what was expected of each candidate."""
        real = options.tokens >= 0
        change = np.stack([outcome.is_token * UNIT, self._expected], axis=-1)
        for table, place in self._places:
            np.add.at(table, place[real], change[real])
