"""The expert that knows what followed the same last tokens before (docs/arithmetic.md, 6.2)."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from tests.reference_decoder.float32 import F, log2
from tests.reference_decoder.row import Row

ORDERS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""How many of the last tokens a context has."""

_MASK = (1 << 64) - 1
_MULTIPLIER = 0x9E3779B97F4A7C15


@dataclasses.dataclass(frozen=True)
class Match:
    """What the longest known context says."""

    mixer_context: int = 0
    """Which weights of the mixer apply: 0 without a known context, else the order's number."""
    successor: int | None = None
    """The token that followed last time."""
    bin: tuple[int, int] = (0, 0)
    """Order and length of the run, by which hits and misses are counted."""

    @property
    def candidates(self) -> set[int]:
        return set() if self.successor is None else {self.successor}


class MatchModel:
    """A hash table: context -> (check, the token that followed, how often in a row)."""

    def __init__(self, capacity_bits: int) -> None:
        self._shift = 64 - 3 - capacity_bits
        self._slots: dict[int, tuple[int, int, int]] = {}
        self._hits: Counter[tuple[int, int]] = Counter()
        self._misses: Counter[tuple[int, int]] = Counter()

    def _contexts(self, row: Row) -> dict[int, tuple[int, int]]:
        """Order -> slot and check, for each order of which the stream has read enough."""
        key, found = 0, {}
        for i in range(1, min(len(row.read), ORDERS[-1]) + 1):
            y = (key ^ (row.last(i) + 1)) * _MULTIPLIER & _MASK
            key = y ^ y >> 29
            if i in ORDERS:
                found[i] = (key >> self._shift, key & 0xFFFFFFFF)
        return found

    def observe(self, row: Row) -> Match:
        """The longest context that the table holds."""
        for order, (slot, check) in reversed(self._contexts(row).items()):
            held_check, successor, run = self._slots.get(slot, (None, 0, 0))
            if held_check == check:
                run_bin = run if run < 8 else min(8 + (run - 8) // 8, 15)
                return Match(ORDERS.index(order) + 1, successor, (order, run_bin))
        return Match()

    def features(self, row: Row, match: Match, token: int) -> list[F]:
        """How much likelier hits have been than the model thinks of this token."""
        if token != match.successor:
            return [F(0)]
        hits, misses, weight = self._hits[match.bin], self._misses[match.bin], row.weight(token)
        odds = log2(F(5 * hits + 4) / F(5 * misses + 4))
        return [odds - log2(F(weight) / F(row.total - weight + 1))]

    def learn(self, rows: Sequence[Row], matches: Sequence[Match], tokens: Sequence[int]) -> None:
        """The tokens that came."""
        for match, token in zip(matches, tokens, strict=True):
            if match.successor is not None:
                (self._hits if match.successor == token else self._misses)[match.bin] += 1
        for key in {match.bin for match in matches}:
            if self._hits[key] + self._misses[key] > 500:
                self._hits[key] //= 2
                self._misses[key] //= 2
        for row, token in zip(rows, tokens, strict=True):
            for slot, check in self._contexts(row).values():
                held = self._slots.get(slot, (None, 0, 0))
                again = held[:2] == (check, token)
                self._slots[slot] = (check, token, min(held[2] + 1, 255) if again else 0)
