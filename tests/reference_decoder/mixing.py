"""Context mixing: experts correct the model's weights of some tokens (docs/arithmetic.md,
section 6)."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from tests.reference_decoder.biases import Biases
from tests.reference_decoder.calibration import Calibration
from tests.reference_decoder.float32 import F, Integers, Vector, exp2, round_to_int
from tests.reference_decoder.match_model import Match, MatchModel
from tests.reference_decoder.model import Model
from tests.reference_decoder.nearest_neighbors import NearestNeighbors, Vote
from tests.reference_decoder.newton import Key, Newton, curvature
from tests.reference_decoder.row import Row
from tests.reference_decoder.token_classes import token_classes

FIRST_WEIGHTS = (0.1, 0.9, 0.1, 0.2, 0.3, 0.3, 0.1, 0.1, 0.0, 0.0, 0.2)
"""Of the matches, neighbors, biases, calibration."""
FIRST_WEIGHTS_OF_VERSION_1 = (0.1, 0.9, 0.1, 0.3, 0.3, 0.1)
MATCHES, NEIGHBORS, BIASES, CALIBRATION, CLASSES = range(5)
"""What has sets of weights: the experts, and the classes of tokens."""
LARGEST_WEIGHT = 8 << 20


@dataclasses.dataclass(frozen=True)
class Observation:
    """What the experts know of one row, and what has become of its weights."""

    row: Row
    match: Match
    vote: Vote
    features: dict[int, Vector]
    """Of each candidate."""
    corrected: list[int]
    """The weights of all tokens."""
    mixer_contexts: Sequence[Key]
    """Which weights of the mixer apply: the expert's number and its context."""


class Mixing:
    """What the coded tokens have taught, for all streams together."""

    def __init__(self, capacity_bits: int, model: Model, version: int) -> None:
        self.capacity_bits, self._version = capacity_bits, version
        self._classes = token_classes(model.token_bytes)
        self._matches = MatchModel(capacity_bits)
        self._neighbors = NearestNeighbors(capacity_bits, model.spec.d_model, version)
        self._biases = Biases(capacity_bits, version)
        self._calibration = Calibration()
        weights = FIRST_WEIGHTS_OF_VERSION_1 if version == 1 else FIRST_WEIGHTS
        first = np.array([round(2**20 * weight) for weight in weights])
        self._features = len(first)
        self._weights: list[defaultdict[int, Integers]] = [
            defaultdict(lambda: 0 * first) for _ in range(5)
        ]
        self._weights[MATCHES] = defaultdict(lambda: first)
        self._seen: Counter[Key] = Counter()
        self._newton = Newton(self._features)
        self._observed: list[Observation] = []

    def correct(self, rows: Sequence[Row]) -> list[list[int]]:
        """The weights of all tokens, for each stream that has a token at this step."""
        self._observed = [self._observe(row) for row in rows]
        return [observation.corrected for observation in self._observed]

    def _observe(self, row: Row) -> Observation:
        match, vote = self._matches.observe(row), self._neighbors.observe(row)
        contexts = [(MATCHES, match.mixer_context), (NEIGHBORS, vote.mixer_context), (BIASES, 0)]
        if self._version > 1:
            contexts.append((CALIBRATION, self._classes[row.last(1)]))
        observation = Observation(row, match, vote, {}, list(row.predicted.weights), contexts)
        for token in {*row.top_tokens} | match.candidates | vote.candidates:
            features = [
                *self._matches.features(row, match, token),
                *self._neighbors.features(row, vote, token),
                *self._biases.features(row, token),
            ]
            if self._version > 1:
                features += self._calibration.features(row, token)
            sets = [self._weights[kind][n] for kind, n in self._sets(observation, token)]
            omegas = sum(sets[1:], sets[0]).astype(F) * F(2.0**-20)
            exponent = functools.reduce(operator.add, omegas * np.array(features, F))
            factor = exp2(min(max(exponent, F(-20)), F(20)))
            observation.features[token] = np.array(features, F)
            observation.corrected[token] = round_to_int(F(row.weight(token)) * factor)
        return observation

    def _sets(self, observation: Observation, token: int) -> list[Key]:
        """The sets of weights for a candidate."""
        of_class = [(CLASSES, self._classes[token])] if self._version > 1 else []
        return [*observation.mixer_contexts, *of_class]

    def learn(self, tokens: Sequence[int]) -> None:
        """The tokens that came in the rows of the last step."""
        self._descend(tokens)
        candidates = [list(observation.features) for observation in self._observed]
        rows = [observation.row for observation in self._observed]
        self._matches.learn(rows, [observation.match for observation in self._observed], tokens)
        votes = [observation.vote for observation in self._observed]
        self._neighbors.learn(rows, votes, candidates, tokens)
        for row, of_row, token in zip(rows, candidates, tokens, strict=True):
            self._biases.learn(row, of_row, token)
            self._calibration.learn(row, of_row, token)

    def _descend(self, tokens: Sequence[int]) -> None:
        """One step against the slopes of the code length (6.6)."""
        size = self._features
        slopes: defaultdict[Key, Integers] = defaultdict(lambda: np.zeros(size, np.int64))
        curvatures = defaultdict[Key, Integers](lambda: np.zeros((size, size), np.int64))
        counts: Counter[Key] = Counter()
        for observation, token in zip(self._observed, tokens, strict=True):
            total = F(sum(observation.corrected))
            for candidate, features in observation.features.items():
                expected = F(observation.corrected[candidate]) / total
                error = F(candidate == token) - expected
                slope = np.rint(error * features * F(2**20)).astype(np.int64)
                curved = curvature(features, expected)
                for key in self._sets(observation, candidate):
                    slopes[key] += slope
                    curvatures[key] += curved
                counts.update(self._sets(observation, candidate)[-1:] if self._version > 1 else ())
            counts.update(observation.mixer_contexts)
        for key, slope in slopes.items():
            if self._version > 2:
                moves = self._newton.moves(key, counts[key], slope, curvatures[key])
            else:
                rate = F(0.001) + F(0.2) / (F(20) + F(self._seen[key]))
                moves = np.rint(rate * slope.astype(F)).astype(np.int64)
            kind, number = key
            moved = self._weights[kind][number] + moves
            self._weights[kind][number] = np.clip(moved, -LARGEST_WEIGHT, LARGEST_WEIGHT)
        self._seen.update(counts)
