"""Applies context mixers to the model's distributions: each block's corrects the block's rows of a
step, and learns their tokens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from llmzip.coding.observer import CodingObserver
from llmzip.engine.base import Distributions
from llmzip.mixing.base import NO_TOKEN, ContextMixer
from llmzip.types import IdArray

_Result = TypeVar("_Result")
_Number = TypeVar("_Number", bound=np.integer)

Parts = Sequence[slice]
"""For each block its rows in a step; an empty slice for one that has no token in it."""


class Corrections:
    """The mixers of blocks side by side.

    Of several blocks each mixer computes on a thread of its own; `recall` is not among that, as the
    C core itself spreads its rows over threads.
    """

    def __init__(
        self,
        mixers: Sequence[ContextMixer | None],
        threads: ThreadPoolExecutor | None,
        observer: CodingObserver | None = None,
    ) -> None:
        """mixers: of each block; None: nothing corrects it. observer: of a single block."""
        self._mixers = mixers
        self._threads = threads
        self._observer = observer

    @classmethod
    @contextlib.contextmanager
    def of(
        cls,
        mixers: Sequence[ContextMixer | None],
        threads: int,
        observer: CodingObserver | None = None,
    ) -> Iterator[Corrections]:
        """Corrections by at most so many threads, which end with the context."""
        threads = min(threads, sum(mixer is not None for mixer in mixers))
        if threads < 2:
            yield cls(mixers, None, observer)
            return
        with ThreadPoolExecutor(threads, "llmzip mixing") as pool:
            yield cls(mixers, pool)

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
        mixing = self._mixing(parts)
        if not mixing:
            return
        top, totals = distributions.top_tokens()[first:], distributions.totals()[first:]
        recalled = [mixer.recall(vectors[part], top[part]) for mixer, part in mixing]
        begin = _span(mixing)[0]
        tokens = _joined(mixing, recalled, NO_TOKEN)
        weights = distributions.weights_of(first + begin, tokens)

        def mix(i: int) -> npt.NDArray[np.int64]:
            mixer, part = mixing[i]
            own = weights[part.start - begin : part.stop - begin, : recalled[i].shape[1]]
            return mixer.mix(own, totals[part])

        mixed = self._each(mix, len(mixing))
        corrected = _joined(mixing, mixed, 0)
        distributions.replace(first + begin, tokens, corrected)
        if self._observer:
            ((mixer, part),) = mixing
            self._observer.corrections(tokens, weights, corrected, totals[part], mixer.evidence)

    def weights(
        self, parts: Parts, ids: IdArray, distributions: Distributions, first: int = 0
    ) -> IdArray:
        """The model's weights [A] of the tokens [A] that came in a step, as `learn` wants them."""
        found = np.zeros(len(ids), np.int32)
        if mixing := self._mixing(parts):
            begin, end = _span(mixing)
            wanted = np.full((end - begin, 1), NO_TOKEN, np.int32)
            for _, part in mixing:
                wanted[part.start - begin : part.stop - begin, 0] = ids[part]
            found[begin:end] = distributions.weights_of(first + begin, wanted)[:, 0]
        return found

    def learn(self, parts: Parts, ids: IdArray, weights: IdArray) -> None:
        """Tell each mixer which tokens [A] with which weights [A] came in the rows that it has just
        corrected.
        """
        mixing = self._mixing(parts)

        def learn(i: int) -> None:
            mixer, part = mixing[i]
            mixer.learn(ids[part], weights[part])

        self._each(learn, len(mixing))

    def _mixing(self, parts: Parts) -> list[tuple[ContextMixer, slice]]:
        return [
            (mixer, part)
            for mixer, part in zip(self._mixers, parts, strict=True)
            if mixer is not None and part.stop > part.start
        ]

    def _each(self, work: Callable[[int], _Result], count: int) -> list[_Result]:
        if self._threads is None or count < 2:
            return [work(i) for i in range(count)]
        return list(self._threads.map(work, range(count)))


def _span(mixing: list[tuple[ContextMixer, slice]]) -> tuple[int, int]:
    """The rows from the first to the last that is mixed."""
    return min(part.start for _, part in mixing), max(part.stop for _, part in mixing)


def _joined(
    mixing: list[tuple[ContextMixer, slice]],
    arrays: Sequence[npt.NDArray[_Number]],
    missing: int,
) -> npt.NDArray[_Number]:
    """Arrays [A, C] of the blocks as one for the rows of all, filled up with `missing`."""
    if len(arrays) == 1:
        return arrays[0]
    begin, end = _span(mixing)
    out = np.full((end - begin, max(a.shape[1] for a in arrays)), missing, arrays[0].dtype)
    for (_, part), array in zip(mixing, arrays, strict=True):
        out[part.start - begin : part.stop - begin, : array.shape[1]] = array
    return out
