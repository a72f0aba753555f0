"""Online log-linear mixing: a candidate's weight is multiplied by 2 ** (sum of features times learned weights).

The gradient of the code length by a feature's weight is (its expectation under the corrected distribution) − (its value for
the token that came). Sums are of integers, so that their order is free.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llmzip.arithmetic.powers import exp2, quotient
from llmzip.mixing.experts import Expert
from llmzip.mixing.step import Options, Outcome
from llmzip.types import Float32Array, Int64Array

WEIGHT_UNIT = 1 << 20
WEIGHT_LIMIT = 8 << 20
GRADIENT_UNIT = np.float32(1 << 20)
MAX_BITS = np.float32(20)
RATE, EXTRA_RATE, RATE_STEPS = np.float32(0.001), np.float32(0.2), np.float32(20)


class Mixer:
    """The weights of all features: one set for each situation of each expert, added up."""

    def __init__(self, experts: Sequence[Expert]) -> None:
        """The initial weights stand in the first expert's sets; the others start at 0."""
        initial = [round(weight * WEIGHT_UNIT) for expert in experts for weight in expert.initial_weights]
        self._weights = [np.zeros((expert.situations, len(initial)), np.int64) for expert in experts]
        self._weights[0][:] = initial
        self._seen = [np.zeros(expert.situations, np.int64) for expert in experts]

    def mix(self, features: Sequence[Float32Array], situations: Sequence[Int64Array], options: Options) -> Int64Array:
        """The corrected weights of the candidates: [A, C]."""
        self._features, self._situations = features, situations
        sets = [weights[situation] for weights, situation in zip(self._weights, situations, strict=True)]
        chosen: Int64Array = np.sum(sets, axis=0)  # [A, F]
        scale = (chosen.astype(np.float32) * np.float32(1 / WEIGHT_UNIT))[:, :, None]  # [A, F, 1]
        bits = scale[:, 0] * features[0]
        for k in range(1, len(features)):
            bits = bits + scale[:, k] * features[k]
        factor = exp2(np.clip(bits, -MAX_BITS, MAX_BITS))
        mixed: Int64Array = np.rint(options.weights.astype(np.float32) * factor).astype(np.int64)
        self._mixed = mixed
        return mixed

    def learn(self, options: Options, outcome: Outcome, before: Int64Array) -> None:
        """One step of gradient descent; before: the model's weights of the candidates, [A, C]."""
        real = options.tokens >= 0
        totals = options.totals + ((self._mixed - before) * real).sum(axis=1)
        expected = quotient(self._mixed, totals[:, None])
        error = outcome.is_token.astype(np.float32) - expected
        slopes = np.stack([np.rint(error * f * GRADIENT_UNIT) for f in self._features], axis=-1)  # [A, C, F]
        per_row = (slopes.astype(np.int64) * real[:, :, None]).sum(axis=1)
        for weights, seen, situation in zip(self._weights, self._seen, self._situations, strict=True):
            slope = np.zeros_like(weights)
            np.add.at(slope, situation, per_row)
            rate = RATE + EXTRA_RATE / (RATE_STEPS + seen.astype(np.float32))
            change = np.rint(rate[:, None] * slope.astype(np.float32)).astype(np.int64)
            np.clip(weights + change, -WEIGHT_LIMIT, WEIGHT_LIMIT, out=weights)
            np.add.at(seen, situation, 1)
