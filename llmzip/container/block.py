"""Blocks: codec, sizes, payload and check (docs/format.md, "Block")."""

from __future__ import annotations

import dataclasses

from llmzip.container.checks import block_check, is_short
from llmzip.container.codec_ids import END_OF_BLOCKS, NEEDING_MODEL, NESTING, NO_LITERALS
from llmzip.container.header import FrameHeader
from llmzip.container.varint import MAX_VARINT_BYTES, ByteReader, varint
from llmzip.errors import FormatError, IntegrityError

MAX_BLOCK_SIZE = 1 << 26
MAX_LOOKBACK = 1 << 26
"""How many bytes before its block a match may begin."""
WINDOW_UNIT = 64
"""Windows of the codec llm are multiples of so many tokens."""
MAX_EXPANSION = 64
"""How many bytes longer than its content a payload may be."""
MAX_HEAD_BYTES = 1 + 2 * MAX_VARINT_BYTES
"""The longest block head: codec, size and coded size."""


@dataclasses.dataclass(frozen=True)
class Block:
    """One coded block."""

    codec: int
    """Its number in the format: a `CodecId`, or what a damaged or newer file has there."""
    size: int
    """Uncompressed bytes."""
    payload: bytes

    @property
    def inner(self) -> int:
        """The codec of the block's literals: its own, unless its payload begins with another's
        number or `NO_LITERALS`.
        """
        if self.codec not in NESTING:
            return self.codec
        return self.payload[0] if self.payload else NO_LITERALS

    @property
    def needs_model(self) -> bool:
        """Whether decoding needs the model that the frame's header names."""
        return self.inner in NEEDING_MODEL

    def to_bytes(self, header: FrameHeader | None = None) -> bytes:
        """The block as it is written; `header` is the frame's, before a first block."""
        body = bytes([self.codec]) + varint(self.size) + varint(len(self.payload)) + self.payload
        return body + _check(header, self.size, body)


def read_block_head(reader: ByteReader) -> tuple[int, int, int] | None:
    """The head of the next block: codec, size and coded size, or None at the end byte.

    Raises FormatError or TruncatedError.
    """
    codec = reader.byte("a block")
    return None if codec == END_OF_BLOCKS else (codec, *read_block_sizes(reader))


def read_block_sizes(reader: ByteReader) -> tuple[int, int]:
    """The rest of a block's head: size and coded size. Raises FormatError or TruncatedError."""
    start = reader.offset - 1
    size = reader.varint("a block's size")
    coded_size = reader.varint("a block's coded size")
    if not 1 <= size <= MAX_BLOCK_SIZE or coded_size > size + MAX_EXPANSION:
        raise FormatError(
            f"byte {start}: impossible block sizes ({size}, coded {coded_size}): "
            "the file is damaged"
        )
    return size, coded_size


def read_block(reader: ByteReader, header: FrameHeader | None = None) -> Block | None:
    """The next block, its check verified, or None at the end byte; `header` is the frame's, before
    a first block.

    Raises FormatError, TruncatedError or IntegrityError.
    """
    start = reader.offset
    reader.mark()
    head = read_block_head(reader)
    if head is None:
        return None
    codec, size, coded_size = head
    payload = reader.read(coded_size, "a block")
    computed = _check(header, size, reader.seen)
    if reader.read(len(computed), "a block's check") != computed:
        raise IntegrityError(
            f"block at byte {start}: checksum mismatch: the file is damaged; "
            "copy or download it again"
        )
    return Block(codec, size, payload)


def _check(header: FrameHeader | None, size: int, body: bytes | bytearray) -> bytes:
    if header is None:
        return block_check(body)
    return block_check(header.to_bytes() + body, is_short(header.single_block, size))
