"""Calibration of the model's probabilities: how sure it is, and how often its first, second, ...
choice was right.
"""

from __future__ import annotations

import numpy as np

from llmzip.mixing.base import TOP_TOKENS
from llmzip.mixing.counts import count, excess
from llmzip.mixing.step import Candidates, Observation, Step
from llmzip.mixing.token_classes import CLASSES
from llmzip.types import Float32Array, IdArray, Int64Array

LOG_SCALE = np.float32(0.25)
"""Brings the logarithm of a probability to the size of other features."""

RANKS = TOP_TOKENS + 1
"""Of the most likely tokens, and one for all others."""


class Calibration:
    """A constant and the model's own opinion, to be weighed by class of token, and counts by rank.

    Its mixer context is the class of the last token.
    """

    initial_weights: tuple[float, ...] = (0.0, 0.0, 0.2)
    contexts = CLASSES

    def __init__(self) -> None:
        self._ranks = np.zeros((RANKS, 2), np.int64)

    def propose(self, step: Step) -> IdArray:
        """No candidates."""
        return np.empty((len(step.top_tokens), 0), np.int32)

    def features(self, step: Step, candidates: Candidates) -> list[Float32Array]:
        """1, a quarter of log2 of the probability, and log2 of the observed count of the rank over
        the expected one.
        """
        # [A, C, TOP_TOKENS]
        same = candidates.tokens[:, :, None] == step.top_tokens[:, None, :]
        self._rank = np.where(same.any(axis=2), same.argmax(axis=2), TOP_TOKENS)
        one = np.ones(candidates.tokens.shape, np.float32)
        return [one, candidates.bits * LOG_SCALE, excess(self._ranks, self._rank)]

    def context(self, step: Step) -> Int64Array:
        """The class of the last token."""
        return step.last_class.astype(np.int64)

    def learn(self, step: Step, candidates: Candidates, observation: Observation) -> None:
        """Count each candidate's rank."""
        count(self._ranks, self._rank, candidates, observation)
