"""The expert that knows how often the model errs on a token, by itself and after others
(docs/arithmetic.md, 6.4)."""

from __future__ import annotations

from collections.abc import Sequence

from tests.reference_decoder.float32 import F
from tests.reference_decoder.occurrences import Occurrences
from tests.reference_decoder.row import Row

_MASK = (1 << 64) - 1
_MULTIPLIER = 0x9E3779B97F4A7C15


class Biases:
    """How often each token came, and how often the model expected it."""

    def __init__(self, capacity_bits: int, version: int) -> None:
        self._shift = 64 - 2 - capacity_bits
        self._version = version
        self._occurrences = Occurrences()

    def _keys(self, row: Row, token: int) -> list[tuple[str, int]]:
        """Where to count: the token, and slots of a table for it after the last one, the last two
        tokens, and where another is the likeliest."""
        k1 = (token + 1) * _MULTIPLIER + (row.last(1) + 1) * 0xC2B2AE3D27D4EB4F
        k2 = k1 + (row.last(2) + 1) * 0x165667B19E3779F9
        k3 = (token + 1) * _MULTIPLIER + (row.top_tokens[0] + 1) * 0x85EBCA77C2B2AE63
        keys = [k & _MASK for k in ((k1, k2) if self._version == 1 else (k1, k2, k3))]
        slots = [((k ^ k >> 32) * _MULTIPLIER & _MASK) >> self._shift for k in keys]
        return [("token", token), *(("slot", slot) for slot in slots)]

    def features(self, row: Row, token: int) -> list[F]:
        """How much oftener than expected the token came."""
        return [self._occurrences.excess(key) for key in self._keys(row, token)]

    def learn(self, row: Row, candidates: Sequence[int], token: int) -> None:
        """The token that came in a row, and the candidates of which it was or was not one."""
        for candidate in candidates:
            for key in self._keys(row, candidate):
                self._occurrences.learn(key, row, candidate, token)
