"""Counts of observed and of expected occurrences, in units of OCCURRENCE, and what their ratio says
(docs/arithmetic.md, section 6.4).

A relative of secondary symbol estimation (SSE, as in PAQ): it corrects a prediction by how such
predictions came out.
"""

from __future__ import annotations

import numpy as np

from llmzip.arithmetic.powers import log2, quotient
from llmzip.mixing.step import Candidates, Observation
from llmzip.types import Float32Array, Int64Array

OCCURRENCE = 1 << 12
"""One occurrence of a token, and how many are added to both counts before they are divided."""


def excess(table: Int64Array, slots: Int64Array) -> Float32Array:
    """log2 of the observed count over the expected one; table: [slots, 2], slots: [A, C]."""
    observed, expected = np.moveaxis(table[slots] + OCCURRENCE, -1, 0)
    return log2(quotient(observed, expected))


def count(
    table: Int64Array, slots: Int64Array, candidates: Candidates, observation: Observation
) -> None:
    """Count in the slots [A, C] of the candidates: the observation, and its expectation, which is
    the model's probability.
    """
    real = candidates.tokens >= 0
    expected = np.rint(candidates.probabilities * np.float32(OCCURRENCE)).astype(np.int64)
    change = np.stack([observation.is_candidate * OCCURRENCE, expected], axis=-1)
    np.add.at(table, slots[real], change[real])
