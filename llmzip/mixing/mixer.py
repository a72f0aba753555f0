"""Online log-linear mixing: a candidate's weight is multiplied by 2 ** (sum of features times
learned weights).

The gradient of the code length by a feature's weight is (its expectation under the corrected
distribution) − (its value for the observed token); its curvature, as it is taken here, the
expectation of each candidate's p·(1 − p)·f². Sums are of integers, so that their order is free.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llmzip.arithmetic.powers import exp2, quotient
from llmzip.mixing.descent import GradientDescent
from llmzip.mixing.experts import Expert
from llmzip.mixing.newton import NewtonSteps
from llmzip.mixing.step import Candidates, Observation
from llmzip.mixing.token_classes import CLASSES
from llmzip.types import Float32Array, Int64Array

WEIGHT_UNIT = 1 << 20
WEIGHT_LIMIT = 8 << 20
GRADIENT_UNIT = np.float32(1 << 20)
MAX_BITS = np.float32(20)
EVIDENCE_UNIT, EVIDENCE_LIMIT = np.float32(1 << 8), np.float32(127)
SPREAD_UNIT = np.float32(1 << 16)


class Mixer:
    """The weights of all features: a set for each mixer context of each expert, and one for each
    class of tokens; the sets of a row's contexts and of a candidate's class are added up.
    """

    def __init__(self, experts: Sequence[Expert], version: int) -> None:
        """The initial weights stand in the first expert's sets; the others start at 0."""
        initial = [
            round(weight * WEIGHT_UNIT) for expert in experts for weight in expert.initial_weights
        ]
        steps = NewtonSteps if version >= 3 else GradientDescent
        self._sets = [_WeightSets(expert.contexts, len(initial), steps) for expert in experts]
        self._sets[0].weights[:] = initial
        self._of_classes = _WeightSets(CLASSES, len(initial), steps)
        self._has_classes = version >= 2  # else they stay 0

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
        of_rows = [
            sets.weights[context] for sets, context in zip(self._sets, self._contexts, strict=True)
        ]
        of_classes = np.moveaxis(self._of_classes.weights[candidates.classes], 2, 1)  # [A, F, C]
        chosen: Int64Array = np.sum(of_rows, axis=0)[:, :, None] + of_classes
        scale: Float32Array = chosen.astype(np.float32) * np.float32(1 / WEIGHT_UNIT)
        return scale * np.stack(self._features, axis=1)

    def learn(
        self, candidates: Candidates, observation: Observation, model_weights: Int64Array
    ) -> None:
        """One step against the slope of the code length; model_weights: of the candidates, as the
        model gave them, [A, C].
        """
        real = candidates.tokens >= 0
        totals = candidates.totals + ((self._mixed - model_weights) * real).sum(axis=1)
        expected = quotient(self._mixed, totals[:, None])
        error = observation.is_candidate.astype(np.float32) - expected
        # [A, C, F]
        gradients = np.stack([np.rint(error * f * GRADIENT_UNIT) for f in self._features], axis=-1)
        of_each = gradients.astype(np.int64) * real[:, :, None]
        curvatures = np.zeros((*of_each.shape, 0), np.int64)
        if self._of_classes.steps.needs_curvatures:
            curvatures = _curvatures(self._features, expected) * real[:, :, None, None]
        for sets, context in zip(self._sets, self._contexts, strict=True):
            sets.learn(context, of_each.sum(axis=1), curvatures.sum(axis=1))
        if self._has_classes:
            classes = candidates.classes[real].astype(np.int64)
            self._of_classes.learn(classes, of_each[real], curvatures[real])


class _WeightSets:
    """Weights of all features for each of several contexts."""

    def __init__(
        self, contexts: int, features: int, steps: type[NewtonSteps] | type[GradientDescent]
    ) -> None:
        self.weights = np.zeros((contexts, features), np.int64)
        self.steps = steps(contexts, features)

    def learn(self, contexts: Int64Array, gradients: Int64Array, curvatures: Int64Array) -> None:
        """Move the weights of the contexts [m] with the gradients [m, F] and curvatures
        [m, F, F].
        """
        counts = np.zeros(len(self.weights), np.int64)
        slope, curvature = (
            np.zeros((len(self.weights), *part.shape[1:]), np.int64)
            for part in (gradients, curvatures)
        )
        for total, part in ((counts, np.int64(1)), (slope, gradients), (curvature, curvatures)):
            np.add.at(total, contexts, part)
        change = self.steps.changes(counts, slope, curvature)
        np.clip(self.weights + change, -WEIGHT_LIMIT, WEIGHT_LIMIT, out=self.weights)


def _curvatures(features: Sequence[Float32Array], expected: Float32Array) -> Int64Array:
    """How fast the slopes rise, by the features [A, C] and the expectation [A, C] of each
    candidate: [A, C, F, F].
    """
    probable = np.minimum(expected, np.float32(1))
    spread = np.rint(probable * (np.float32(1) - probable) * SPREAD_UNIT).astype(np.int64)
    limited = np.clip(np.stack(features, axis=-1), -EVIDENCE_LIMIT, EVIDENCE_LIMIT)
    whole = np.rint(limited * EVIDENCE_UNIT).astype(np.int64)
    found: Int64Array = spread[:, :, None, None] * whole[:, :, :, None] * whole[:, :, None, :]
    return found
