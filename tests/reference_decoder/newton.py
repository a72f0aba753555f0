"""How the mixer's weights learn in mixing version 3 (docs/arithmetic.md, section 6.6)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from tests.reference_decoder.float32 import F, round_to_int

Key = tuple[int, int]
"""Names a set of weights: whose, and which of them."""
Matrix = list[list[float]]


def curvature(features: Sequence[F], expected: F) -> dict[tuple[int, int], int]:
    """What one candidate adds to the curvature, for each two features, the first not the lower."""
    probable = min(expected, F(1))
    spread = round_to_int(probable * (F(1) - probable) * F(2**16))
    whole = [round_to_int(min(max(feature, F(-127)), F(127)) * F(2**8)) for feature in features]
    pairs = [(k, m) for k in range(len(whole)) for m in range(k + 1)]
    return {(k, m): spread * whole[k] * whole[m] for k, m in pairs}


class Newton:
    """The curvatures that sets of weights remember. Python's floats are binary64."""

    def __init__(self, features: int) -> None:
        self._features = features
        self._remembered: defaultdict[Key, Matrix] = defaultdict(
            lambda: [[0.0] * (k + 1) for k in range(features)]
        )

    def moves(
        self, key: Key, count: int, slope: Sequence[int], curved: Mapping[tuple[int, int], int]
    ) -> list[int]:
        """What is added to the weights of a set."""
        matrix = self._remembered[key]
        kept = 1024.0 / (1024.0 + count)
        for k, row in enumerate(matrix):
            for m in range(k + 1):
                row[m] = row[m] * kept + float(curved.get((k, m), 0)) * 2.0**-32
        with_ridge = [[*row[:-1], row[-1] + 64.0] for row in matrix]
        return [round(0.4 * x) for x in solved(with_ridge, [float(step) for step in slope])]


def solved(a: Matrix, b: list[float]) -> list[float]:
    """The x of A x = b, where A's lower triangle is given; the order of all steps counts."""
    size = len(b)
    for j in range(size):
        column = [a[i][j] for i in range(j, size)]
        for i in range(j + 1, size):
            ratio = column[i - j] / column[0]
            for m in range(j + 1, i + 1):
                a[i][m] -= ratio * column[m - j]
            b[i] -= ratio * b[j]
    for i in reversed(range(size)):
        for j in range(i + 1, size):
            b[i] -= a[j][i] * b[j]
        b[i] /= a[i][i]
    return b
