"""The data that all experts share at one step."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.powers import log2, quotient
from llmzip.types import Float32Array, IdArray, Int64Array


@dataclasses.dataclass(frozen=True)
class Step:
    """The state of A streams before they code their next token."""

    vectors: npt.NDArray[np.int8]
    """The head inputs, [A, d_model]."""
    top_tokens: IdArray
    """The model's most likely tokens, best first, [A, TOP_TOKENS]."""
    history: IdArray
    """The tokens of each stream, the latest first, [A, HISTORY]."""
    fed: int
    """How many tokens each stream has been fed, the start token included; beyond them the history
    holds it again.
    """
    last_class: npt.NDArray[np.uint8]
    """The class of each stream's last token, [A]."""


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The tokens whose weights may be corrected, with the model's prediction of each."""

    tokens: IdArray
    """Different tokens in each row, NO_TOKEN where there are fewer, [A, C]."""
    weights: IdArray
    """The model's weights, at least 1, [A, C]."""
    totals: Int64Array
    """The sums of the model's weights of all tokens, [A]."""
    classes: npt.NDArray[np.uint8]
    """The classes of the tokens, anything at NO_TOKEN, [A, C]."""

    @property
    def probabilities(self) -> Float32Array:
        """The model's probabilities, [A, C]."""
        return quotient(self.weights, self.totals[:, None])

    @property
    def bits(self) -> Float32Array:
        """log2 of the model's probabilities, [A, C]."""
        return log2(self.probabilities)


@dataclasses.dataclass(frozen=True)
class Observation:
    """The tokens that A streams have coded in a step."""

    tokens: IdArray
    """Token ids observed in this step, [A]."""
    probabilities: Float32Array
    """The model's probabilities of them, [A]."""
    is_candidate: npt.NDArray[np.bool_]
    """Whether a candidate is the observed token, [A, C]."""
