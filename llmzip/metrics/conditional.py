"""What one text tells about another, from conditional code lengths."""

from __future__ import annotations

import numpy as np

from llmzip.types import Float64Array


def retained_information(alone: float, given: float, given_full: float) -> float:
    """rho = [C(y) - C(y|z)] / [C(y) - C(y|full)]: the share of a prompt's information that its
    compressed form z keeps.

    alone, given, given_full: C(y), C(y|z), C(y|full prompt) [bits]. 1 keeps everything, 0 nothing;
    below 0 z misleads. Raises ValueError where the full prompt tells nothing.

    >>> retained_information(100.0, 70.0, 40.0)
    0.5
    """
    if alone <= given_full:
        raise ValueError(
            "the full context does not shorten the text's code: there is no information to retain"
        )
    return (alone - given) / (alone - given_full)


def information_gain(alone: float, given: float, units: int) -> float:
    """(C(y) - C(y|z)) / units: H_LM - H_LM+mem, in bits per byte or token of y."""
    return (alone - given) / units


def mutual_information(log2_p: Float64Array) -> float:
    """Monte-Carlo estimate of I(X; Z) [bits], at most log2 n.

    log2_p: [n, n], entry (i, l) is log2 p(z_i | x_l), z_i having been made from x_i. The estimate
    is the mean over i of log p(z_i|x_i) - log mean_l p(z_i|x_l).

    >>> mutual_information(np.array([[0.0, -1000.0], [-1000.0, 0.0]]))
    1.0
    """
    count = len(log2_p)
    mixture = np.logaddexp2.reduce(log2_p, axis=1) - np.log2(count)
    return float(np.mean(np.diagonal(log2_p) - mixture))
