"""Distances between texts from code lengths, and classification by the nearest ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def ncd(x: float, y: float, xy: float) -> float:
    """Normalized compression distance (C(xy) - min) / max (Cilibrasi & Vitanyi, 2005); x, y, xy:
    code lengths.

    >>> ncd(10, 20, 25)
    0.75
    """
    return (xy - min(x, y)) / max(x, y)


def gpt_max(x: float, y: float, x_given_y: float, y_given_x: float) -> float:
    """max(C(x|y), C(y|x)) / max(C(x), C(y)) (arXiv 2308.06942)."""
    return max(x_given_y, y_given_x) / max(x, y)


def gpt_min(x: float, y: float, x_given_y: float, y_given_x: float) -> float:
    """min(C(x|y), C(y|x)) / min(C(x), C(y))."""
    return min(x_given_y, y_given_x) / min(x, y)


def gpt_mean(x: float, y: float, x_given_y: float, y_given_x: float) -> float:
    """(C(x|y) + C(y|x)) / (C(x) + C(y))."""
    return (x_given_y + y_given_x) / (x + y)


def nearest_neighbors(
    distances: npt.NDArray[np.float64], labels: Sequence[str], k: int = 1
) -> list[str]:
    """The label that most of the k nearest training texts have, per row; the nearest one decides a
    tie.

    distances: [tests, training]; labels: of the training texts.
    """
    chosen = []
    for row in distances:
        near = [labels[i] for i in np.argsort(row, kind="stable")[:k]]
        votes = Counter(near)
        winning = max(votes.values())
        chosen.append(next(label for label in near if votes[label] == winning))
    return chosen
