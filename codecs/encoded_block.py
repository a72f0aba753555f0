"""A block with what its encoder knows of it, so that nobody has to parse it again."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from llmzip.coding.observer import CodingObserver
from llmzip.container.block import Block
from llmzip.mixing.base import ContextMixer


@dataclasses.dataclass(frozen=True)
class EncodedBlock(Block):
    """A block that may become the next one of a frame."""

    decoder_bytes: int = 0
    """What decoding the payload allocates beyond what every block takes (`accounting`): of a codec
    that needs a model.
    """
    match_bytes: int = 0
    """Bytes of the payload that are matches; the payload of the literals follows."""
    solid_only: bool = False
    """Whether only a solid frame may hold the block: its mixer is larger than other frames
    allow.
    """
    lookback: int = 0
    """How many bytes before the block its matches need."""
    mixer: ContextMixer | None = None
    """What the block has taught, where the model has coded it: a solid frame goes on with it."""
    tokens: int = 0
    """How many tokens the model has coded."""


class BlockObserver(CodingObserver, Protocol):
    """Is told what is coded, and of each block that is written."""

    def block(self, block: EncodedBlock) -> None:
        """The next block of the file: one of those whose payloads were told before, or of another
        codec.
        """
        ...
