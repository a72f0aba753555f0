"""Several mixers as one, in the simplest way: one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from llmzip.mixing.base import NO_TOKEN, ContextMixer, Parts

_Number = TypeVar("_Number", bound=np.integer)


class MixersInTurn:
    """See `ContextMixers`; of mixers of any kinds."""

    def __init__(self, mixers: Sequence[ContextMixer]) -> None:
        self._mixers = mixers
        self._columns = [0] * len(mixers)  # of what each has recalled

    def recall(
        self, parts: Parts, vectors: npt.NDArray[np.int8], top_tokens: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.int32]:
        """See `ContextMixers.recall`."""
        recalled = [
            mixer.recall(vectors[part], top_tokens[part])
            for mixer, part in zip(self._mixers, parts, strict=True)
        ]
        self._columns = [tokens.shape[1] for tokens in recalled]
        return _joined(parts, recalled, len(vectors), NO_TOKEN)

    def mix(
        self, parts: Parts, weights: npt.NDArray[np.int32], totals: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """See `ContextMixers.mix`."""
        mixed = [
            mixer.mix(weights[part, :columns], totals[part])
            for mixer, part, columns in zip(self._mixers, parts, self._columns, strict=True)
        ]
        return _joined(parts, mixed, len(weights), 0)

    def learn(
        self, parts: Parts, tokens: npt.NDArray[np.int32], weights: npt.NDArray[np.int32]
    ) -> None:
        """See `ContextMixers.learn`."""
        for mixer, part in zip(self._mixers, parts, strict=True):
            mixer.learn(tokens[part], weights[part])


def _joined(
    parts: Parts, arrays: Sequence[npt.NDArray[_Number]], rows: int, missing: int
) -> npt.NDArray[_Number]:
    """Arrays [A, C] of the mixers as one for all rows, filled up with `missing`."""
    if len(arrays) == 1 and len(arrays[0]) == rows:
        return arrays[0]
    out = np.full((rows, max(a.shape[1] for a in arrays)), missing, arrays[0].dtype)
    for part, array in zip(parts, arrays, strict=True):
        out[part, : array.shape[1]] = array
    return out
