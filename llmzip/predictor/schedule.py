"""Which token of which stream is coded when, and where streams begin."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from llmzip.engine.base import Engine, Session
from llmzip.types import IdArray


@dataclasses.dataclass(frozen=True)
class Schedule:
    """n tokens as S streams of consecutive tokens; the first n mod S have one token more."""

    tokens: int
    streams: int

    @property
    def steps(self) -> int:
        """The length of the longest stream."""
        return -(-self.tokens // self.streams)

    def active(self, step: int) -> int:
        """How many streams, the first ones, have a token at this step."""
        return (
            self.streams if (step + 1) * self.streams <= self.tokens else self.tokens % self.streams
        )

    def split(self, ids: IdArray) -> IdArray:
        """[n] -> [S, steps]; a shorter stream ends with a 0 that is never coded."""
        rows = np.zeros((self.streams, self.steps), np.int32)
        rows.flat[self._indices()] = ids
        return rows

    def join(self, rows: IdArray) -> IdArray:
        """The inverse of `split`."""
        joined: IdArray = rows.flatten()[self._indices()]
        return joined

    def _indices(self) -> npt.NDArray[np.int64]:
        """The index of each token in the flattened rows: [n]."""
        longer = self.tokens % self.streams or self.streams
        indices = np.arange(self.tokens)
        beyond = np.maximum(indices - longer * self.steps, 0)
        return indices + (beyond // (self.steps - 1) if self.steps > 1 else 0)


class Start:
    """Where the streams begin: at nothing, or after a text that all of them have read."""

    def __init__(
        self, engine: Engine, context: IdArray | None = None, read: Session | None = None
    ) -> None:
        """context: the tokens of that text [n]; read: a session of one stream that has been fed all
        but the last of them.
        """
        self._engine = engine
        self.context = np.empty(0, np.int32) if context is None else context
        self._read = read

    @property
    def last_token(self) -> int:
        """The first input of each stream."""
        return int(self.context[-1]) if len(self.context) else self._engine.model.spec.start_token

    def session(self, streams: int, window: int, steps: int, chunk: int) -> Session:
        """A session of streams that stand here and code up to `steps` tokens; it has no room for
        what they never see.
        """
        window = min(window, len(self.context) + steps)
        if self._read is None:
            return self._engine.session(streams, window, chunk)
        return self._read.fork([0] * streams, window, chunk)
