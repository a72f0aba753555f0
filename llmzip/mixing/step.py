"""What all experts see at one step."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.powers import quotient
from llmzip.types import Float32Array, IdArray, Int64Array


@dataclasses.dataclass(frozen=True)
class Step:
    """The state of A streams before they code their next token."""

    vectors: npt.NDArray[np.int8]  # [A, d]
    top: IdArray  # [A, TOP_TOKENS]
    history: IdArray  # [A, HISTORY], the latest token first
    fed: int
    """How many tokens each stream has been fed, the start token included; beyond them the history holds it again."""


@dataclasses.dataclass(frozen=True)
class Options:
    """The candidates of a step with the model's opinion of them."""

    tokens: IdArray  # [A, C], NO_TOKEN where there is none
    weights: IdArray  # [A, C], at least 1
    totals: Int64Array  # [A]

    @property
    def probabilities(self) -> Float32Array:
        """[A, C]."""
        return quotient(self.weights, self.totals[:, None])


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came."""

    tokens: IdArray  # [A]
    probabilities: Float32Array  # [A], in the model's eyes
    is_token: npt.NDArray[np.bool_]  # [A, C], which candidate it was
