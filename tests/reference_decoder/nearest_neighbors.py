"""The expert that knows what followed in similar situations, as in kNN-LM (docs/arithmetic.md,
6.3)."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from tests.reference_decoder.float32 import F, exp2, log2, round_to_int
from tests.reference_decoder.occurrences import Occurrences
from tests.reference_decoder.row import Row

SEARCHED = 2048
"""Positions with the same last token that are looked at, and as many with the same likeliest next
one."""
NEIGHBORS = 64

_MASK = (1 << 64) - 1
_MULTIPLIER = 0x9E3779B97F4A7C15


@dataclasses.dataclass(frozen=True)
class Position:
    """A token that was coded before, and the situation in which it came."""

    signature: int
    """The signs of the head input, a bit each, and codes of the tokens before the last."""
    token: int
    last: int
    """The token before."""
    top: int
    """The likeliest token."""
    surprise: int


@dataclasses.dataclass(frozen=True)
class Vote:
    """What the neighbors say."""

    mixer_context: int = 0
    """0 without neighbors, else 1 to 5: how far they agree."""
    shares: dict[int, F] = dataclasses.field(default_factory=dict)
    """Of the votes, by token."""
    surprises: dict[int, F] = dataclasses.field(default_factory=dict)
    """How little each token was expected at the neighbors."""
    bin: tuple[int, int] | None = None
    """By which it is counted how far votes were right: distance and agreement."""

    @property
    def candidates(self) -> set[int]:
        return set(self.shares)


def signature(row: Row, version: int) -> int:
    """Bit i is whether entry i of the head input is positive; before them are, in version 2, the
    codes of the 1, 2, 3, 4 tokens before the last."""
    hashed, codes = 0, 0
    for n in range(1, 5):
        y = (hashed ^ (row.last(n + 1) + 1)) * _MULTIPLIER & _MASK
        hashed = y ^ y >> 29
        codes = codes << 16 | hashed >> 48
    signs = sum(1 << i for i, q in enumerate(row.predicted.head_input) if q > 0)
    return signs if version == 1 else codes << len(row.predicted.head_input) | signs


def _voted_bin(row: Row, vote: Vote, token: int) -> tuple[int, int]:
    """How many votes a token has, and how likely it is."""
    share = vote.shares.get(token, F(0))
    votes = 2 + min(int(share * F(14)), 13) if share > 0 else 1
    doubt = math.floor(-log2(row.probability(token)))
    return votes if vote.bin else 0, min(max(doubt, 0), 15)


class NearestNeighbors:
    """The last 2**capacity_bits positions."""

    def __init__(self, capacity_bits: int, d_model: int, version: int) -> None:
        self._capacity, self._d_model = 1 << capacity_bits, d_model
        self._version = version
        self._voted = Occurrences()
        self._positions: list[Position] = []
        self._by_last: defaultdict[int, list[int]] = defaultdict(list)
        self._by_top: defaultdict[int, list[int]] = defaultdict(list)
        self._trust: defaultdict[tuple[int, int], int] = defaultdict(lambda: 1 << 16)
        self._distrust: defaultdict[tuple[int, int], int] = defaultdict(lambda: 9 << 16)

    def _nearest(self, row: Row) -> list[tuple[int, Position]]:
        """Hamming distance and position of the neighbors, the nearest first, of equal ones the
        newest."""
        oldest = len(self._positions) - self._capacity
        same_last = self._by_last[row.last(1)][-SEARCHED:]
        same_top = self._by_top[row.top_tokens[0]][-SEARCHED:]
        same_top = [e for e in same_top if self._positions[e].last != row.last(1)]
        here = signature(row, self._version)
        distances = (
            ((self._positions[e].signature ^ here).bit_count(), -e)
            for e in same_last + same_top
            if e >= oldest
        )
        nearest = heapq.nsmallest(NEIGHBORS, distances)
        return [(distance, self._positions[-e]) for distance, e in nearest]

    def observe(self, row: Row) -> Vote:
        """Let the neighbors vote, the nearer ones with more weight."""
        neighbors = self._nearest(row)
        if not neighbors:
            return Vote()
        nearest = neighbors[0][0]
        beta = F(148 if self._version == 1 else 120) / F(self._d_model * self._d_model)
        squares = np.array([distance * distance for distance, _ in neighbors])
        y = exp2(np.maximum(beta * (squares[0] - squares).astype(F), F(-15)))
        weights, sharp = (np.rint(z * F(2**15)).astype(int).tolist() for z in (y, y * y))
        votes, sharp_votes, surprises = Counter[int](), Counter[int](), Counter[int]()
        for (_, position), a, b in zip(neighbors, weights, sharp, strict=True):
            votes[position.token] += a
            sharp_votes[position.token] += b
            surprises[position.token] += a * position.surprise
        total, sharp_total, best = votes.total(), sharp_votes.total(), max(votes.values())
        far = exp2(max(beta * F(-nearest * nearest), F(-30)))
        key = (min(96 * nearest // self._d_model, 31), min(8 * best // total, 7))
        return Vote(
            mixer_context=1 + min(5 * best // total, 4),
            shares={
                i: (F(votes[i]) / F(total) + F(sharp_votes[i]) / F(sharp_total)) * F(0.5)
                for i in votes
            },
            surprises={i: F(surprises[i]) * F(2.0**-23) * far for i in votes},
            bin=key,
        )

    def _odds(self, vote: Vote) -> F:
        """How far such votes have been worth trusting."""
        if vote.bin is None:
            return F(0)
        return F(self._trust[vote.bin]) / F(self._distrust[vote.bin])

    def features(self, row: Row, vote: Vote, token: int) -> list[F]:
        """How much the votes, and the surprise at the neighbors, speak for a token; in version 2
        also how much oftener than expected such tokens came."""
        features = [F(0), F(0)]
        if token in vote.shares:
            share = self._odds(vote) * vote.shares[token] / row.probability(token)
            features = [log2(F(1) + share), log2(F(1) + F(16) * vote.surprises[token])]
        if self._version == 1:
            return features
        return [*features, self._voted.excess(_voted_bin(row, vote, token))]

    def learn(
        self,
        rows: Sequence[Row],
        votes: Sequence[Vote],
        candidates: Sequence[Sequence[int]],
        tokens: Sequence[int],
    ) -> None:
        """The tokens that came, and the candidates of each row."""
        for row, vote, of_row, token in zip(rows, votes, candidates, tokens, strict=True):
            for candidate in of_row:
                self._voted.learn(_voted_bin(row, vote, candidate), row, candidate, token)
        all_odds = [self._odds(vote) for vote in votes]
        for row, vote, odds, token in zip(rows, votes, all_odds, tokens, strict=True):
            if vote.bin is not None:
                g = odds * vote.shares.get(token, F(0))
                right = round_to_int(g / (row.probability(token) + g) * F(2**16))
                self._trust[vote.bin] += right
                self._distrust[vote.bin] += 2**16 - right
        for key in {vote.bin for vote in votes if vote.bin is not None}:
            if self._trust[key] + self._distrust[key] > 2000 << 16:
                self._trust[key] = max(self._trust[key] // 2, 2**8)
                self._distrust[key] = max(self._distrust[key] // 2, 2**8)
        for row, token in zip(rows, tokens, strict=True):
            surprise = round_to_int((F(1) - row.probability(token)) * F(2**8))
            last, top = row.last(1), row.top_tokens[0]
            self._by_last[last].append(len(self._positions))
            self._by_top[top].append(len(self._positions))
            here = signature(row, self._version)
            self._positions.append(Position(here, token, last, top, surprise))
