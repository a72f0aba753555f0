"""What a model is said to make of a text: the interface of everything that `llmzip eval verify` can
check, whoever wrote it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from llmzip.scoring.base import Scorer
from llmzip.scoring.spans import score_text
from llmzip.types import IdArray

_LITERALS = 256
"""The first symbols of `ModelClaims`: bytes that the vocabulary cannot say."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """The code lengths that are claimed for a text, step by step, and what they come to."""

    bits: npt.ArrayLike
    """[n] the code length of each step: -log2 of the probability that what came was given."""
    spans: npt.ArrayLike
    """[n, 2] which bytes of the text each step is about: begin and end. A step may be about none,
    such as one for the text's end.
    """
    bits_per_byte: float | None = None
    """The number that is published; None: there is none but the sum of `bits`."""


@runtime_checkable
class Claimant(Protocol):
    """What claims code lengths for texts."""

    def claim(self, data: bytes) -> Claim:
        """Score a text."""
        ...


@runtime_checkable
class Predictor(Claimant, Protocol):
    """A claimant that shows its distributions, too: step i of a claim is about symbol i."""

    def symbols(self, data: bytes) -> Sequence[int]:
        """The text as symbols, one for each step of its claim: tokens, or bytes."""
        ...

    def text(self, symbols: Sequence[int]) -> bytes:
        """The text that symbols stand for: undoes `symbols`."""
        ...

    def probabilities(self, history: Sequence[int]) -> npt.ArrayLike:
        """[V] the probability of each symbol behind all symbols that came before it."""
        ...


class ModelClaims:
    """The claims of a `Scorer`: independent segments of `context` tokens, each behind the start
    token.

    A symbol below 256 is a byte that the vocabulary cannot say, behind an escape token; 256 + i is
    token i.
    """

    def __init__(self, scorer: Scorer, context: int) -> None:
        self._scorer = scorer
        self._context = min(context, scorer.max_positions)

    def claim(self, data: bytes) -> Claim:
        """See `Claimant.claim`."""
        scores = score_text(self._scorer, data, context=self._context)
        return Claim(scores.bits, _spans(scores.sizes), scores.total_bits / len(data))

    def symbols(self, data: bytes) -> list[int]:
        """See `Predictor.symbols`."""
        text = self._scorer.tokenize(data)
        literals = np.frombuffer(data, np.uint8)[_spans(text.sizes)[:, 0]]
        found: list[int] = np.where(text.escaped, literals, _LITERALS + text.ids).tolist()
        return found

    def text(self, symbols: Sequence[int]) -> bytes:
        """See `Predictor.text`."""
        pieces = self._scorer.vocabulary.token_bytes
        return b"".join(bytes([s]) if s < _LITERALS else pieces[s - _LITERALS] for s in symbols)

    def probabilities(self, history: Sequence[int]) -> npt.NDArray[np.float64]:
        """See `Predictor.probabilities`."""
        vocabulary = self._scorer.vocabulary
        escape = vocabulary.escape_token
        seen = history[len(history) // self._context * self._context :]
        ids = [escape if s < _LITERALS else s - _LITERALS for s in seen]
        inputs = np.array([[vocabulary.start_token, *ids]], np.int32)
        wanted = np.zeros(inputs.shape, np.bool_)
        wanted[0, -1] = True
        ((_, predictions),) = self._scorer.predict(inputs, wanted, None)
        tokens = np.exp2(predictions.log2_probabilities()[0].astype(np.float64))
        literals = np.full(_LITERALS, tokens[escape] / _LITERALS)
        tokens[escape] = 0  # an escape token is never without its byte
        return np.concatenate([literals, tokens])


def _spans(sizes: IdArray) -> npt.NDArray[np.int64]:
    ends = np.cumsum(sizes, dtype=np.int64)
    return np.stack([ends - sizes, ends], axis=1)
