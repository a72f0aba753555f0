"""The expert that knows how sure the model is, and how often its first, second, ... choice was
right (docs/arithmetic.md, 6.5)."""

from __future__ import annotations

from collections.abc import Sequence

from tests.reference_decoder.float32 import F, log2
from tests.reference_decoder.occurrences import Occurrences
from tests.reference_decoder.row import Row


class Calibration:
    """Counts by rank."""

    def __init__(self) -> None:
        self._occurrences = Occurrences()

    def features(self, row: Row, token: int) -> list[F]:
        """A constant, the model's opinion, and how much oftener than expected such a rank came."""
        by_rank = self._occurrences.excess(_rank(row, token))
        return [F(1), log2(row.probability(token)) * F(0.25), by_rank]

    def learn(self, row: Row, candidates: Sequence[int], token: int) -> None:
        """The token that came in a row, and the candidates of which it was or was not one."""
        for candidate in candidates:
            self._occurrences.learn(_rank(row, candidate), row, candidate, token)


def _rank(row: Row, token: int) -> int:
    return row.top_tokens.index(token) if token in row.top_tokens else 8
