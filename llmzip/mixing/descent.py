"""How the mixer's weights learned in mixing versions 1 and 2: gradient descent, at a rate that
falls with what a set has seen.
"""

from __future__ import annotations

import numpy as np

from llmzip.types import Int64Array

RATE, EXTRA_RATE, RATE_STEPS = np.float32(0.001), np.float32(0.2), np.float32(20)


class GradientDescent:
    """Moves sets of weights against the gradient of the code length."""

    needs_curvatures = False

    def __init__(self, sets: int, features: int) -> None:
        self._seen = np.zeros(sets, np.int64)

    def changes(
        self, counts: Int64Array, gradients: Int64Array, curvatures: Int64Array
    ) -> Int64Array:
        """See `newton.NewtonSteps.changes`."""
        rate = RATE + EXTRA_RATE / (RATE_STEPS + self._seen.astype(np.float32))
        self._seen += counts
        change: Int64Array = np.rint(rate[:, None] * gradients.astype(np.float32)).astype(np.int64)
        return change
