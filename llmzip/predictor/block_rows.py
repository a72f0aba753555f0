"""Blocks side by side: which rows of a step are whose, and what encoding and decoding share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import FREQUENCY_TOTAL
from llmzip.coding.observer import CodingObserver
from llmzip.engine.base import Engine
from llmzip.mixing.base import ContextMixer
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.batch import common_window
from llmzip.predictor.correction import Corrections
from llmzip.predictor.schedule import Schedule, Start
from llmzip.predictor.stream_layout import StreamLayout

Table = npt.NDArray[np.integer]

LITERAL_TABLE = np.full((1, 256), FREQUENCY_TOTAL // 256, np.int64)


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


class Rows:
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


def longest_first(layouts: Sequence[StreamLayout]) -> list[int]:
    """The blocks' numbers in the order of their rows."""
    steps = [Schedule(layout.tokens, layout.streams).steps for layout in layouts]
    return sorted(range(len(layouts)), key=lambda number: -steps[number])


def fed_rows(engine: Engine, before: int, live: int) -> int:
    """How many rows are fed, where so many were before and so many have tokens."""
    return live if live <= before * (1 - engine.batches.idle) else before


def window_of(blocks: Sequence[TokenBlock] | Sequence[CodedBlock]) -> int:
    """The window of a session for all of them."""
    return common_window([block.layout for block in blocks])


def corrections_of(
    blocks: Sequence[TokenBlock] | Sequence[CodedBlock],
    placed: Sequence[Rows],
    begin: Start,
    observer: CodingObserver | None,
) -> Corrections:
    """The blocks' mixers in the order of their rows, ready for the first step."""
    mixers = [blocks[block.number].mixer for block in placed]
    for mixer, block in zip(mixers, placed, strict=True):
        if mixer:
            mixer.start(block.schedule.streams, begin.context)
    return Corrections(mixers, observer)
