"""Which codec a block gets: the smallest, with the model asked only where it can win."""

from __future__ import annotations

import re
from collections.abc import Callable

from llmzip.codecs.base import BlockCodec
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.raw import RawCodec
from llmzip.codecs.xz import XzCodec
from llmzip.codecs.zstd import ZstdCodec
from llmzip.container.block import Block
from llmzip.container.header import FINGERPRINT_PREFIX

MODEL_FREE: dict[int, BlockCodec] = {codec.id: codec() for codec in (RawCodec, ZstdCodec, XzCodec)}
"""The codecs of docs/format.md that need no model."""

CODEC_NAMES: dict[int, str] = {LLMCodec.id: LLMCodec.name} | {i: codec.name for i, codec in MODEL_FREE.items()}

_MAX_STRANGE_SHARE = 0.1
# Control characters that text does not hold, and what is left of bytes that are not UTF-8.
_STRANGE = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f\ufffd]")


def looks_like_text(data: bytes) -> bool:
    """Whether a language model may have an idea of these bytes: mostly printable UTF-8 (or a little Latin-1 among it)."""
    text = data.decode("utf-8", "replace")
    return len(_STRANGE.findall(text)) <= _MAX_STRANGE_SHARE * len(text)


def encode_block(data: bytes, llm: Callable[[], LLMCodec]) -> tuple[Block, int]:
    """The smallest block that holds a prefix of `data`, and how many bytes that prefix has.

    `llm` is called only if the model is to be asked. The prefix is shorter than the data only for a text with more tokens
    than one block takes.
    """
    candidates: list[tuple[int, bytes]] = []
    covered = len(data)
    if looks_like_text(data):
        codec = llm()
        payload, covered = codec.encode_prefix(data)
        data = data[:covered]
        candidates.append((codec.id, payload))
    candidates += [(codec.id, codec.encode(data)) for codec in (ZstdCodec(), RawCodec())]

    def cost(candidate: tuple[int, bytes]) -> int:
        codec, payload = candidate
        return len(payload) + (FINGERPRINT_PREFIX if codec == LLMCodec.id else 0)  # the header then names the model

    chosen, payload = min(candidates, key=cost)
    return Block(chosen, covered, payload), covered
