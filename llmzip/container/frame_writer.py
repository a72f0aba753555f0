"""Writes a frame part by part."""

from __future__ import annotations

import xxhash

from llmzip.container.block import Block
from llmzip.container.checks import content_check, is_short_frame
from llmzip.container.codec_ids import END_OF_BLOCKS
from llmzip.container.header import FrameHeader
from llmzip.container.index import Entries, index_bytes

EMPTY_FRAME_BYTES = 10
"""The size of a frame without content. Every other frame is larger."""


class FrameWriter:
    """One frame. Its methods return bytes, which belong one behind the other into the file:
    `begin`, `add` …, `end`.
    """

    def __init__(
        self,
        header: FrameHeader,
        entries: Entries | None = None,
        content: xxhash.xxh3_64 | None = None,
    ) -> None:
        """Begin a frame, or go on with one; entries: its blocks so far, coded and uncompressed
        bytes of each; content: the hash of what they stand for.
        """
        self.header = header
        self._entries: Entries = entries or []
        self._content = content or xxhash.xxh3_64()

    def begin(self) -> bytes:
        """The header."""
        return self.header.to_bytes()

    def add(self, block: Block, content: bytes) -> bytes:
        """The next block, which stands for this content."""
        written = block.to_bytes(None if self._entries else self.header)
        self._entries.append((len(written), block.size))
        self._content.update(content)
        return written

    def end(self) -> bytes:
        """What follows the last block: end byte, content check and index, as far as this frame has
        them.
        """
        single_block = self.header.single_block
        end_byte = b"" if single_block else bytes([END_OF_BLOCKS])
        check = content_check(self._content, is_short_frame(single_block, self._entries))
        return end_byte + check + (index_bytes(self._entries) if len(self._entries) > 1 else b"")
