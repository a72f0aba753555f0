"""Nearest neighbors: positions whose head input was like this one's, and the tokens after them.

A kNN language model (arXiv 1911.00172) on binary codes: the signs of the rotated head input are its
signature (SimHash, Charikar 2002), so that the Hamming distance estimates the angle. Only positions
with the same last token or the same most likely token are looked at.
"""

from __future__ import annotations

from array import array

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.powers import exp2, log2, quotient
from llmzip.mixing.base import NO_TOKEN
from llmzip.mixing.counts import count, excess
from llmzip.mixing.hashing import extended
from llmzip.mixing.step import Candidates, Observation, Step
from llmzip.types import Float32Array, IdArray, Int64Array

SCANNED = 2048
"""How many positions of each of the two lists are looked at, the newest first."""
NEIGHBORS = 64
"""How many of them vote."""
FIRST_KERNEL, KERNEL = 148, 120
"""A vote at distance D weighs 2 ** (KERNEL / d_model**2 * (nearest**2 - D**2)); of mixing version
1 and of the later ones.
"""
MIN_KERNEL_LOG2, MIN_CLOSENESS_LOG2 = np.float32(-15), np.float32(-30)
VOTE_BITS = 15
SURPRISE_BITS = 8
SURPRISE_FACTOR = np.float32(16)

CONTEXTS, CONTEXT_BITS = 4, 16
"""A signature also has the first so many bits of the hash of each context: of the last token but
one, of the two from there on, ...
"""
VOTED_BINS, VOTED_SCALE = 16, 14
"""Of a candidate's share of the votes, by which its occurrences are counted: 0 without neighbors, 1
without a vote, 2 to 15.
"""
DOUBT_BINS = 16
"""Of -log2 of the model's probability, by which they are counted, too."""

DISTANCE_BINS, DISTANCE_BIN_SCALE = 32, 96
SHARE_BINS = 8
AGREEMENT_BINS = 5
TRUST_BITS = 16
TRUST, DISTRUST = 1 << TRUST_BITS, 9 << TRUST_BITS
TRUST_LIMIT = 2000 << TRUST_BITS
TRUST_FLOOR = 1 << (TRUST_BITS - 8)

_POPULATION = np.array([i.bit_count() for i in range(256)], np.int64)


class Neighbors:
    """The past positions in rings: position e, in the order of coding, lies in slot e modulo the
    capacity.
    """

    contexts = 1 + AGREEMENT_BINS

    def __init__(self, capacity: int, d_model: int, version: int) -> None:
        """version: of the mixing; the first has no contexts in signatures and counts no votes."""
        self._capacity, self._d = capacity, d_model
        self._is_first = version < 2
        self._kernel = FIRST_KERNEL if self._is_first else KERNEL
        self.initial_weights: tuple[float, ...] = (0.9, 0.1) if self._is_first else (0.9, 0.1, 0.2)
        context_bytes = 0 if self._is_first else CONTEXTS * CONTEXT_BITS // 8
        self._signatures = np.zeros((capacity, -(-d_model // 8) + context_bytes), np.uint8)
        self._voted = np.zeros((VOTED_BINS * DOUBT_BINS, 2), np.int64)
        self._tokens = np.zeros(capacity, np.int32)
        self._last = np.zeros(capacity, np.int32)
        self._surprise = np.zeros(capacity, np.int16)
        self._count = 0
        # The newest positions of each token, and some older ones.
        self._by_last: dict[int, array[int]] = {}
        self._by_top: dict[int, array[int]] = {}
        self._trust = np.full((DISTANCE_BINS, SHARE_BINS, 2), (TRUST, DISTRUST), np.int64)

    def propose(self, step: Step) -> IdArray:
        """See `Expert.propose`."""
        rows = len(step.top_tokens)
        self._signature = np.packbits(step.vectors > 0, axis=1)
        if not self._is_first:
            self._signature = np.concatenate(
                [self._signature, _context_signature(step.history)], axis=1
            )
        found = np.full((rows, NEIGHBORS), -1, np.int64)
        distances = np.zeros((rows, NEIGHBORS), np.int64)
        for row in range(rows):
            positions = self._same_context(int(step.history[row, 0]), int(step.top_tokens[row, 0]))
            differing = self._signatures[positions % self._capacity] ^ self._signature[row]
            distance = _POPULATION[differing].sum(axis=1)
            # Of two equally near ones the newer is first.
            nearest = np.argsort((distance << 32) - positions)[:NEIGHBORS]
            found[row, : len(nearest)] = positions[nearest]
            distances[row, : len(nearest)] = distance[nearest]
        self._known = found[:, 0] >= 0
        self._found = found % self._capacity
        self._nearest = distances[:, :1]
        present = found >= 0
        distances = np.where(present, distances, self._nearest)
        square = self._nearest * self._nearest
        scale = np.float32(self._kernel) / np.float32(self._d * self._d)
        bits = scale * (square - distances * distances).astype(np.float32)
        kernel = exp2(np.maximum(bits, MIN_KERNEL_LOG2))  # [A, NEIGHBORS]
        one = np.float32(1 << VOTE_BITS)
        self._votes = [
            np.rint(power * one).astype(np.int64) * present for power in (kernel, kernel * kernel)
        ]
        # [A, 1]
        self._closeness = exp2(np.maximum(scale * -square.astype(np.float32), MIN_CLOSENESS_LOG2))
        return np.where(present, self._tokens[self._found], NO_TOKEN).astype(np.int32)

    def _same_context(self, last: int, top: int) -> Int64Array:
        """The newest positions with the same last token, and those with the same most likely token
        but another last.
        """
        oldest = self._count - self._capacity
        first = _newest(self._by_last.get(last))
        second = _newest(self._by_top.get(top))
        second = second[self._last[second % self._capacity] != last]
        both = np.concatenate([first, second])
        return both[both >= oldest]

    def features(self, step: Step, candidates: Candidates) -> list[Float32Array]:
        """The votes' share against the model's probability; the neighbors' surprise, by
        distance.
        """
        # [A, C, NEIGHBORS]
        match = candidates.tokens[:, :, None] == self._tokens[self._found][:, None, :]
        near, nearer = ((match * votes[:, None]).sum(axis=2) for votes in self._votes)
        totals = [np.maximum(votes.sum(axis=1, keepdims=True), 1) for votes in self._votes]
        shares = [quotient(part, total) for part, total in zip((near, nearer), totals, strict=True)]
        self._share: Float32Array = (shares[0] + shares[1]) * np.float32(0.5)
        best = near.max(axis=1, keepdims=True)
        self._context = np.where(
            self._known,
            1 + np.minimum(AGREEMENT_BINS * best // totals[0], AGREEMENT_BINS - 1)[:, 0],
            0,
        )
        self._bin = (
            np.minimum(DISTANCE_BIN_SCALE * self._nearest // self._d, DISTANCE_BINS - 1)[:, 0],
            np.minimum(SHARE_BINS * best // totals[0], SHARE_BINS - 1)[:, 0],
        )
        trust, distrust = self._trust[self._bin].T
        self._odds: Float32Array = quotient(trust, distrust)[:, None]
        surprise = (
            (match * (self._votes[0] * self._surprise[self._found])[:, None])
            .sum(axis=2)
            .astype(np.float32)
        )
        evidence = surprise * np.float32(2.0 ** -(VOTE_BITS + SURPRISE_BITS)) * self._closeness
        one = np.float32(1)
        voted: Float32Array = self._odds * self._share
        gain: Float32Array = one + voted / candidates.probabilities
        out = [log2(gain), log2(one + SURPRISE_FACTOR * evidence)]
        if not self._is_first:
            self._voted_slots = self._find_voted_slots(candidates)
            out.append(excess(self._voted, self._voted_slots))
        return out

    def _find_voted_slots(self, candidates: Candidates) -> Int64Array:
        """Where the candidates are counted, by share of votes and probability: [A, C]."""
        scaled = (self._share * np.float32(VOTED_SCALE)).astype(np.int64)
        voted = np.where(self._share > 0, 2 + np.minimum(scaled, VOTED_SCALE - 1), 1)
        doubt = np.floor(-candidates.bits).astype(np.int64)
        return DOUBT_BINS * np.where(self._known[:, None], voted, 0) + np.clip(
            doubt, 0, DOUBT_BINS - 1
        )

    def context(self, step: Step) -> Int64Array:
        """0: no neighbors; else 1 + a bin of the largest share of votes for one token."""
        return self._context

    def learn(self, step: Step, candidates: Candidates, observation: Observation) -> None:
        """Add the positions, and count how often the votes were better than the model."""
        if not self._is_first:
            count(self._voted, self._voted_slots, candidates, observation)
        # Of the observed token: one summand at most.
        share = (self._share * observation.is_candidate).sum(axis=1)
        voted = self._odds[:, 0] * share
        credit = np.rint(
            voted / (observation.probabilities + voted) * np.float32(1 << TRUST_BITS)
        ).astype(np.int64)
        bins = tuple(index[self._known] for index in self._bin)
        np.add.at(self._trust[..., 0], bins, credit[self._known])
        np.add.at(self._trust[..., 1], bins, (1 << TRUST_BITS) - credit[self._known])
        full = self._trust.sum(axis=2) > TRUST_LIMIT
        self._trust[full] = np.maximum(self._trust[full] >> 1, TRUST_FLOOR)

        surprise = np.rint(
            (np.float32(1) - observation.probabilities) * np.float32(1 << SURPRISE_BITS)
        ).astype(np.int64)
        for row, token in enumerate(observation.tokens):
            position, slot = self._count, self._count % self._capacity
            self._signatures[slot] = self._signature[row]
            self._tokens[slot], self._last[slot] = token, step.history[row, 0]
            self._surprise[slot] = surprise[row]
            for postings, key in (
                (self._by_last, step.history[row, 0]),
                (self._by_top, step.top_tokens[row, 0]),
            ):
                entries = postings.setdefault(int(key), array("q"))
                entries.append(position)
                if len(entries) == 2 * SCANNED:
                    del entries[:SCANNED]
            self._count += 1


def _context_signature(history: IdArray) -> npt.NDArray[np.uint8]:
    """The first bits of the hash of each context: [A, CONTEXTS * CONTEXT_BITS / 8]."""
    key, codes = np.zeros(len(history), np.uint64), []
    for i in range(1, 1 + CONTEXTS):
        key = extended(key, history[:, i])
        codes.append(key >> np.uint64(64 - CONTEXT_BITS))
    return np.stack(codes, axis=1).astype(np.uint16).view(np.uint8)


def _newest(entries: array[int] | None) -> Int64Array:
    """The positions that are looked at: [at most SCANNED]."""
    return np.array(entries[-SCANNED:] if entries else (), np.int64)
