"""One stream at one step, as the mixing and its experts see it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from tests.reference_decoder.float32 import F
from tests.reference_decoder.transformer import Prediction

TOP_TOKENS = 8


@dataclasses.dataclass(frozen=True)
class Row:
    """A prediction, and the tokens that led to it."""

    predicted: Prediction
    read: Sequence[int]
    """Start token, context, and the stream's tokens so far."""

    def last(self, n: int) -> int:
        """The n-th last token; before all of them there are start tokens without end."""
        return self.read[-n] if n <= len(self.read) else self.read[0]

    @functools.cached_property
    def total(self) -> int:
        """The sum of all tokens' weights."""
        return sum(self.predicted.weights)

    def weight(self, token: int) -> int:
        return max(self.predicted.weights[token], 1)

    def probability(self, token: int) -> F:
        return F(self.weight(token)) / F(self.total)

    @functools.cached_property
    def top_tokens(self) -> list[int]:
        """The likeliest tokens, of equal ones the lower first (docs/arithmetic.md, 6.1)."""
        order = np.argsort(-self.predicted.products, kind="stable")
        return [int(i) for i in order[:TOP_TOKENS]]
