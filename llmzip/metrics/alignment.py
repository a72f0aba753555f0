"""Data selection by compression: how well a source text fits target texts (ZIP-FIT, arXiv
2410.18194).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from llmzip.metrics.distances import ncd

CodeLength = Callable[[bytes], float]


def alignment(
    sources: Sequence[bytes], targets: Sequence[bytes], code_length: CodeLength
) -> npt.NDArray[np.float64]:
    """Each source's mean of 1 - NCD(source, target) over the targets: [sources], more fits better.

    code_length: bytes or bits of a compressed text. A compressor that only stores (gzip -0) makes
    the score meaningless.
    """
    alone = [code_length(target) for target in targets]
    scores = []
    for source in sources:
        own = code_length(source)
        pairs = zip(targets, alone, strict=True)
        scores.append(
            np.mean(
                [1 - ncd(own, length, code_length(source + target)) for target, length in pairs]
            )
        )
    return np.array(scores, np.float64)


def select(scores: npt.NDArray[np.float64], count: int) -> list[int]:
    """The indices of the `count` best scores, the best first; of equal ones the earlier.

    >>> select(np.array([0.1, 0.9, 0.9]), 2)
    [1, 2]
    """
    return [int(i) for i in np.argsort(-scores, kind="stable")[:count]]


def bits_saved(alone: float, given: float) -> float:
    """The language-model form of the score: C(t) - C(t|s) [bits]."""
    return alone - given
