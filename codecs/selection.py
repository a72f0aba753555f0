"""Which codec a block gets: the smallest of those that suit its kind of data, the model asked only
where it can win.

Long-distance matches are made first where that pays: the codecs then code the literals between
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmzip.codecs.base import PayloadCodec
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.long_distance import block_with_matches, leading_matches, literals_of
from llmzip.codecs.match_finder import Match, MatchFinder
from llmzip.codecs.model_free import MODEL_FREE
from llmzip.codecs.probe import Kind, leading_run
from llmzip.container.block import MAX_EXPANSION
from llmzip.container.codec_ids import CodecId
from llmzip.container.header import FINGERPRINT_PREFIX
from llmzip.mixing.base import ContextMixer

_ALREADY_SMALL = 128
"""A model is not asked about a block that shrinks to this part without one: it would gain next to
nothing of the size.
"""

_MIN_MATCH_IN_TEXT, _MIN_MATCH_WITH_ZEROS = 256, 32
"""Bytes of the shortest match in text: mixing makes a model good at repeats, but not at the padding
of archives.

docs/codecs.md, "Long-distance matches", has the measurements.
"""


def encode_block(
    data: bytes,
    llm: Callable[[], LLMCodec],
    finder: MatchFinder,
    carried: ContextMixer | None = None,
) -> EncodedBlock:
    """The smallest block that holds a prefix of `data`.

    The prefix is shorter than the data where text turns into binary or the other way round, and for
    a text with more tokens than one block takes.

    llm: gives the model's codec; called only if the model is to be asked. finder: knows what lies
    before the data. carried: the mixer of the blocks before, in a solid frame.
    """
    kind, size = leading_run(data)
    data = data[:size]
    matches: list[Match] = []
    if kind is Kind.TEXT:
        matches = finder.find(data, _MIN_MATCH_IN_TEXT, _MIN_MATCH_WITH_ZEROS)
    elif len(finder.history):  # in the block itself, dictionary coders find their own
        matches = finder.find(data)
    candidates = _without_model(data, matches, kind)
    worthwhile = _ALREADY_SMALL * min(len(block.payload) for block in candidates) > size
    if kind is Kind.TEXT and worthwhile and literals_of(data, matches):
        block, matches = _with_model(llm(), data, matches, carried)
        if block.size < size:
            candidates = _without_model(data[: block.size], matches, kind)
        candidates.insert(0, block)
    return min(candidates, key=_cost)


def encode_block_as(
    codec: PayloadCodec, data: bytes, finder: MatchFinder, carried: ContextMixer | None = None
) -> EncodedBlock:
    """The same with a codec that was chosen; data that it would enlarge beyond what the format
    allows is stored.

    Before the model, too, long-distance matches are made.
    """
    if isinstance(codec, LLMCodec):
        matches = finder.find(data, _MIN_MATCH_IN_TEXT, _MIN_MATCH_WITH_ZEROS)
        block, _ = _with_model(codec, data, matches, carried)
    else:
        block = codec.encode_block(data)
    return (
        block if len(block.payload) <= block.size + MAX_EXPANSION else _stored(data[: block.size])
    )


def _with_model(
    llm: LLMCodec, data: bytes, matches: list[Match], carried: ContextMixer | None
) -> tuple[EncodedBlock, list[Match]]:
    """A block of a prefix of the data, and the matches in it; the model codes the literals."""
    literals = literals_of(data, matches)
    if not literals:
        return block_with_matches(matches, None, len(data)), matches
    coded = llm.encode_block(literals, carried)
    matches, size = leading_matches(matches, coded.size)
    return (block_with_matches(matches, coded, size) if matches else coded), matches


def _without_model(data: bytes, matches: Sequence[Match], kind: Kind) -> list[EncodedBlock]:
    """Blocks of the data, and of the same with the matches."""
    candidates = _dictionary_coded(data, kind)
    if matches:
        literals = literals_of(data, matches)
        coded: Sequence[EncodedBlock | None] = (
            _dictionary_coded(literals, kind) if literals else [None]
        )
        candidates += [block_with_matches(matches, block, len(data)) for block in coded]
    return candidates


def _dictionary_coded(data: bytes, kind: Kind) -> list[EncodedBlock]:
    if kind is Kind.NOISE:
        return [_stored(data)]
    return [
        *(MODEL_FREE[codec].encode_block(data) for codec in (CodecId.ZSTD, CodecId.XZ)),
        _stored(data),
    ]


def _stored(data: bytes) -> EncodedBlock:
    return EncodedBlock(CodecId.RAW, len(data), data)


def _cost(block: EncodedBlock) -> int:
    """Bytes that the block costs: where the model has coded it, the header must name that."""
    return len(block.payload) + FINGERPRINT_PREFIX * (block.inner == CodecId.LLM)
