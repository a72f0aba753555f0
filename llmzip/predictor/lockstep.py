"""Lockstep coding: the tokens of a block as S streams that advance together.

At step t each stream codes its t-th token: first all buckets, then all slots in the buckets, then
the literal bytes behind escape tokens. The encoder knows all tokens and evaluates many steps at
once; the decoder goes step by step. Both see the same integers (docs/format.md, "Payload of the llm
codec"). A mixer, where there is one, corrects the predictions of each step by what came in all
streams before it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import BUCKET_BITS, BUCKET_SIZE, FREQUENCY_TOTAL
from llmzip.coding.observer import CodingObserver
from llmzip.coding.range_coder import RangeDecoder, RangeEncoder
from llmzip.engine.base import Engine, HeadInput, Session
from llmzip.errors import IntegrityError
from llmzip.mixing.base import ContextMixer
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.correction import correct, learn
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.types import IdArray, TokenProgress

_LITERAL_TABLE = np.full((1, 256), FREQUENCY_TOTAL // 256, np.int64)


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
        return self._read.fork(streams, window, chunk)


def _shifted(rows: IdArray, first: int) -> IdArray:
    """The inputs with which the model predicts `rows`: each token one step later, `first` before
    them.
    """
    return np.concatenate([np.full((len(rows), 1), first, np.int32), rows[:, :-1]], axis=1)


def encode_tokens(
    engine: Engine,
    tokens: Tokens,
    layout: StreamLayout,
    mixer: ContextMixer | None = None,
    start: Start | None = None,
    progress: TokenProgress | None = None,
    observer: CodingObserver | None = None,
) -> bytes:
    """Code a token sequence in the streams of a layout; the mixer, if any, learns it."""
    begin = start or Start(engine)
    spec = engine.model.spec
    streams = layout.streams
    schedule = Schedule(layout.tokens, streams)
    rows = schedule.split(tokens.ids)
    inputs = _shifted(rows, begin.last_token)
    literals = schedule.split(_literal_values(tokens, spec.escape_token))
    coder = RangeEncoder(observer)
    chunk = max(1, min(engine.batches.encode // streams, schedule.steps))
    session = begin.session(streams, layout.window, schedule.steps, chunk)
    group = max(1, engine.batches.tables // streams)
    if mixer:
        mixer.start(streams, begin.context)
    for origin in range(0, schedule.steps, chunk):
        head = session.advance(inputs[:, origin : origin + chunk])
        for first in range(origin, min(origin + chunk, schedule.steps), group):
            steps = slice(first, min(first + group, origin + chunk, schedule.steps))
            vectors, scales = _step_rows(head, steps.start - origin, steps.stop - origin)
            distributions = engine.distributions(vectors, scales)
            if observer:
                coded = min(steps.stop * streams, schedule.tokens) - steps.start * streams
                observer.predictions(
                    vectors[:coded], scales[:coded], rows[:, steps].T.flatten()[:coded]
                )
            if mixer:
                for i, t in enumerate(range(steps.start, steps.stop)):
                    part = slice(i * streams, i * streams + schedule.active(t))
                    correct(mixer, vectors, distributions, part)
                    learn(mixer, rows[: schedule.active(t), t], distributions, part)
            buckets = rows[:, steps].T.flatten() >> BUCKET_BITS
            tables = distributions.bucket_frequencies(), distributions.token_frequencies(buckets)
            for i, t in enumerate(range(steps.start, steps.stop)):
                active = schedule.active(t)
                ids = rows[:active, t]
                part = slice(i * streams, i * streams + active)
                coder.encode(ids >> BUCKET_BITS, tables[0][part])
                coder.encode(ids & (BUCKET_SIZE - 1), tables[1][part])
                literal = literals[:active, t][ids == spec.escape_token]
                coder.encode(literal, _LITERAL_TABLE.repeat(len(literal), axis=0))
            if progress:
                progress(min(steps.stop * streams, schedule.tokens))
    return coder.finish()


def decode_tokens(
    engine: Engine,
    coded: bytes,
    layout: StreamLayout,
    mixer: ContextMixer | None = None,
    start: Start | None = None,
    progress: TokenProgress | None = None,
) -> Tokens:
    """The inverse of `encode_tokens`. Raises IntegrityError for symbols that no encoder writes."""
    begin = start or Start(engine)
    spec = engine.model.spec
    streams = layout.streams
    schedule = Schedule(layout.tokens, streams)
    rows = np.zeros((streams, schedule.steps), np.int32)
    literals = np.zeros_like(rows)
    coder = RangeDecoder(coded)
    session = begin.session(streams, layout.window, schedule.steps, 1)
    previous = np.full((streams, 1), begin.last_token, np.int32)
    if mixer:
        mixer.start(streams, begin.context)
    for t in range(schedule.steps):
        active = schedule.active(t)
        head = session.advance(previous[:active])
        vectors = head.vectors[:, 0]
        distributions = engine.distributions(vectors, head.scales[:, 0])
        if mixer:
            correct(mixer, vectors, distributions, slice(0, active))
        buckets = coder.decode(distributions.bucket_frequencies())
        ids = (buckets << BUCKET_BITS) | coder.decode(distributions.token_frequencies(buckets))
        if ids.max() >= spec.vocab:
            raise IntegrityError(
                "a decoded token lies outside the vocabulary; the block is damaged"
            )
        if mixer:
            learn(mixer, ids, distributions, slice(0, active))
        rows[:active, t] = ids
        escapes = np.flatnonzero(ids == spec.escape_token)
        literals[escapes, t] = coder.decode(_LITERAL_TABLE.repeat(len(escapes), axis=0))
        previous = rows[:, t : t + 1]
        del distributions  # before the next step's are made: they are megabytes
        if progress:
            progress(min((t + 1) * streams, layout.tokens))
    ids = schedule.join(rows)
    values = schedule.join(literals)[ids == spec.escape_token]
    return Tokens(ids, values.astype(np.uint8).tobytes())


def _step_rows(
    head: HeadInput, first: int, stop: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Head inputs [n, d] and [n] of the steps `first` to `stop - 1` of a chunk, step by step, each
    with all its streams.
    """
    vectors = np.ascontiguousarray(head.vectors[:, first:stop].swapaxes(0, 1))  # [steps, S, d]
    scales = np.ascontiguousarray(head.scales[:, first:stop].T).flatten()
    return vectors.reshape(scales.size, -1), scales


def _literal_values(tokens: Tokens, escape_token: int) -> IdArray:
    """The literal byte at the index of each escape token, 0 elsewhere: [n]."""
    values = np.zeros(len(tokens.ids), np.int32)
    values[tokens.ids == escape_token] = np.frombuffer(tokens.literals, np.uint8)
    return values
