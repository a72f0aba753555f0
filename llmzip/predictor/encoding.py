"""Encoding in lockstep: all tokens are known, so many steps are evaluated at once; the mixers see
them one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llmzip.arithmetic.constants import BUCKET_BITS, BUCKET_SIZE
from llmzip.coding.observer import CodingObserver
from llmzip.coding.range_coder import RangeEncoder
from llmzip.engine.base import Engine, HeadInput
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.block_rows import (
    LITERAL_TABLE,
    Rows,
    Table,
    TokenBlock,
    corrections_of,
    fed_rows,
    longest_first,
    window_of,
)
from llmzip.predictor.schedule import Start
from llmzip.types import IdArray, TokenProgress


class _Encoding(Rows):
    def __init__(self, number: int, block: TokenBlock, first: int, escape_token: int) -> None:
        super().__init__(number, block.layout, first)
        self.ids = self.schedule.split(block.tokens.ids)
        self._literals = self.schedule.split(_literal_values(block.tokens, escape_token))
        self._escape_token = escape_token
        self.coder = RangeEncoder()

    def encode(self, step: int, buckets: Table, slots: Table) -> None:
        """Code a step's tokens with the tables of the rows that have one."""
        active = self.schedule.active(step)
        ids = self.ids[:active, step]
        self.coder.encode(ids >> BUCKET_BITS, buckets)
        self.coder.encode(ids & (BUCKET_SIZE - 1), slots)
        literal = self._literals[:active, step][ids == self._escape_token]
        self.coder.encode(literal, LITERAL_TABLE.repeat(len(literal), axis=0))


def encode_rows(
    engine: Engine,
    blocks: Sequence[TokenBlock],
    begin: Start,
    progress: TokenProgress,
    observer: CodingObserver | None,
) -> list[bytes]:
    """Code blocks side by side in one lane, as `lockstep.encode_blocks` says; progress is told the
    tokens that are done.
    """
    placed: list[_Encoding] = []
    for number in longest_first([block.layout for block in blocks]):
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
    session = begin.session(total, window_of(blocks), steps, chunk)
    corrections = corrections_of(blocks, placed, begin, observer)

    def fed(origin: int, before: int) -> tuple[int, HeadInput]:
        """Feed a chunk: how many rows, and their head inputs."""
        live = max(block.stop for block in placed if block.schedule.steps > origin)
        width = fed_rows(engine, before, live)
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


def _literal_values(tokens: Tokens, escape_token: int) -> IdArray:
    """The literal byte at the index of each escape token, 0 elsewhere: [n]."""
    values = np.zeros(len(tokens.ids), np.int32)
    values[tokens.ids == escape_token] = np.frombuffer(tokens.literals, np.uint8)
    return values
