"""Speculative steps (arXiv 2211.17192): a decoder of few streams has drafts of the tokens that
follow evaluated with a step.

A step of few rows takes as long as reading the weights takes, and some rows more take little
longer. Where a draft comes true, its step has been evaluated already; where it does not, the
session is rewound. As all arithmetic is exact, no draft can change a number.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmzip.accounting import draft_rows
from llmzip.engine.base import Distributions, Engine, HeadInput, Session
from llmzip.mixing.base import ContextMixer
from llmzip.types import IdArray

_PATIENCE, _SELDOM = 16, 4
"""After so many steps without a draft, only every so many steps ask for some: it takes a hundredth
of a step.
"""

_Vectors = npt.NDArray[np.int8]
_Scales = npt.NDArray[np.float32]


class StepCosts:
    """How much longer steps with drafts take than those without: learned from what they take."""

    FIRST, EACH = 0.1, 0.11
    """What the first draft and what each one adds, in steps (docs/notes/speed.md, "A single
    stream"): the one until more is known, the other always.
    """
    _LEAST = 0.01
    """What a draft adds at least: so that none is evaluated that cannot come true."""
    _WORTH = 0.94
    """Drafts have to make tokens so cheap at least: what promises less may well be a loss."""
    _RATE, _FORGETTING = 1 / 16, 1 / 1024
    _INTERRUPTED = 2.0
    """A step that takes longer than so many times as expected counts for so many."""

    def __init__(self) -> None:
        self._first = self.FIRST
        self._alone = 0.0  # seconds of a step without drafts
        self._seen = [0, 0]  # steps without drafts, and with

    def _expected(self, drafts: int) -> float:
        """The time of a step, in steps without drafts."""
        return 1 + self._first + self.EACH * drafts if drafts else 1.0

    def note(self, drafts: int, seconds: float) -> None:
        """Learn from a step."""
        kind = int(drafts > 0)
        self._seen[kind] += 1
        rate = max(self._RATE, 1 / (self._seen[kind] + 3 * kind))
        self._alone = self._alone or seconds
        expected = self._expected(drafts)
        change = rate * (min(seconds / self._alone, self._INTERRUPTED * expected) - expected)
        if drafts:
            self._first = max(self._first + change, self._LEAST - self.EACH)
        else:
            self._alone *= 1 + change
            # What a busy time has made too dear is tried again some day.
            self._first += self._FORGETTING * (self.FIRST - self._first)

    def best(self, chances: Sequence[float]) -> int:
        """The number of drafts that makes a token cheapest, where each comes true with its
        probability if those before it do.
        """
        best, least, tokens, chance = 0, self._WORTH, 1.0, 1.0
        for drafts, one in enumerate(chances, 1):
            chance *= one
            tokens += chance
            cost = self._expected(drafts) / tokens
            if cost < least:
                best, least = drafts, cost
        return best


class Drafts:
    """The drafts of a block's streams: what its mixer expects, as far as that pays."""

    def __init__(self, mixer: ContextMixer | None, most: int) -> None:
        """most: the largest number of drafts of a stream; 0 without a mixer."""
        self.most = most if mixer else 0
        self.costs = StepCosts()
        self._mixer = mixer
        self._vain = 0  # steps since there was a draft

    @classmethod
    def of(cls, engine: Engine, streams: int, mixer: ContextMixer | None) -> Drafts:
        """Those of streams in lockstep on an engine."""
        rows = min(engine.batches.draft_rows, streams + draft_rows(engine.model.spec))
        return cls(mixer, max(rows // streams - 1, 0))

    def tokens(self, streams: int, left: int) -> IdArray | None:
        """Drafts for the first streams, [A, n], n being at most `left`; None where none pays."""
        most = min(self.most, left)
        self._vain += 1
        if self._mixer is None or most < 1 or (self._vain > _PATIENCE and self._vain % _SELDOM):
            return None
        tokens, chances = self._mixer.draft(streams, most)
        # A draft is of use where it comes true in all streams.
        joint = chances[0] if streams == 1 else chances.prod(axis=0)
        count = self.costs.best(joint.tolist())
        if not count:
            return None
        self._vain = 0
        return tokens[:, :count]


class SpeculativeSteps:
    """Streams in lockstep, step by step, each evaluated with drafts of those that follow."""

    def __init__(self, engine: Engine, session: Session, drafts: Drafts) -> None:
        """session: one whose calls may feed a token and `drafts.most` more."""
        self._engine, self._session, self._drafts = engine, session, drafts
        self._fed: IdArray = np.empty((0, 0), np.int32)  # [A, n]: a step, and n - 1 of drafts
        self._step = 0  # of these n
        self._streams = 0  # which are fed in this step
        self._head: HeadInput
        self._all: tuple[_Vectors, _Scales, Distributions] | None = None  # of these n
        self._seconds = 0.0  # that the session has taken for them

    def feed(self, tokens: IdArray, left: int) -> None:
        """Feed a token to each of the first streams, [A]; at most `left` further steps come."""
        self._streams = len(tokens)
        if self._comes_true(tokens):
            return
        self._all = None  # before the next ones are made: they are megabytes
        self._fed, self._step = tokens[:, None], 0
        drafts = self._drafts.tokens(self._streams, left)
        if drafts is not None:
            self._fed = np.concatenate([self._fed, drafts], axis=1)
        begun = time.perf_counter()
        self._head = self._session.advance(self._fed)
        self._seconds = time.perf_counter() - begun

    def _comes_true(self, tokens: IdArray) -> bool:
        """Go on to the next drafts, or take all back that are left."""
        left = self._fed.shape[1] - 1 - self._step
        if left < 1:
            return False
        self._step += 1
        if np.array_equal(self._fed[: len(tokens), self._step], tokens):
            return True
        self._session.rewind(left)
        return False

    def predicted(self) -> tuple[_Vectors, _Scales, Distributions]:
        """What is known of the tokens that follow: head inputs [A, d_model] and [A], and their
        distributions.
        """
        if self._fed.shape[1] == 1:
            return self._made(self._head.vectors[:, 0], self._head.scales[:, 0])
        if self._all is None:
            self._all = self._made(*self._head.steps(0, self._fed.shape[1]))
        vectors, scales, distributions = self._all
        first = self._step * len(self._fed)
        rows = slice(first, first + self._streams)
        return vectors[rows], scales[rows], _StepDistributions(distributions, rows)

    def _made(self, vectors: _Vectors, scales: _Scales) -> tuple[_Vectors, _Scales, Distributions]:
        begun = time.perf_counter()
        made = self._engine.distributions(vectors, scales)
        seconds = self._seconds + time.perf_counter() - begun
        self._drafts.costs.note(self._fed.shape[1] - 1, seconds)
        return vectors, scales, made


class _StepDistributions:
    """See `Distributions`: of one step among those that were evaluated together."""

    def __init__(self, of_all: Distributions, rows: slice) -> None:
        self._all, self._rows = of_all, rows

    def top_tokens(self) -> npt.NDArray[np.int32]:
        return self._all.top_tokens()[self._rows]

    def totals(self) -> npt.NDArray[np.int64]:
        return self._all.totals()[self._rows]

    def weights_of(self, first: int, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        return self._all.weights_of(self._rows.start + first, tokens)

    def replace(
        self, first: int, tokens: npt.NDArray[np.int32], weights: npt.NDArray[np.int64]
    ) -> None:
        self._all.replace(self._rows.start + first, tokens, weights)

    def bucket_frequencies(self) -> npt.NDArray[np.integer]:
        return self._all.bucket_frequencies()[self._rows]

    def token_frequencies(self, buckets: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        wanted = np.zeros(len(self._all.totals()), np.int32)
        wanted[self._rows] = buckets
        return self._all.token_frequencies(wanted)[self._rows]
