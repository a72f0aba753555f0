"""What each token of a payload cost, put together from the symbols that its coder was given."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import BUCKET_SIZE
from llmzip.model.spec import ModelSpec
from llmzip.predictor.schedule import Schedule
from llmzip.types import Float64Array, IdArray


class SymbolBits:
    """The code lengths of a payload's symbols, in the order of coding."""

    def __init__(self) -> None:
        self._bits: deque[Float64Array] = deque()

    def add(self, symbols: npt.NDArray[np.integer], frequencies: npt.NDArray[np.integer]) -> None:
        """Take what `CodingObserver.symbols` is told."""
        chosen = frequencies[np.arange(len(symbols)), symbols]
        self._bits.append(np.log2(frequencies.sum(axis=1) / chosen))

    def of_tokens(self, ids: IdArray, schedule: Schedule, spec: ModelSpec) -> Float64Array:
        """What the tables made of each token, in the order of coding, [n]: of its bucket, where
        there are several, of its slot and of its literal byte. It can be asked once.

        ids: the tokens in that order, [n].
        """
        bits, first = np.zeros(len(ids)), 0
        for t in range(schedule.steps):
            rows = slice(first, first := first + schedule.active(t))
            for _ in range(1 + (spec.vocab > BUCKET_SIZE)):
                bits[rows] += self._bits.popleft()
            escaped = np.flatnonzero(ids[rows] == spec.escape_token)
            if len(escaped):
                bits[rows][escaped] += self._bits.popleft()
        return bits


def coding_order(schedule: Schedule) -> IdArray:
    """Where the text's tokens are in the order of coding, [n]."""
    steps, streams = schedule.steps, schedule.streams
    return schedule.join(np.resize(np.arange(steps * streams, dtype=np.int32), (steps, streams)).T)
