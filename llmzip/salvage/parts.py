"""The parts of a damaged file: sound headers, blocks and ends, and the gaps between them."""

from __future__ import annotations

import dataclasses

from llmzip.container.header import FrameHeader
from llmzip.container.index import Entries


@dataclasses.dataclass(frozen=True)
class Part:
    """Bytes of the file, offset … end − 1."""

    offset: int
    end: int


@dataclasses.dataclass(frozen=True)
class HeaderPart(Part):
    """A frame's header."""

    header: FrameHeader
    proven: bool
    """Whether the check of the block behind it holds, which covers it."""
    restored: bool = False
    """Whether it was damaged or absent, and follows from that check."""


@dataclasses.dataclass(frozen=True)
class BlockPart(Part):
    """A block whose check holds."""

    codec: int
    size: int
    header: FrameHeader | None
    """Its frame's, where the check covers it: in a first block."""


@dataclasses.dataclass(frozen=True)
class EndPart(Part):
    """A frame's end: end byte, content check, index, as far as the frame has them."""

    check: bytes | None
    """The content check; None where the file ends before it."""
    entries: Entries | None
    """The entries of the index; None where there is none or it is damaged."""
    fault: str = ""
    """What is wrong with it; empty where it is sound."""


@dataclasses.dataclass(frozen=True)
class Gap(Part):
    """Bytes that are no sound part."""

    sizes: tuple[int, ...] | None
    """The uncompressed bytes of each block that was here; None where they are unknown."""
    reason: str
