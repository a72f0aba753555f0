"""The mixer in numpy: docs/arithmetic.md, section 6, readable before fast."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.powers import quotient
from llmzip.mixing.base import (
    EXPERTS,
    MIXING_VERSION,
    NO_TOKEN,
    ContextMixer,
    ContextMixers,
)
from llmzip.mixing.biases import Biases
from llmzip.mixing.calibration import Calibration
from llmzip.mixing.experts import Expert
from llmzip.mixing.in_turn import MixersInTurn
from llmzip.mixing.matches import HISTORY, Matches
from llmzip.mixing.mixer import Mixer
from llmzip.mixing.neighbors import Neighbors
from llmzip.mixing.step import Candidates, Observation, Step
from llmzip.types import Float32Array, IdArray, Int64Array

FIRST_EXPERTS = EXPERTS[:3]
"""Of mixing version 1."""


class ReferenceContextMixer:
    """See `ContextMixer`."""

    def __init__(
        self,
        capacity_bits: int,
        d_model: int,
        vocab: int,
        start_token: int,
        classes: npt.NDArray[np.uint8],
        version: int = MIXING_VERSION,
        experts: Sequence[str] | None = None,
    ) -> None:
        """classes: of all tokens, [vocab]. experts: fewer than all, for measurements; files need
        all of their version.
        """
        self.capacity_bits, self.version = capacity_bits, version
        self._classes = classes
        self._start_token = start_token
        capacity = 1 << capacity_bits
        known: dict[str, Callable[[], Expert]] = {
            "matches": lambda: Matches(capacity),
            "neighbors": lambda: Neighbors(capacity, d_model, version),
            "biases": lambda: Biases(capacity, vocab, version),
            "calibration": Calibration,
        }
        all_experts = EXPERTS if version >= 2 else FIRST_EXPERTS
        self._names = experts or all_experts
        self._experts = [known[name]() for name in self._names]
        self._mixer = Mixer(self._experts, version)
        self.start(1, np.empty(0, np.int32))

    def start(self, streams: int, context: IdArray) -> None:
        """See `ContextMixer.start`."""
        self._history = np.full((streams, HISTORY), self._start_token, np.int32)
        known = context[::-1][:HISTORY]
        self._history[:, : len(known)] = known
        self._fed = 1 + len(context)

    def recall(self, vectors: npt.NDArray[np.int8], top_tokens: IdArray) -> IdArray:
        """See `ContextMixer.recall`."""
        history = self._history[: len(top_tokens)]
        self._step = Step(vectors, top_tokens, history, self._fed, self._classes[history[:, 0]])
        proposed = [expert.propose(self._step) for expert in self._experts]
        self._tokens = _without_repeats(np.concatenate([*proposed, top_tokens], axis=1))
        return self._tokens

    def mix(self, weights: IdArray, totals: Int64Array) -> Int64Array:
        """See `ContextMixer.mix`."""
        self._model_weights = weights.astype(np.int64)
        classes = self._classes[self._tokens]
        self._candidates = Candidates(self._tokens, np.maximum(weights, 1), totals, classes)
        features = [
            f for expert in self._experts for f in expert.features(self._step, self._candidates)
        ]
        return self._mixer.mix(
            features, [expert.context(self._step) for expert in self._experts], self._candidates
        )

    def evidence(self) -> Float32Array:
        """See `ContextMixer.evidence`."""
        bits = self._mixer.bits(self._candidates)  # of each feature
        found = np.zeros((*self._tokens.shape, len(EXPERTS)), np.float32)
        first = 0
        for name, expert in zip(self._names, self._experts, strict=True):
            stop = first + len(expert.initial_weights)
            found[:, :, EXPERTS.index(name)] = bits[:, first:stop].sum(axis=1)
            first = stop
        return np.where((self._tokens != NO_TOKEN)[:, :, None], found, np.float32(0))

    def learn(self, tokens: IdArray, weights: IdArray) -> None:
        """See `ContextMixer.learn`."""
        candidates = self._candidates
        probabilities = quotient(np.maximum(weights, 1), candidates.totals)
        observation = Observation(tokens, probabilities, candidates.tokens == tokens[:, None])
        self._mixer.learn(candidates, observation, self._model_weights)
        for expert in self._experts:
            expert.learn(self._step, candidates, observation)
        self.follow(tokens)

    def follow(self, tokens: IdArray) -> None:
        """See `ContextMixer.follow`."""
        rows = len(tokens)
        self._history[:rows, 1:] = self._history[:rows, :-1].copy()
        self._history[:rows, 0] = tokens
        self._fed += 1

    def draft(self, streams: int, most: int) -> tuple[IdArray, Float32Array]:
        """See `ContextMixer.draft`."""
        tokens = np.full((streams, most), NO_TOKEN, np.int32)
        chances = np.zeros((streams, most), np.float32)
        matches = next((e for e in self._experts if isinstance(e, Matches)), None)
        for i in range(most if matches else 0):
            following = np.concatenate([tokens[:, :i][:, ::-1], self._history[:streams]], axis=1)
            assert matches
            tokens[:, i], chances[:, i] = matches.draft(following[:, :HISTORY], self._fed + i)
        ended = (tokens == NO_TOKEN).cumsum(axis=1) > 0
        tokens[ended], chances[ended] = NO_TOKEN, 0
        return tokens, chances

    def select(self, streams: IdArray) -> None:
        """See `ContextMixer.select`."""
        self._history = self._history[streams]

    def copy(self) -> ReferenceContextMixer:
        """See `ContextMixer.copy`."""
        return copy.deepcopy(self)

    def beside(self, others: Sequence[ContextMixer]) -> ContextMixers:
        """See `ContextMixer.beside`."""
        return MixersInTurn([self, *others])


def _without_repeats(tokens: IdArray) -> IdArray:
    """Each row's different tokens, in ascending order; NO_TOKEN for the rest: [A, n] -> [A, n]."""
    ordered = np.sort(tokens, axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = NO_TOKEN
    return ordered
