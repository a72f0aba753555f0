"""Applies context mixers to the model's distributions: each block's corrects the block's rows of a
step, and learns their tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmzip.coding.observer import CodingObserver
from llmzip.engine.base import Distributions
from llmzip.mixing.base import NO_TOKEN, ContextMixer, ContextMixers, Parts
from llmzip.types import IdArray


class Corrections:
    """The mixers of blocks side by side.

    `parts` are the rows of each block in a step; an empty slice for one that has no token in it.
    """

    def __init__(
        self, mixers: Sequence[ContextMixer | None], observer: CodingObserver | None = None
    ) -> None:
        """mixers: of each block; None: nothing corrects it. observer: of a single block."""
        self._mixers = mixers
        self._observer = observer
        self._numbers: list[int] = []
        self._joined: ContextMixers | None = None  # of the blocks with these numbers

    def correct(
        self,
        parts: Parts,
        vectors: npt.NDArray[np.int8],
        distributions: Distributions,
        first: int = 0,
    ) -> None:
        """Let each mixer correct its block's rows of a step.

        vectors: the step's head inputs [A, d_model], in the rows of the distributions from `first`.
        """
        mixers = self._mixing(parts)
        if not mixers:
            return
        span, own = _span(parts, mixers)
        rows = slice(first + span.start, first + span.stop)
        together, totals = self._together(mixers), distributions.totals()[rows]
        tokens = together.recall(own, vectors[span], distributions.top_tokens()[rows])
        weights = distributions.weights_of(rows.start, tokens)
        corrected = together.mix(own, weights, totals)
        distributions.replace(rows.start, tokens, corrected)
        if self._observer:
            (mixer,) = (self._mixers[i] for i in mixers)
            assert mixer
            self._observer.corrections(tokens, weights, corrected, totals, mixer.evidence)

    def weights(
        self, parts: Parts, ids: IdArray, distributions: Distributions, first: int = 0
    ) -> IdArray:
        """The model's weights [A] of the tokens [A] that came in a step, as `learn` wants them."""
        found = np.zeros(len(ids), np.int32)
        if mixers := self._mixing(parts):
            span, own = _span(parts, mixers)
            wanted = np.full((span.stop - span.start, 1), NO_TOKEN, np.int32)
            for part in own:
                wanted[part, 0] = ids[span][part]
            found[span] = distributions.weights_of(first + span.start, wanted)[:, 0]
        return found

    def learn(self, parts: Parts, ids: IdArray, weights: IdArray) -> None:
        """Tell each mixer which tokens [A] with which weights [A] came in the rows that it has just
        corrected.
        """
        if mixers := self._mixing(parts):
            span, own = _span(parts, mixers)
            self._together(mixers).learn(own, ids[span], weights[span])

    def _mixing(self, parts: Parts) -> list[int]:
        """The numbers of the blocks that have a mixer and rows."""
        pairs = zip(self._mixers, parts, strict=True)
        return [i for i, (mixer, part) in enumerate(pairs) if mixer and part.stop > part.start]

    def _together(self, numbers: list[int]) -> ContextMixers:
        if not self._joined or numbers != self._numbers:
            first, *others = (mixer for i in numbers if (mixer := self._mixers[i]))
            self._numbers, self._joined = numbers, first.beside(others)
        return self._joined


def _span(parts: Parts, numbers: list[int]) -> tuple[slice, Parts]:
    """The rows from the first to the last that is mixed, and the parts in them."""
    own = [parts[i] for i in numbers]
    begin, end = min(part.start for part in own), max(part.stop for part in own)
    return slice(begin, end), [slice(part.start - begin, part.stop - begin) for part in own]
