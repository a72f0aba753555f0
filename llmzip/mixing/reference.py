"""The mixer in numpy: docs/arithmetic.md, section 6, readable before fast."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.powers import quotient
from llmzip.mixing.base import NO_TOKEN
from llmzip.mixing.biases import Biases
from llmzip.mixing.experts import Expert
from llmzip.mixing.matches import HISTORY, Matches
from llmzip.mixing.mixer import Mixer
from llmzip.mixing.neighbors import Neighbors
from llmzip.mixing.step import Candidates, Observation, Step
from llmzip.types import IdArray, Int64Array

EXPERTS = ("matches", "neighbors", "biases")


class ReferenceContextMixer:
    """See `ContextMixer`."""

    def __init__(
        self,
        capacity_bits: int,
        d_model: int,
        vocab: int,
        start_token: int,
        experts: Sequence[str] = EXPERTS,
    ) -> None:
        """experts: fewer than all, for measurements; files need all."""
        self.capacity_bits = capacity_bits
        self._start_token = start_token
        capacity = 1 << capacity_bits
        known: dict[str, Callable[[], Expert]] = {
            "matches": lambda: Matches(capacity),
            "neighbors": lambda: Neighbors(capacity, d_model),
            "biases": lambda: Biases(capacity, vocab),
        }
        self._experts = [known[name]() for name in experts]
        self._mixer = Mixer(self._experts)
        self.start(1, np.empty(0, np.int32))

    def start(self, streams: int, context: IdArray) -> None:
        """See `ContextMixer.start`."""
        self._history = np.full((streams, HISTORY), self._start_token, np.int32)
        known = context[::-1][:HISTORY]
        self._history[:, : len(known)] = known
        self._fed = 1 + len(context)

    def recall(self, vectors: npt.NDArray[np.int8], top_tokens: IdArray) -> IdArray:
        """See `ContextMixer.recall`."""
        self._step = Step(vectors, top_tokens, self._history[: len(top_tokens)], self._fed)
        proposed = [expert.propose(self._step) for expert in self._experts]
        self._tokens = _without_repeats(np.concatenate([*proposed, top_tokens], axis=1))
        return self._tokens

    def mix(self, weights: IdArray, totals: Int64Array) -> Int64Array:
        """See `ContextMixer.mix`."""
        self._model_weights = weights.astype(np.int64)
        self._candidates = Candidates(self._tokens, np.maximum(weights, 1), totals)
        features = [
            f for expert in self._experts for f in expert.features(self._step, self._candidates)
        ]
        return self._mixer.mix(
            features, [expert.context() for expert in self._experts], self._candidates
        )

    def learn(self, tokens: IdArray, weights: IdArray) -> None:
        """See `ContextMixer.learn`."""
        candidates = self._candidates
        probabilities = quotient(np.maximum(weights, 1), candidates.totals)
        observation = Observation(tokens, probabilities, candidates.tokens == tokens[:, None])
        self._mixer.learn(candidates, observation, self._model_weights)
        for expert in self._experts:
            expert.learn(self._step, candidates, observation)
        rows = len(tokens)
        self._history[:rows, 1:] = self._history[:rows, :-1].copy()
        self._history[:rows, 0] = tokens
        self._fed += 1

    def copy(self) -> ReferenceContextMixer:
        """See `ContextMixer.copy`."""
        return copy.deepcopy(self)


def _without_repeats(tokens: IdArray) -> IdArray:
    """Each row's different tokens, in ascending order; NO_TOKEN for the rest: [A, n] -> [A, n]."""
    ordered = np.sort(tokens, axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = NO_TOKEN
    return ordered
