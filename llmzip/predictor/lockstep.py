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

from collections.abc import Callable, Sequence
from typing import TypeVar

from llmzip.coding.observer import CodingObserver
from llmzip.engine.base import Engine
from llmzip.errors import IntegrityError
from llmzip.mixing.base import ContextMixer
from llmzip.model.tokenizer import Tokens
from llmzip.predictor import lanes
from llmzip.predictor.block_rows import CodedBlock, TokenBlock
from llmzip.predictor.decoding import decode_rows
from llmzip.predictor.encoding import encode_rows
from llmzip.predictor.schedule import Start
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.types import TokenProgress

__all__ = [
    "CodedBlock",
    "TokenBlock",
    "decode_blocks",
    "decode_tokens",
    "encode_blocks",
    "encode_tokens",
]

_Block = TypeVar("_Block", TokenBlock, CodedBlock)
_Result = TypeVar("_Result")


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
        return lambda report: encode_rows(engine, part, begin, report, observer)

    return _in_lanes(engine, blocks, encode, progress)


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
        return lambda report: decode_rows(engine, part, begin, report, observer)

    return _in_lanes(engine, blocks, decode, progress)


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
