"""How often something came, and how often the model expected it (docs/arithmetic.md, 6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from tests.reference_decoder.float32 import F, log2, round_to_int
from tests.reference_decoder.row import Row

ONE = 4096
"""What one occurrence counts."""


class Occurrences:
    """Pairs of counts."""

    def __init__(self) -> None:
        self._came: Counter[Hashable] = Counter()
        self._expected: Counter[Hashable] = Counter()

    def excess(self, key: Hashable) -> F:
        """How much oftener than expected it came."""
        return log2(F(self._came[key] + ONE) / F(self._expected[key] + ONE))

    def learn(self, key: Hashable, row: Row, candidate: int, token: int) -> None:
        """A candidate that was, or was not, the token that came in a row."""
        self._expected[key] += round_to_int(row.probability(candidate) * F(ONE))
        self._came[key] += ONE * (candidate == token)
