"""What decoding a block takes, whatever its codec."""

from __future__ import annotations

from collections.abc import Callable

from llmzip.accounting import block_bytes
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.selection import OF_A_MODEL, coded_part
from llmzip.container.block import Block

CodecOfModel = Callable[[int], LLMCodec | MetaTokenCodec]
"""The codec with a number of `OF_A_MODEL`. Raises FormatError for others."""


def block_need(block: Block, solid: bool, of_model: CodecOfModel) -> int:
    """The bytes of the account for a block, which may be one of a solid frame. Raises FormatError for an impossible one."""
    codec, payload, size = coded_part(block)
    return block_bytes(block.size, solid, of_model(codec).need(payload, size) if codec in OF_A_MODEL else 0)
