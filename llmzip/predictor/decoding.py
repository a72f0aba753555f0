"""Decoding in lockstep: a step of all streams after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from llmzip.arithmetic.constants import BUCKET_BITS
from llmzip.coding.observer import CodingObserver
from llmzip.coding.range_coder import MISFIT, RangeDecoders
from llmzip.engine.base import Engine
from llmzip.errors import IntegrityError
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.block_rows import (
    LITERAL_TABLE,
    CodedBlock,
    Rows,
    corrections_of,
    fed_rows,
    longest_first,
    window_of,
)
from llmzip.predictor.schedule import Start
from llmzip.predictor.speculation import Drafts, SpeculativeSteps
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.types import IdArray, TokenProgress


class _Decoding(Rows):
    def __init__(self, number: int, layout: StreamLayout, first: int) -> None:
        super().__init__(number, layout, first)
        self.ids = np.zeros((layout.streams, self.schedule.steps), np.int32)
        self.literals = np.zeros_like(self.ids)
        self.error: IntegrityError | None = None

    def part(self, step: int) -> slice:
        """The same; none once an error has been found."""
        return slice(self.first, self.first) if self.error else super().part(step)

    def result(self, escape_token: int) -> Tokens | IntegrityError:
        """The tokens, or why there are none."""
        if self.error:
            return self.error
        ids = self.schedule.join(self.ids)
        values = self.schedule.join(self.literals)[ids == escape_token]
        return Tokens(ids, values.astype(np.uint8).tobytes())


def decode_rows(
    engine: Engine,
    blocks: Sequence[CodedBlock],
    begin: Start,
    progress: TokenProgress,
    observer: CodingObserver | None,
) -> list[Tokens | IntegrityError]:
    """Decode blocks side by side in one lane, as `lockstep.decode_blocks` says; progress is told
    the tokens that are done.
    """
    spec = engine.model.spec
    placed: list[_Decoding] = []
    for number in longest_first([block.layout for block in blocks]):
        first = placed[-1].stop if placed else 0
        placed.append(_Decoding(number, blocks[number].layout, first))
    coder = RangeDecoders([blocks[block.number].coded for block in placed], observer)
    total, steps = placed[-1].stop, placed[0].schedule.steps
    drafts = Drafts.of(engine, total, blocks[0].mixer if len(blocks) == 1 else None)
    session = begin.session(total, window_of(blocks), steps, 1 + drafts.most)
    evaluated = SpeculativeSteps(engine, session, drafts)
    width = fed_rows(engine, total, _width(placed, 0))
    corrections = corrections_of(blocks, placed, begin, observer)
    evaluated.feed(np.full(width, begin.last_token, np.int32), steps - 1)
    for t in range(steps):
        vectors, scales, distributions = evaluated.predicted()
        parts = [block.part(t) for block in placed]
        corrections.correct(parts, vectors, distributions)
        buckets, failed = coder.decode(parts, distributions.bucket_frequencies())
        _drop(placed, parts, failed, MISFIT)
        slots, failed = coder.decode(parts, distributions.token_frequencies(buckets))
        _drop(placed, parts, failed, MISFIT)
        ids = buckets << BUCKET_BITS | slots
        _note(placed, parts, coder, ids, t, spec.vocab, spec.escape_token)
        if observer:
            observer.predictions(vectors[parts[0]], scales[parts[0]], ids[parts[0]])
        weights = corrections.weights(parts, ids, distributions)
        del distributions  # before the next step's are made: they are megabytes
        if all(block.error for block in placed):
            break
        if drafts.most:  # which are of what the mixer has learned
            corrections.learn(parts, ids, weights)
        if t + 1 < steps:
            width = fed_rows(engine, width, _width(placed, t + 1))
            evaluated.feed(ids[:width], steps - 2 - t)
        if not drafts.most:  # a device computes meanwhile
            corrections.learn(parts, ids, weights)
        progress(sum(block.done(t + 1) for block in placed))
    found = {block.number: block.result(spec.escape_token) for block in placed}
    return [found[number] for number in range(len(blocks))]


def _drop(placed: Sequence[_Decoding], parts: list[slice], failed: Iterable[int], why: str) -> None:
    """Take the blocks that have failed out of the parts of a step, and of those to come."""
    for number in failed:
        block = placed[number]
        block.error, parts[number] = IntegrityError(why), slice(block.first, block.first)


def _note(
    placed: Sequence[_Decoding],
    parts: list[slice],
    coder: RangeDecoders,
    ids: IdArray,
    step: int,
    vocab: int,
    escape: int,
) -> None:
    """Keep a step's tokens [A] and the literals behind them. Blocks that fail are dropped, and
    their tokens become zeros.
    """
    if len(ids) and ids.max() >= vocab:
        failed = [i for i, part in enumerate(parts) if (ids[part] >= vocab).any()]
        why = "a decoded token lies outside the vocabulary; the block is damaged"
        _drop(placed, parts, failed, why)
    if (ids == escape).any():
        rows = [part.start + np.flatnonzero(ids[part] == escape) for part in parts]
        ends = np.cumsum([0, *map(len, rows)]).tolist()
        spans = [slice(*pair) for pair in itertools.pairwise(ends)]
        literals, failed = coder.decode(spans, LITERAL_TABLE.repeat(ends[-1], axis=0))
        _drop(placed, parts, failed, MISFIT)
        for block, own, span in zip(placed, rows, spans, strict=True):
            if len(own):
                block.literals[own - block.first, step] = literals[span]
    for block, part in zip(placed, parts, strict=True):
        if part.stop > part.start:
            block.ids[: part.stop - part.start, step] = ids[part]
        if block.error:
            ids[block.first : block.stop] = 0


def _width(placed: Sequence[_Decoding], step: int) -> int:
    """The rows up to the last one that has a token at this step, whether or not it is damaged."""
    last = [block for block in placed if block.schedule.steps > step][-1]
    return last.first + last.schedule.active(step)
