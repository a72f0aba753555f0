"""The interface of context mixers: `reference` computes it in numpy, `engine.native_mixer` in C,
with the same integers.

At each step the predictor asks for candidates (`recall`), tells the model's weights for them, gets
corrected weights (`mix`), and says which tokens were observed (`learn`). docs/arithmetic.md,
section 6, fixes every number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

MIXING_VERSION = 3
"""The version of section 6 that is written; frames say by their format version which they have."""

TOP_TOKENS = 8
"""How many of the model's most likely tokens are candidates."""

MIN_CAPACITY_BITS = 8
MAX_CAPACITY_BITS = 22

EXPERTS = ("matches", "neighbors", "biases", "calibration")
"""The experts in their order; version 1 has no calibration."""

NO_TOKEN = -1
"""Fills up rows of candidates."""

MATCH_SLOTS_BITS = 3
"""Slots of the match table per position, as a power of two."""

BIAS_SLOTS_BITS = 2
"""Slots of the biases' table per position, as a power of two."""


Parts = Sequence[slice]
"""For each of several mixers its rows in a step, in ascending order."""


class ContextMixer(Protocol):
    """Learns from all streams of a block.

    Rows are the first A streams, those that have a token at this step.
    """

    capacity_bits: int
    """The mixer holds the last 2**capacity_bits positions."""

    def start(self, streams: int, context: npt.NDArray[np.int32]) -> None:
        """Begin a block of `streams` streams that have all read `context` [n]; what has been
        learned stays.
        """
        ...

    def recall(
        self, vectors: npt.NDArray[np.int8], top_tokens: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.int32]:
        """The tokens that may be corrected now.

        vectors: head inputs [A, d_model]. top_tokens: the model's most likely tokens [A,
        TOP_TOKENS], best first. Returns [A, C], different tokens in each row, filled up with
        NO_TOKEN.
        """
        ...

    def mix(
        self, weights: npt.NDArray[np.int32], totals: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """The model's weights of the recalled tokens [A, C] and of all tokens together [A] ->
        corrected weights [A, C].
        """
        ...

    def evidence(self) -> npt.NDArray[np.float32]:
        """Between `mix` and `learn`, for those who explain a file: the bits that each expert adds
        to the logarithm of each recalled token's weight, [A, C, len(EXPERTS)]; 0 at NO_TOKEN.

        Their sum, bounded as in `mix`, is what the weight is raised by. No coded byte depends on
        it, and its sums are in no fixed order.
        """
        ...

    def learn(self, tokens: npt.NDArray[np.int32], weights: npt.NDArray[np.int32]) -> None:
        """Learn from the observed tokens [A] and the model's weights of them [A]."""
        ...

    def follow(self, tokens: npt.NDArray[np.int32]) -> None:
        """Note the observed tokens [A], which go on the streams' histories, and learn nothing."""
        ...

    def draft(
        self, streams: int, most: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Between `learn` and `recall`: the tokens that the matches expect in the first streams,
        [A, most], NO_TOKEN from where nothing is known; and the probability of each, if those
        before it come true, [A, most].

        Nothing changes by it, and no coded byte depends on it.
        """
        ...

    def select(self, streams: npt.NDArray[np.int32]) -> None:
        """From now on the streams are these of the former ones, [n] in ascending order."""
        ...

    def copy(self) -> ContextMixer:
        """An independent mixer that has learned the same."""
        ...

    def beside(self, others: Sequence[ContextMixer]) -> ContextMixers:
        """This mixer and others of the same engine, all different, as one for the rows of all."""
        ...


class ContextMixers(Protocol):
    """The steps of several mixers at once: see the methods of `ContextMixer`.

    Arrays have the rows A of a step, of which each mixer has a part; what lies between the parts
    is skipped, and filled up in results.
    """

    def recall(
        self, parts: Parts, vectors: npt.NDArray[np.int8], top_tokens: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.int32]:
        """Head inputs [A, d_model] and most likely tokens [A, TOP_TOKENS] -> candidates [A, C]."""
        ...

    def mix(
        self, parts: Parts, weights: npt.NDArray[np.int32], totals: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Weights [A, C] of what was recalled and totals [A] -> corrected weights [A, C]."""
        ...

    def learn(
        self, parts: Parts, tokens: npt.NDArray[np.int32], weights: npt.NDArray[np.int32]
    ) -> None:
        """Learn from the observed tokens [A] and the model's weights of them [A]."""
        ...


def capacity_bits_for(tokens: int) -> int:
    """The smallest capacity that holds so many positions, or the largest there is."""
    return min(max((tokens - 1).bit_length(), MIN_CAPACITY_BITS), MAX_CAPACITY_BITS)


def mixer_bytes(capacity_bits: int, d_model: int, vocab: int, version: int = MIXING_VERSION) -> int:
    """The bytes that a mixer of a version takes at most, in C (native/context_mixer.c) as in numpy
    (docs/format.md, "Memory").
    """
    # Signature, two lists with room to grow, last token, token, surprise.
    position = -(-d_model // 64) * 8 + 52
    if version >= 2:
        position += 8  # context in the signature
    # Slots of 9 bytes (in C 8), pairs of counts.
    tables = (9 << MATCH_SLOTS_BITS) + (16 << BIAS_SLOTS_BITS)
    # A pair of counts and the newest positions of each token; the curvatures of all weights.
    return (position + tables << capacity_bits) + 32 * vocab + (1 << 16 if version >= 3 else 0)
