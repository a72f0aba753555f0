"""Lockstep coding: the tokens of a block as S streams that advance together.

At step t each stream codes its t-th token: first all buckets, then all slots in the buckets, then
the literal bytes behind escape tokens. The encoder knows all tokens and evaluates many steps at
once; the decoder goes step by step. Both see the same integers (docs/format.md, "Payload of the llm
codec"). A mixer, where there is one, corrects the predictions of each step by what came in all
streams before it.

Several blocks may go side by side, so that a step has rows enough for a device: they share nothing
but the model's evaluation. The longest lies first, so that the rows that have ended are the last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import BUCKET_BITS, BUCKET_SIZE, FREQUENCY_TOTAL
from llmzip.coding.observer import CodingObserver
from llmzip.coding.range_coder import RangeDecoder, RangeEncoder
from llmzip.engine.base import Engine, HeadInput
from llmzip.errors import IntegrityError
from llmzip.mixing.base import ContextMixer
from llmzip.model.tokenizer import Tokens
from llmzip.predictor import lanes
from llmzip.predictor.batch import common_window
from llmzip.predictor.correction import Corrections
from llmzip.predictor.schedule import Schedule, Start
from llmzip.predictor.speculation import Drafts, SpeculativeSteps
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.types import IdArray, TokenProgress

_LITERAL_TABLE = np.full((1, 256), FREQUENCY_TOTAL // 256, np.int64)


@dataclasses.dataclass(frozen=True)
class TokenBlock:
    """A block to be encoded; the mixer, if any, learns it."""

    tokens: Tokens
    layout: StreamLayout
    mixer: ContextMixer | None = None


@dataclasses.dataclass(frozen=True)
class CodedBlock:
    """A block to be decoded; the mixer, if any, learns it."""

    coded: bytes
    layout: StreamLayout
    mixer: ContextMixer | None = None


_Block = TypeVar("_Block", TokenBlock, CodedBlock)
_Result = TypeVar("_Result")


class _Rows:
    """A block's rows among those of a step."""

    def __init__(self, number: int, layout: StreamLayout, first: int) -> None:
        self.number = number
        self.schedule = Schedule(layout.tokens, layout.streams)
        self.first = first
        self.stop = first + layout.streams

    def part(self, step: int) -> slice:
        """The rows that have a token at this step."""
        if step >= self.schedule.steps:
            return slice(self.first, self.first)
        return slice(self.first, self.first + self.schedule.active(step))

    def done(self, steps: int) -> int:
        """The tokens that are done after so many steps."""
        return min(steps * self.schedule.streams, self.schedule.tokens)


class _Encoding(_Rows):
    def __init__(self, number: int, block: TokenBlock, first: int, escape_token: int) -> None:
        super().__init__(number, block.layout, first)
        self.ids = self.schedule.split(block.tokens.ids)
        self._literals = self.schedule.split(_literal_values(block.tokens, escape_token))
        self._escape_token = escape_token
        self.coder = RangeEncoder()

    def encode(self, step: int, buckets: _Table, slots: _Table) -> None:
        """Code a step's tokens with the tables of the rows that have one."""
        active = self.schedule.active(step)
        ids = self.ids[:active, step]
        self.coder.encode(ids >> BUCKET_BITS, buckets)
        self.coder.encode(ids & (BUCKET_SIZE - 1), slots)
        literal = self._literals[:active, step][ids == self._escape_token]
        self.coder.encode(literal, _LITERAL_TABLE.repeat(len(literal), axis=0))


_Table = npt.NDArray[np.integer]


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
    block = TokenBlock(tokens, layout, mixer)
    return encode_blocks(engine, [block], start, progress, observer)[0]


def encode_blocks(
    engine: Engine,
    blocks: Sequence[TokenBlock],
    start: Start | None = None,
    progress: TokenProgress | None = None,
    observer: CodingObserver | None = None,
) -> list[bytes]:
    """Code blocks side by side that `batch.fitting` lets go together; observer: of a single one."""
    begin = start or Start(engine)

    def encode(part: Sequence[TokenBlock]) -> Callable[[TokenProgress], list[bytes]]:
        return lambda report: _encode(engine, part, begin, report, observer)

    return _in_lanes(engine, blocks, encode, progress)


def _encode(
    engine: Engine,
    blocks: Sequence[TokenBlock],
    begin: Start,
    progress: TokenProgress,
    observer: CodingObserver | None,
) -> list[bytes]:
    placed: list[_Encoding] = []
    for number in _longest_first([block.layout for block in blocks]):
        first = placed[-1].stop if placed else 0
        escape = engine.model.spec.escape_token
        placed.append(_Encoding(number, blocks[number], first, escape))
    if observer:
        placed[0].coder = RangeEncoder(observer)
    total, steps = placed[-1].stop, placed[0].schedule.steps
    ids = np.zeros((total, steps), np.int32)
    for block in placed:
        ids[block.first : block.stop, : block.schedule.steps] = block.ids
    inputs = np.concatenate(
        [np.full((total, 1), begin.last_token, np.int32), ids[:, :-1]], axis=1
    )  # each token one step later
    chunk = max(1, min(engine.batches.encode // total, steps))
    group = max(1, engine.batches.tables // total)
    session = begin.session(total, _window(blocks), steps, chunk)
    corrections = _corrections(blocks, placed, begin, observer)

    def fed(origin: int, before: int) -> tuple[int, HeadInput]:
        """Feed a chunk: how many rows, and their head inputs."""
        live = max(block.stop for block in placed if block.schedule.steps > origin)
        width = _fed(engine, before, live)
        return width, session.advance(inputs[:width, origin : origin + chunk])

    width, head = fed(0, total)
    for origin in range(0, steps, chunk):
        end = min(origin + chunk, steps)
        for first in range(origin, end, group):
            span = range(first, min(first + group, end))
            vectors, scales = head.steps(span.start - origin, span.stop - origin)
            distributions = engine.distributions(vectors, scales)
            if observer:
                coded = placed[0].done(span.stop) - placed[0].done(span.start)
                observer.predictions(
                    vectors[:coded],
                    scales[:coded],
                    ids[:, span.start : span.stop].T.flatten()[:coded],
                )
            for i, t in enumerate(span):
                parts, row = [block.part(t) for block in placed], i * width
                corrections.correct(parts, vectors[row : row + width], distributions, row)
                weights = corrections.weights(parts, ids[:width, t], distributions, row)
                if i + 1 < len(span):
                    corrections.learn(parts, ids[:width, t], weights)
            buckets = ids[:width, span.start : span.stop].T.flatten() >> BUCKET_BITS
            tables = (
                distributions.bucket_frequencies(),
                distributions.token_frequencies(buckets),
            )
            fed_width = width
            if span.stop == end < steps:  # a device computes it while the rest is done
                width, head = fed(end, width)
            corrections.learn(parts, ids[:fed_width, t], weights)
            for i, t in enumerate(span):
                for block in placed:
                    part = block.part(t)
                    if part.stop > part.start:
                        rows = slice(i * fed_width + part.start, i * fed_width + part.stop)
                        block.encode(t, tables[0][rows], tables[1][rows])
            progress(sum(block.done(span.stop) for block in placed))
    coded_blocks = {block.number: block.coder.finish() for block in placed}
    return [coded_blocks[number] for number in range(len(blocks))]


class _Decoding(_Rows):
    def __init__(
        self, number: int, block: CodedBlock, first: int, observer: CodingObserver | None
    ) -> None:
        super().__init__(number, block.layout, first)
        self.ids = np.zeros((block.layout.streams, self.schedule.steps), np.int32)
        self._literals = np.zeros_like(self.ids)
        self._coder = RangeDecoder(block.coded, observer)
        self.error: IntegrityError | None = None

    def part(self, step: int) -> slice:
        """The same; none once an error has been found."""
        return slice(self.first, self.first) if self.error else super().part(step)

    def buckets(self, tables: _Table) -> IdArray:
        """The buckets of a step; zeros, and `error`, where no encoder can have written them."""
        try:
            return self._coder.decode(tables)
        except IntegrityError as error:
            self.error = error
            return np.zeros(len(tables), np.int32)

    def tokens(self, step: int, buckets: IdArray, tables: _Table, vocab: int, escape: int) -> None:
        """Decode the tokens of a step in their buckets, and the literals behind them, or note the
        `error`.
        """
        if self.error:
            return
        try:
            ids = (buckets << BUCKET_BITS) | self._coder.decode(tables)
            if ids.max() >= vocab:
                raise IntegrityError(
                    "a decoded token lies outside the vocabulary; the block is damaged"
                )
            escapes = np.flatnonzero(ids == escape)
            literals = self._coder.decode(_LITERAL_TABLE.repeat(len(escapes), axis=0))
        except IntegrityError as error:
            self.error = error
            return
        self.ids[: len(ids), step] = ids
        self._literals[escapes, step] = literals

    def result(self, escape_token: int) -> Tokens | IntegrityError:
        """The tokens, or why there are none."""
        if self.error:
            return self.error
        ids = self.schedule.join(self.ids)
        values = self.schedule.join(self._literals)[ids == escape_token]
        return Tokens(ids, values.astype(np.uint8).tobytes())


def decode_tokens(
    engine: Engine,
    coded: bytes,
    layout: StreamLayout,
    mixer: ContextMixer | None = None,
    start: Start | None = None,
    progress: TokenProgress | None = None,
    observer: CodingObserver | None = None,
) -> Tokens:
    """The inverse of `encode_tokens`. Raises IntegrityError for symbols that no encoder writes."""
    block = CodedBlock(coded, layout, mixer)
    (found,) = decode_blocks(engine, [block], start, progress, observer)
    if isinstance(found, IntegrityError):
        raise found
    return found


def decode_blocks(
    engine: Engine,
    blocks: Sequence[CodedBlock],
    start: Start | None = None,
    progress: TokenProgress | None = None,
    observer: CodingObserver | None = None,
) -> list[Tokens | IntegrityError]:
    """The inverse of `encode_blocks`; for a block with symbols that no encoder writes the error,
    without harm to the others. observer: of a single one.
    """
    begin = start or Start(engine)

    def decode(
        part: Sequence[CodedBlock],
    ) -> Callable[[TokenProgress], list[Tokens | IntegrityError]]:
        return lambda report: _decode(engine, part, begin, report, observer)

    return _in_lanes(engine, blocks, decode, progress)


def _decode(
    engine: Engine,
    blocks: Sequence[CodedBlock],
    begin: Start,
    progress: TokenProgress,
    observer: CodingObserver | None,
) -> list[Tokens | IntegrityError]:
    spec = engine.model.spec
    placed: list[_Decoding] = []
    for number in _longest_first([block.layout for block in blocks]):
        first = placed[-1].stop if placed else 0
        placed.append(_Decoding(number, blocks[number], first, observer))
    total, steps = placed[-1].stop, placed[0].schedule.steps
    drafts = Drafts.of(engine, total, blocks[0].mixer if len(blocks) == 1 else None)
    session = begin.session(total, _window(blocks), steps, 1 + drafts.most)
    evaluated = SpeculativeSteps(engine, session, drafts)
    width = _fed(engine, total, _width(placed, 0))
    corrections = _corrections(blocks, placed, begin, observer)
    evaluated.feed(np.full(width, begin.last_token, np.int32), steps - 1)
    for t in range(steps):
        vectors, scales, distributions = evaluated.predicted()
        parts = [block.part(t) for block in placed]
        corrections.correct(parts, vectors, distributions)
        buckets, tables = np.zeros(len(vectors), np.int32), distributions.bucket_frequencies()
        for block, part in zip(placed, parts, strict=True):
            buckets[part] = block.buckets(tables[part])
        tables = distributions.token_frequencies(buckets)
        ids = np.zeros(len(vectors), np.int32)
        for block, part in zip(placed, parts, strict=True):
            if part.stop > part.start:
                block.tokens(t, buckets[part], tables[part], spec.vocab, spec.escape_token)
                ids[part] = block.ids[: part.stop - part.start, t]
        parts = [block.part(t) for block in placed]  # without those that have failed
        if observer:
            observer.predictions(vectors[parts[0]], scales[parts[0]], ids[parts[0]])
        weights = corrections.weights(parts, ids, distributions)
        del distributions  # before the next step's are made: they are megabytes
        if all(block.error for block in placed):
            break
        if drafts.most:  # which are of what the mixer has learned
            corrections.learn(parts, ids, weights)
        if t + 1 < steps:
            width = _fed(engine, width, _width(placed, t + 1))
            evaluated.feed(ids[:width], steps - 2 - t)
        if not drafts.most:  # a device computes meanwhile
            corrections.learn(parts, ids, weights)
        progress(sum(block.done(t + 1) for block in placed))
    found = {block.number: block.result(spec.escape_token) for block in placed}
    return [found[number] for number in range(len(blocks))]


def _in_lanes(
    engine: Engine,
    blocks: Sequence[_Block],
    work: Callable[[Sequence[_Block]], Callable[[TokenProgress], list[_Result]]],
    progress: TokenProgress | None,
) -> list[_Result]:
    """The results of all blocks, in order, where work does those of one lane."""
    parts = lanes.parts_for(engine, [block.layout for block in blocks])
    works = [work([blocks[number] for number in part]) for part in parts]
    found: dict[int, _Result] = {}
    for part, results in zip(parts, lanes.run(engine, works, progress), strict=True):
        found.update(zip(part, results, strict=True))
    return [found[number] for number in range(len(blocks))]


def _longest_first(layouts: Sequence[StreamLayout]) -> list[int]:
    """The blocks' numbers in the order of their rows."""
    steps = [Schedule(layout.tokens, layout.streams).steps for layout in layouts]
    return sorted(range(len(layouts)), key=lambda number: -steps[number])


def _fed(engine: Engine, before: int, live: int) -> int:
    """How many rows are fed, where so many were before and so many have tokens."""
    return live if live <= before * (1 - engine.batches.idle) else before


def _width(placed: Sequence[_Decoding], step: int) -> int:
    """The rows up to the last one that has a token at this step, whether or not it is damaged."""
    last = [block for block in placed if block.schedule.steps > step][-1]
    return last.first + last.schedule.active(step)


def _window(blocks: Sequence[TokenBlock] | Sequence[CodedBlock]) -> int:
    return common_window([block.layout for block in blocks])


def _corrections(
    blocks: Sequence[TokenBlock] | Sequence[CodedBlock],
    placed: Sequence[_Rows],
    begin: Start,
    observer: CodingObserver | None,
) -> Corrections:
    """The blocks' mixers in the order of their rows, ready for the first step."""
    mixers = [blocks[block.number].mixer for block in placed]
    for mixer, block in zip(mixers, placed, strict=True):
        if mixer:
            mixer.start(block.schedule.streams, begin.context)
    return Corrections(mixers, observer)


def _literal_values(tokens: Tokens, escape_token: int) -> IdArray:
    """The literal byte at the index of each escape token, 0 elsewhere: [n]."""
    values = np.zeros(len(tokens.ids), np.int32)
    values[tokens.ids == escape_token] = np.frombuffer(tokens.literals, np.uint8)
    return values
