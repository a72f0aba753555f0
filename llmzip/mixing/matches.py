"""The match model: what followed the longest known context, and how often that came again.

Contexts are hashed; a slot holds the last successor of a context and how many times in a row it was
right.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.powers import log2, quotient
from llmzip.mixing.base import MATCH_SLOTS_BITS, NO_TOKEN
from llmzip.mixing.hashing import extended
from llmzip.mixing.step import Candidates, Observation, Step
from llmzip.types import Float32Array, IdArray, Int64Array

ORDERS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Lengths of context, in tokens."""
ORDER_COUNT = len(ORDERS)
HISTORY = ORDERS[-1]
"""How many of a stream's latest tokens are kept."""

MAX_RUN = 255
SHORT_RUNS = 8
"""Shorter runs have a bin each, longer ones a bin for each `SHORT_RUNS` lengths."""
RUN_BINS = 16
RATE_LIMIT = 500
"""Counts of hits and misses are halved when their sum exceeds it."""
RATE_FACTOR, RATE_PRIOR = 5, 4
"""odds = (RATE_FACTOR * hits + RATE_PRIOR) / (RATE_FACTOR * misses + RATE_PRIOR)."""


@dataclasses.dataclass(frozen=True)
class _Found:
    """What A contexts have led to."""

    slots: Int64Array  # [A, usable orders]
    marks: npt.NDArray[np.uint32]  # [A, orders]
    order: Int64Array  # [A], the longest known one
    bin: Int64Array  # [A], of its run
    successor: IdArray  # [A], NO_TOKEN where no context is known

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        known: npt.NDArray[np.bool_] = self.successor != NO_TOKEN
        return known


class Matches:
    """A hash table from contexts of ten lengths to successors, and the success rates of the longest
    known ones.
    """

    initial_weights: tuple[float, ...] = (0.1,)
    contexts = 1 + ORDER_COUNT

    def __init__(self, capacity: int) -> None:
        slots = capacity << MATCH_SLOTS_BITS
        self._shift = np.uint64(64 - slots.bit_length() + 1)
        self._checks = np.zeros(slots, np.uint32)
        self._tokens = np.full(slots, NO_TOKEN, np.int32)
        self._runs = np.zeros(slots, np.uint8)
        self._rates = np.zeros((ORDER_COUNT, RUN_BINS, 2), np.int64)  # misses, hits

    def propose(self, step: Step) -> IdArray:
        """See `Expert.propose`."""
        self._found = found = self._look_up(step.history, step.fed)
        return found.successor[:, None]

    def draft(self, history: IdArray, fed: int) -> tuple[IdArray, Float32Array]:
        """The successors of these contexts [A, HISTORY], NO_TOKEN where none is known, and the
        share of hits among successors like these, 0 to 1.
        """
        found = self._look_up(history, fed)
        misses, hits = self._rates[found.order, found.bin].T
        return found.successor, quotient(
            RATE_FACTOR * hits + RATE_PRIOR, RATE_FACTOR * (misses + hits) + 2 * RATE_PRIOR
        )

    def _look_up(self, history: IdArray, fed: int) -> _Found:
        keys = self._keys(history)  # [A, orders]
        usable = sum(order <= fed for order in ORDERS)
        slots = (keys >> self._shift).astype(np.int64)
        marks = keys.astype(np.uint32)  # the low 32 bits
        known = (self._checks[slots] == marks) & (self._tokens[slots] != NO_TOKEN)
        known[:, usable:] = False
        order = ORDER_COUNT - 1 - np.argmax(known[:, ::-1], axis=1)  # the longest known
        longest = slots[np.arange(len(keys)), order]
        run = self._runs[longest].astype(np.int64)
        run_bin = np.minimum(
            np.where(run < SHORT_RUNS, run, SHORT_RUNS + (run - SHORT_RUNS) // SHORT_RUNS),
            RUN_BINS - 1,
        )
        successor = np.where(known.any(axis=1), self._tokens[longest], NO_TOKEN).astype(np.int32)
        return _Found(slots[:, :usable], marks, order, run_bin, successor)

    def _keys(self, history: IdArray) -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
        """A hash of the last tokens for each order: [A, orders]."""
        key = np.zeros(len(history), np.uint64)
        keys = np.zeros((len(history), ORDER_COUNT), np.uint64)
        for i in range(HISTORY):
            key = extended(key, history[:, i])
            if i + 1 in ORDERS:
                keys[:, ORDERS.index(i + 1)] = key
        return keys

    def features(self, step: Step, candidates: Candidates) -> list[Float32Array]:
        """log2 of the successor's observed odds over the model's odds; 0 for other candidates."""
        misses, hits = self._rates[self._found.order, self._found.bin].T
        odds = quotient(RATE_FACTOR * hits + RATE_PRIOR, RATE_FACTOR * misses + RATE_PRIOR)
        model_odds = quotient(
            candidates.weights, candidates.totals[:, None] - candidates.weights + 1
        )
        gain = log2(odds)[:, None] - log2(model_odds)
        return [np.where(candidates.tokens == self._found.successor[:, None], gain, np.float32(0))]

    def context(self, step: Step) -> Int64Array:
        """0: no known context; else the order's number from 1."""
        return np.where(self._found.known, 1 + self._found.order, 0)

    def learn(self, step: Step, candidates: Candidates, observation: Observation) -> None:
        """Count a hit or a miss of the longest known context; store the observed token as the
        successor of all contexts.
        """
        found = self._found
        right = (found.successor == observation.tokens).astype(np.int64)
        known = found.known
        np.add.at(self._rates, (found.order[known], found.bin[known], right[known]), 1)
        self._rates[self._rates.sum(axis=2) > RATE_LIMIT] >>= 1
        for row, token in enumerate(observation.tokens):
            for slot, mark in zip(found.slots[row], found.marks[row], strict=False):
                same = self._checks[slot] == mark and self._tokens[slot] == token
                self._runs[slot] = min(int(self._runs[slot]) + 1, MAX_RUN) if same else 0
                self._checks[slot], self._tokens[slot] = mark, token
