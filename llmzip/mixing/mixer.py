"""Online log-linear mixing: a candidate's weight is multiplied by 2 ** (sum of features times
learned weights).

The gradient of the code length by a feature's weight is (its expectation under the corrected
distribution) − (its value for the observed token). Sums are of integers, so that their order is
free.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llmzip.arithmetic.powers import exp2, quotient
from llmzip.mixing.experts import Expert
from llmzip.mixing.step import Candidates, Observation
from llmzip.mixing.token_classes import CLASSES
from llmzip.types import Float32Array, Int64Array

WEIGHT_UNIT = 1 << 20
WEIGHT_LIMIT = 8 << 20
GRADIENT_UNIT = np.float32(1 << 20)
MAX_BITS = np.float32(20)
RATE, EXTRA_RATE, RATE_STEPS = np.float32(0.001), np.float32(0.2), np.float32(20)


class Mixer:
    """The weights of all features: a set for each mixer context of each expert, and one for each
    class of tokens; the sets of a row's contexts and of a candidate's class are added up.
    """

    def __init__(self, experts: Sequence[Expert], has_classes: bool) -> None:
        """The initial weights stand in the first expert's sets; the others start at 0.

        has_classes: whether sets of classes learn; else they stay 0.
        """
        initial = [
            round(weight * WEIGHT_UNIT) for expert in experts for weight in expert.initial_weights
        ]
        self._weights = [np.zeros((expert.contexts, len(initial)), np.int64) for expert in experts]
        self._weights[0][:] = initial
        self._seen = [np.zeros(expert.contexts, np.int64) for expert in experts]
        self._has_classes = has_classes
        self._class_weights = np.zeros((CLASSES, len(initial)), np.int64)
        self._class_seen = np.zeros(CLASSES, np.int64)

    def mix(
        self,
        features: Sequence[Float32Array],
        contexts: Sequence[Int64Array],
        candidates: Candidates,
    ) -> Int64Array:
        """The corrected weights of the candidates: [A, C]."""
        self._features, self._contexts = features, contexts
        each = self.bits(candidates)
        bits = each[:, 0]
        for k in range(1, len(features)):
            bits = bits + each[:, k]
        factor = exp2(np.clip(bits, -MAX_BITS, MAX_BITS))
        mixed: Int64Array = np.rint(candidates.weights.astype(np.float32) * factor).astype(np.int64)
        self._mixed = mixed
        return mixed

    def bits(self, candidates: Candidates) -> Float32Array:
        """What each feature adds to the logarithms of the candidates' weights: [A, F, C]."""
        sets = [
            weights[context] for weights, context in zip(self._weights, self._contexts, strict=True)
        ]
        of_classes = np.moveaxis(self._class_weights[candidates.classes], 2, 1)  # [A, F, C]
        chosen: Int64Array = np.sum(sets, axis=0)[:, :, None] + of_classes
        scale: Float32Array = chosen.astype(np.float32) * np.float32(1 / WEIGHT_UNIT)
        return scale * np.stack(self._features, axis=1)

    def learn(
        self, candidates: Candidates, observation: Observation, model_weights: Int64Array
    ) -> None:
        """One step of gradient descent; model_weights: of the candidates, as the model gave them,
        [A, C].
        """
        real = candidates.tokens >= 0
        totals = candidates.totals + ((self._mixed - model_weights) * real).sum(axis=1)
        expected = quotient(self._mixed, totals[:, None])
        error = observation.is_candidate.astype(np.float32) - expected
        # [A, C, F]
        gradients = np.stack([np.rint(error * f * GRADIENT_UNIT) for f in self._features], axis=-1)
        of_each = gradients.astype(np.int64) * real[:, :, None]
        for weights, seen, context in zip(self._weights, self._seen, self._contexts, strict=True):
            _descend(weights, seen, context, of_each.sum(axis=1))
        if self._has_classes:
            classes = candidates.classes[real].astype(np.int64)
            _descend(self._class_weights, self._class_seen, classes, of_each[real])


def _descend(
    weights: Int64Array, seen: Int64Array, sets: Int64Array, gradients: Int64Array
) -> None:
    """Move weights [n, F], of which the sets [m] have the gradients [m, F]."""
    total = np.zeros_like(weights)
    np.add.at(total, sets, gradients)
    rate = RATE + EXTRA_RATE / (RATE_STEPS + seen.astype(np.float32))
    change = np.rint(rate[:, None] * total.astype(np.float32)).astype(np.int64)
    np.clip(weights + change, -WEIGHT_LIMIT, WEIGHT_LIMIT, out=weights)
    np.add.at(seen, sets, 1)
