"""Which codec a block gets: the smallest of those that may have an idea of it, the model asked only where it can win.

Long repeats are taken out first where that pays: the codecs then code the rest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from llmzip.codecs.base import BlockCodec
from llmzip.codecs.copies import NOTHING_LEFT, CopiesCodec, join_payload, leading_copies, read_layout, rest_of
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.probe import Kind, leading_run
from llmzip.codecs.raw import RawCodec
from llmzip.codecs.repeats import Copy, RepeatFinder
from llmzip.codecs.xz import XzCodec
from llmzip.codecs.zstd import ZstdCodec
from llmzip.container.block import MAX_EXPANSION, Block
from llmzip.container.header import FINGERPRINT_PREFIX
from llmzip.mixing.base import ContextMixer

MODEL_FREE: dict[int, BlockCodec] = {codec.id: codec() for codec in (RawCodec, ZstdCodec, XzCodec)}
"""The codecs of docs/format.md that need no model."""

OF_A_MODEL = (LLMCodec.id, MetaTokenCodec.id)
"""Those of which a frame must name the model."""

CODEC_NAMES: dict[int, str] = {
    codec.id: codec.name for codec in (RawCodec, ZstdCodec, LLMCodec, XzCodec, MetaTokenCodec, CopiesCodec)
}

CHOICES = tuple(name for number, name in CODEC_NAMES.items() if number != CopiesCodec.id)
"""The codecs that all blocks can be made to have."""

_ALREADY_SMALL = 128
"""A model is not asked about a block that shrinks to this part without one: it would gain next to nothing of the size."""

_SHORTEST_IN_TEXT, _SHORTEST_WITH_ZEROS = 256, 32
"""Bytes of the shortest copy: the mixer makes a model good at repeats, but not at the padding of archives (docs/codecs.md)."""

Encoded = tuple[int, bytes]
"""Codec and payload."""


@dataclasses.dataclass(frozen=True)
class EncodedBlock:
    """A block that may become the next one of a frame."""

    block: Block
    taught: ContextMixer | None
    """The mixer with which the frame goes on if it is solid, where the model coded the block; else None."""


def coded_part(block: Block) -> tuple[int, bytes, int]:
    """The codec, the payload and the bytes of what copies leave of a block; its own where there are none.

    Raises FormatError where the copies are none that docs/format.md allows.
    """
    if block.codec != CopiesCodec.id:
        return block.codec, block.payload, block.size
    layout = read_layout(block.payload, block.size)
    return layout.inner, layout.rest_payload, layout.rest_size


def reach(block: Block) -> int:
    """How many bytes before it a block needs."""
    return read_layout(block.payload, block.size).reach if block.codec == CopiesCodec.id else 0


def encode_block(
    data: bytes, llm: Callable[[], LLMCodec], repeats: RepeatFinder, carried: ContextMixer | None = None
) -> EncodedBlock:
    """The smallest block that holds a prefix of `data`.

    `llm` is called only if the model is to be asked. `carried` is what the blocks before have taught, in a solid frame. The
    prefix is shorter than the data where text turns into binary or the other way round, and for a text with more tokens than
    one block takes.
    """
    kind, size = leading_run(data)
    data = data[:size]
    copies: list[Copy] = []
    if kind is Kind.TEXT:
        copies = repeats.find(data, _SHORTEST_IN_TEXT, _SHORTEST_WITH_ZEROS)
    elif len(repeats.history):  # in the block itself, dictionary coders find their own
        copies = repeats.find(data)
    candidates = _without_model(data, copies, kind)
    taught: ContextMixer | None = None
    worthwhile = _ALREADY_SMALL * min(len(payload) for _, payload in candidates) > size
    if kind is Kind.TEXT and worthwhile and rest_of(data, copies):
        encoded, covered, copies, taught = _with_model(llm(), data, copies, carried)
        if covered < size:
            data = data[:covered]
            candidates = _without_model(data, copies, kind)
        candidates.insert(0, encoded)
    block = _smallest(data, candidates)
    return EncodedBlock(block, taught if coded_part(block)[0] == LLMCodec.id else None)


def encode_block_as(
    codec: BlockCodec, data: bytes, repeats: RepeatFinder, carried: ContextMixer | None = None
) -> EncodedBlock:
    """The same with a codec that was chosen; what it would enlarge beyond what the format allows is stored.

    For the model, too, long repeats are taken out.
    """
    assert codec.id is not None
    taught: ContextMixer | None = None
    if isinstance(codec, LLMCodec):
        copies = repeats.find(data, _SHORTEST_IN_TEXT, _SHORTEST_WITH_ZEROS)
        (number, payload), covered, _, taught = _with_model(codec, data, copies, carried)
        data = data[:covered]
    else:
        number, payload = codec.id, codec.encode(data)
    if len(payload) > len(data) + MAX_EXPANSION:
        return EncodedBlock(Block(RawCodec.id, len(data), data), None)
    return EncodedBlock(Block(number, len(data), payload), taught)


def _with_model(
    llm: LLMCodec, data: bytes, copies: list[Copy], carried: ContextMixer | None
) -> tuple[Encoded, int, list[Copy], ContextMixer | None]:
    """A prefix of the data, its size and its copies; the model codes the rest, which teaches the mixer."""
    rest = rest_of(data, copies)
    if not rest:
        return _with_copies(copies, (NOTHING_LEFT, b"")), len(data), copies, None
    made = llm.encode_prefix(rest, carried)
    copies, size = leading_copies(copies, made.covered)
    return _with_copies(copies, (LLMCodec.id, made.payload)), size, copies, made.taught


def _without_model(data: bytes, copies: Sequence[Copy], kind: Kind) -> list[Encoded]:
    """The data, and the same with the copies."""
    candidates = _dictionary_coded(data, kind)
    if copies:
        rest = rest_of(data, copies)
        of_rest = _dictionary_coded(rest, kind) if rest else [(NOTHING_LEFT, b"")]
        candidates += [_with_copies(copies, encoded) for encoded in of_rest]
    return candidates


def _dictionary_coded(data: bytes, kind: Kind) -> list[Encoded]:
    stored = (RawCodec.id, data)
    if kind is Kind.NOISE:
        return [stored]
    return [*((i, MODEL_FREE[i].encode(data)) for i in (ZstdCodec.id, XzCodec.id)), stored]


def _with_copies(copies: Sequence[Copy], encoded: Encoded) -> Encoded:
    return (CopiesCodec.id, join_payload(copies, *encoded)) if copies else encoded


def _smallest(data: bytes, candidates: list[Encoded]) -> Block:
    def cost(block: Block) -> int:
        names_model = coded_part(block)[0] == LLMCodec.id
        return len(block.payload) + FINGERPRINT_PREFIX * names_model  # the header then names it

    return min((Block(codec, len(data), payload) for codec, payload in candidates), key=cost)
