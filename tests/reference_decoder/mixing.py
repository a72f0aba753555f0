"""Context mixing: three experts correct the model's weights of some tokens (docs/arithmetic.md,
section 6)."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.reference_decoder.biases import Biases
from tests.reference_decoder.float32 import F, exp2, round_to_int
from tests.reference_decoder.match_model import Match, MatchModel
from tests.reference_decoder.nearest_neighbors import NearestNeighbors, Vote
from tests.reference_decoder.row import Row

FEATURES = 6
"""One of the matches, two of the neighbors, three of the biases."""
FIRST_WEIGHTS = (0.1, 0.9, 0.1, 0.3, 0.3, 0.1)
LARGEST_WEIGHT = 8 << 20


@dataclasses.dataclass(frozen=True)
class Observation:
    """What the experts know of one row, and what has become of its weights."""

    row: Row
    match: Match
    vote: Vote
    features: dict[int, list[F]]
    """Of each candidate."""
    corrected: list[int]
    """The weights of all tokens."""

    @property
    def mixer_contexts(self) -> list[tuple[int, int]]:
        """Which weights of the mixer apply: the expert's number and its context."""
        return [(0, self.match.mixer_context), (1, self.vote.mixer_context), (2, 0)]


class Mixing:
    """What the coded tokens have taught, for all streams together."""

    def __init__(self, capacity_bits: int, d_model: int) -> None:
        self.capacity_bits = capacity_bits
        self._matches = MatchModel(capacity_bits)
        self._neighbors = NearestNeighbors(capacity_bits, d_model)
        self._biases = Biases(capacity_bits)
        first = [round(2**20 * weight) for weight in FIRST_WEIGHTS]
        self._weights: tuple[defaultdict[int, list[int]], ...] = (
            defaultdict(lambda: first),
            defaultdict(lambda: [0] * FEATURES),
            defaultdict(lambda: [0] * FEATURES),
        )
        self._seen: Counter[tuple[int, int]] = Counter()
        self._observed: list[Observation] = []

    def correct(self, rows: Sequence[Row]) -> list[list[int]]:
        """The weights of all tokens, for each stream that has a token at this step."""
        self._observed = [self._observe(row) for row in rows]
        return [observation.corrected for observation in self._observed]

    def _observe(self, row: Row) -> Observation:
        match, vote = self._matches.observe(row), self._neighbors.observe(row)
        observation = Observation(row, match, vote, {}, list(row.predicted.weights))
        mixed = [self._weights[expert][context] for expert, context in observation.mixer_contexts]
        omegas = [F(sum(of_experts)) * F(2.0**-20) for of_experts in zip(*mixed, strict=True)]
        for token in {*row.top_tokens} | match.candidates | vote.candidates:
            features = [
                *self._matches.features(row, match, token),
                *self._neighbors.features(row, vote, token),
                *self._biases.features(row, token),
            ]
            exponent = omegas[0] * features[0]
            for omega, feature in zip(omegas[1:], features[1:], strict=True):
                exponent = exponent + omega * feature
            factor = exp2(min(max(exponent, F(-20)), F(20)))
            observation.features[token] = features
            observation.corrected[token] = round_to_int(F(row.weight(token)) * factor)
        return observation

    def learn(self, tokens: Sequence[int]) -> None:
        """The tokens that came in the rows of the last step."""
        self._descend(tokens)
        rows = [observation.row for observation in self._observed]
        self._matches.learn(rows, [observation.match for observation in self._observed], tokens)
        self._neighbors.learn(rows, [observation.vote for observation in self._observed], tokens)
        for observation, token in zip(self._observed, tokens, strict=True):
            self._biases.learn(observation.row, list(observation.features), token)

    def _descend(self, tokens: Sequence[int]) -> None:
        """One step of gradient descent on the mixer's weights (6.5)."""
        slopes: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * FEATURES)
        for observation, token in zip(self._observed, tokens, strict=True):
            total = F(sum(observation.corrected))
            for candidate, features in observation.features.items():
                error = F(candidate == token) - F(observation.corrected[candidate]) / total
                steps = [round_to_int(error * feature * F(2**20)) for feature in features]
                for key in observation.mixer_contexts:
                    slopes[key] = [a + b for a, b in zip(slopes[key], steps, strict=True)]
        for (expert, context), slope in slopes.items():
            rate = F(0.001) + F(0.2) / (F(20) + F(self._seen[expert, context]))
            moved = [
                weight + round_to_int(rate * F(step))
                for weight, step in zip(self._weights[expert][context], slope, strict=True)
            ]
            self._weights[expert][context] = [
                min(max(weight, -LARGEST_WEIGHT), LARGEST_WEIGHT) for weight in moved
            ]
        for observation in self._observed:
            self._seen.update(observation.mixer_contexts)
