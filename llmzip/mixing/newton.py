"""How the mixer's weights learn: online Newton steps (Hazan, Agarwal and Kale 2007, "Logarithmic
regret algorithms for online convex optimization", section 3.2, with a memory that fades).

A step of gradient descent sums what all rows ask for, so that many streams, which ask for the same,
overshoot, and features of different size need different rates. Divided by the curvature of the code
length, a step is as long as what has been seen allows, however many rows it comes from.
"""

from __future__ import annotations

import numpy as np

from llmzip.types import Float64Array, Int64Array

CURVATURE_UNIT = np.float64(2.0**32)
STEP = np.float64(0.4)
MEMORY = np.float64(1024)
RIDGE = np.float64(64)


class NewtonSteps:
    """Moves sets of weights by a part of the way to where the code length would be least, were it
    the parabola that its slope and its remembered curvature say.
    """

    needs_curvatures = True

    def __init__(self, sets: int, features: int) -> None:
        self._curvatures = np.zeros((sets, features, features), np.float64)

    def changes(
        self, counts: Int64Array, gradients: Int64Array, curvatures: Int64Array
    ) -> Int64Array:
        """What a step adds to the weights of all sets, [n, F].

        counts: how many rows, or candidates, of the step belong to each set [n]; gradients: sums
        over them [n, F]; curvatures: the same [n, F, F].
        """
        change = np.zeros_like(gradients)
        moved = np.flatnonzero(counts)
        kept = MEMORY / (MEMORY + counts[moved].astype(np.float64))
        own = self._curvatures[moved] * kept[:, None, None]
        own += curvatures[moved].astype(np.float64) / CURVATURE_UNIT
        self._curvatures[moved] = own
        way = _solved(own + RIDGE * np.eye(own.shape[1]), gradients[moved].astype(np.float64))
        change[moved] = np.rint(STEP * way).astype(np.int64)
        return change


def _solved(matrices: Float64Array, right: Float64Array) -> Float64Array:
    """The x of A·x = b for symmetric positive definite A [n, F, F] and b [n, F], by elimination in
    the order of docs/arithmetic.md, section 6.6, which both arguments are used up in.
    """
    a, b, size = matrices, right, right.shape[1]
    for j in range(size):
        column = a[:, j + 1 :, j]
        ratios = column / a[:, j, j, None]
        # Above the diagonal, too, which is as quick and read by nobody.
        a[:, j + 1 :, j + 1 :] -= ratios[:, :, None] * column[:, None, :]
        b[:, j + 1 :] -= ratios * b[:, j, None]
    for i in reversed(range(size)):
        known = a[:, i + 1 :, i] * b[:, i + 1 :]
        # One after the other: numpy reorders no differences.
        left = np.subtract.reduce(np.concatenate([b[:, i, None], known], axis=1), axis=1)
        b[:, i] = left / a[:, i, i]
    return b
