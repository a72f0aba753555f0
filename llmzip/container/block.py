"""Blocks: codec, sizes, payload and check (docs/format.md, "Block")."""

from __future__ import annotations

import dataclasses
import zlib

from llmzip.container.varint import ByteReader, varint
from llmzip.errors import FormatError, IntegrityError

END_OF_BLOCKS = 0
MAX_BLOCK_SIZE = 1 << 26
MAX_EXPANSION = 64
"""A payload is at most this many bytes longer than what it stands for."""

CHECK_BYTES = 4


@dataclasses.dataclass(frozen=True)
class Block:
    """One coded block."""

    codec: int
    size: int
    """Uncompressed bytes."""
    payload: bytes

    def to_bytes(self, preceding: bytes = b"") -> bytes:
        """The block as it is written; `preceding` is the frame header before a first block."""
        body = bytes([self.codec]) + varint(self.size) + varint(len(self.payload)) + self.payload
        return body + zlib.crc32(preceding + body).to_bytes(CHECK_BYTES, "little")


def read_block(reader: ByteReader, preceding: bytes = b"") -> Block | None:
    """The next block, its check verified, or None at the end byte.

    Raises FormatError, TruncatedError or IntegrityError.
    """
    start = reader.offset
    reader.mark()
    codec = reader.byte("a block")
    if codec == END_OF_BLOCKS:
        return None
    size = reader.varint("a block's size")
    coded_size = reader.varint("a block's coded size")
    if not 1 <= size <= MAX_BLOCK_SIZE or coded_size > size + MAX_EXPANSION:
        raise FormatError(f"byte {start}: impossible block sizes ({size}, coded {coded_size}): the file is damaged")
    payload = reader.read(coded_size, "a block")
    computed = zlib.crc32(preceding + reader.seen)
    if int.from_bytes(reader.read(CHECK_BYTES, "a block's check"), "little") != computed:
        raise IntegrityError(
            f"block at byte {start}: checksum mismatch: the file is damaged; copy or download it again"
        )
    return Block(codec, size, payload)
