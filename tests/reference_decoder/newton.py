"""How the mixer's weights learn in mixing version 3 (docs/arithmetic.md, section 6.6)."""

from __future__ import annotations

import functools
import operator
from collections import defaultdict

import numpy as np
import numpy.typing as npt

from tests.reference_decoder.float32 import F, Integers, Vector, round_to_int

Key = tuple[int, int]
"""Names a set of weights: whose, and which of them."""
Float64s = npt.NDArray[np.float64]


def curvature(features: Vector, expected: F) -> Integers:
    """What one candidate adds to the curvature, for each two features."""
    probable = min(expected, F(1))
    spread = round_to_int(probable * (F(1) - probable) * F(2**16))
    limited = np.minimum(np.maximum(features, F(-127)), F(127))
    whole = np.rint(limited * F(2**8)).astype(np.int64)
    return spread * whole * whole[:, None]


class Newton:
    """The curvatures that sets of weights remember."""

    def __init__(self, features: int) -> None:
        self._ridge = np.diag([64.0] * features)
        self._remembered: defaultdict[Key, Float64s] = defaultdict(
            lambda: np.zeros((features, features))
        )

    def moves(self, key: Key, count: int, slope: Integers, curved: Integers) -> Integers:
        """What is added to the weights of a set."""
        kept = 1024.0 / (1024.0 + count)
        matrix = self._remembered[key] * kept + curved.astype(np.float64) * 2.0**-32
        self._remembered[key] = matrix
        x = solved(matrix + self._ridge, slope.astype(np.float64))
        return np.rint(0.4 * x).astype(np.int64)


def solved(a: Float64s, b: Float64s) -> Float64s:
    """The x of A x = b, where A's lower triangle counts; both are changed on the way. The order of
    all that happens to one number counts."""
    size = len(b)
    for j in range(size):
        below = slice(j + 1, size)
        ratios = a[below, j] / a[j, j]
        a[below, below] -= ratios[:, None] * a[below, j]  # also above the diagonal, never read
        b[below] -= ratios * b[j]
    for i in reversed(range(size)):
        known = a[i + 1 :, i] * b[i + 1 :]
        b[i] = functools.reduce(operator.sub, known, b[i]) / a[i, i]
    return b
