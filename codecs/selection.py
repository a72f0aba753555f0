"""Which codec a block gets: the smallest of those that may have an idea of it, the model asked only where it can win."""

from __future__ import annotations

from collections.abc import Callable

from llmzip.codecs.base import BlockCodec
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.probe import Kind, leading_run
from llmzip.codecs.raw import RawCodec
from llmzip.codecs.xz import XzCodec
from llmzip.codecs.zstd import ZstdCodec
from llmzip.container.block import MAX_EXPANSION, Block
from llmzip.container.header import FINGERPRINT_PREFIX

MODEL_FREE: dict[int, BlockCodec] = {codec.id: codec() for codec in (RawCodec, ZstdCodec, XzCodec)}
"""The codecs of docs/format.md that need no model."""

OF_A_MODEL = (LLMCodec.id, MetaTokenCodec.id)
"""Those of which a frame must name the model."""

CODEC_NAMES: dict[int, str] = {
    codec.id: codec.name for codec in (RawCodec, ZstdCodec, LLMCodec, XzCodec, MetaTokenCodec)
}

_ALREADY_SMALL = 128
"""A model is not asked about a block that shrinks to this part without one: it would gain next to nothing of the size."""

Encoded = tuple[int, bytes]
"""Codec and payload."""


def encode_block(data: bytes, llm: Callable[[], LLMCodec]) -> tuple[Block, int]:
    """The smallest block that holds a prefix of `data`, and how many bytes that prefix has.

    `llm` is called only if the model is to be asked. The prefix is shorter than the data where text turns into binary or
    the other way round, and for a text with more tokens than one block takes.
    """
    kind, size = leading_run(data)
    data = data[:size]
    candidates = _without_model(data, kind)
    if kind is Kind.TEXT and _ALREADY_SMALL * min(len(payload) for _, payload in candidates) > size:
        payload, covered = llm().encode_prefix(data)
        if covered < size:
            data = data[:covered]
            candidates = _without_model(data, kind)
        candidates.insert(0, (LLMCodec.id, payload))
    return _smallest(data, candidates)


def _without_model(data: bytes, kind: Kind) -> list[Encoded]:
    stored = (RawCodec.id, data)
    if kind is Kind.NOISE:
        return [stored]
    return [*((i, MODEL_FREE[i].encode(data)) for i in (ZstdCodec.id, XzCodec.id)), stored]


def encode_block_as(codec: BlockCodec, data: bytes) -> tuple[Block, int]:
    """The same with a codec that was chosen; what it would enlarge beyond what the format allows is stored."""
    assert codec.id is not None
    if isinstance(codec, LLMCodec):
        payload, covered = codec.encode_prefix(data)
        data = data[:covered]
    else:
        payload = codec.encode(data)
    if len(payload) > len(data) + MAX_EXPANSION:
        return Block(RawCodec.id, len(data), data), len(data)
    return Block(codec.id, len(data), payload), len(data)


def _smallest(data: bytes, candidates: list[Encoded]) -> tuple[Block, int]:
    def cost(candidate: Encoded) -> int:
        codec, payload = candidate
        return len(payload) + (FINGERPRINT_PREFIX if codec == LLMCodec.id else 0)  # the header then names the model

    chosen, payload = min(candidates, key=cost)
    return Block(chosen, len(data), payload), len(data)
