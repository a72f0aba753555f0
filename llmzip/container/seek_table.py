"""The locations of a file's blocks, for random access: from the index, or else by a walk over the
frames.
"""

from __future__ import annotations

import bisect
import dataclasses
import io
from typing import BinaryIO

from llmzip.container.block import (
    MAX_BLOCK_SIZE,
    MAX_HEAD_BYTES,
    Block,
    read_block,
    read_block_head,
)
from llmzip.container.checks import CHECK_BYTES
from llmzip.container.frame_reader import read_frames
from llmzip.container.header import FrameHeader
from llmzip.container.index import FOOTER_BYTES, Entries, index_length, read_index
from llmzip.container.varint import ByteReader
from llmzip.errors import FormatError

_END_AND_CHECK_BYTES = 1 + CHECK_BYTES


@dataclasses.dataclass(frozen=True)
class BlockLocation:
    """The location of one block in the file and in the content."""

    header: FrameHeader
    """The header of its frame."""
    offset: int
    """Its first byte in the file."""
    coded_size: int
    """Bytes in the file, from codec to check."""
    is_first: bool
    """Whether it is its frame's first block, whose check covers the header."""
    start: int
    """Its first byte in the uncompressed content."""
    size: int
    """Uncompressed bytes."""

    def read(self, file: BinaryIO) -> Block:
        """Read the block. Raises FormatError where the file does not hold it, IntegrityError where
        its check does not hold.
        """
        file.seek(self.offset)
        reader = ByteReader(file, self.offset)
        block = read_block(reader, self.header if self.is_first else None)
        if block is None or (block.size, reader.offset) != (
            self.size,
            self.offset + self.coded_size,
        ):
            raise self._error()
        return block

    def check_sizes(self, file: BinaryIO) -> None:
        """Raise FormatError where no block of these sizes begins here; the payload is not read."""
        file.seek(self.offset)
        reader = ByteReader(io.BytesIO(file.read(MAX_HEAD_BYTES)), self.offset)
        head = read_block_head(reader)
        if head is None:
            raise self._error()
        _, size, payload_size = head
        if (size, reader.offset + payload_size + CHECK_BYTES) != (
            self.size,
            self.offset + self.coded_size,
        ):
            raise self._error()

    def _error(self) -> FormatError:
        return FormatError(
            f"byte {self.offset}: no block of {self.size} bytes begins here, as the index says: "
            "the file is damaged"
        )


class SeekTable:
    """The locations of all blocks of a seekable file, in order."""

    def __init__(self, file: BinaryIO, origin: int = 0) -> None:
        """Locate the blocks from byte `origin` to the end. Raises FormatError, TruncatedError or
        IntegrityError.
        """
        self._file = file
        self.blocks = _locate_by_index(file, origin)
        self._checked = (
            0  # blocks of which the sizes in the index have been compared with their own
        )
        if not self.blocks:
            self.blocks = _locate_by_walk(file, origin)
            self._checked = len(self.blocks)

    @property
    def size(self) -> int:
        """Bytes of uncompressed content."""
        return self.blocks[-1].start + self.blocks[-1].size if self.blocks else 0

    def find(self, position: int) -> int | None:
        """The number of the block that holds an uncompressed position, or None behind the end.
        Raises as `read` does.
        """
        if position < self.size:
            return bisect.bisect_right(self.blocks, position, key=lambda block: block.start) - 1
        self._check_before(len(self.blocks))
        return None

    def read(self, number: int) -> Block:
        """Read a block. Raises FormatError or IntegrityError where it or a block before it is not
        as the index says.
        """
        self._check_before(number)
        return self.blocks[number].read(self._file)

    def _check_before(self, end: int) -> None:
        """Compare what the index says of the blocks before `end` with what these say: reading in
        order goes by that.
        """
        for block in self.blocks[self._checked : end]:
            block.check_sizes(self._file)
        self._checked = max(self._checked, end)


def _locate_by_index(file: BinaryIO, origin: int) -> list[BlockLocation]:
    """The blocks that one final index accounts for, or none where more than one frame lies before
    the end.
    """
    file.seek(0, io.SEEK_END)
    end = file.tell()
    file.seek(max(origin, end - FOOTER_BYTES))
    length = index_length(file.read(FOOTER_BYTES))
    if length is None or length > end - origin:
        return []
    file.seek(end - length)
    entries = read_index(ByteReader(file, end - length))
    file.seek(origin)
    reader = ByteReader(file, origin)
    header = FrameHeader.read(reader)
    if header.single_block or len(entries) < 2:  # such frames have none
        return []
    if reader.offset + sum(coded for coded, _ in entries) + _END_AND_CHECK_BYTES + length != end:
        return []
    if not all(1 <= size <= MAX_BLOCK_SIZE for _, size in entries):
        raise FormatError(
            f"index at byte {end - length}: impossible block sizes: the file is damaged"
        )
    return _locations(header, entries, reader.offset, 0)


def _locate_by_walk(file: BinaryIO, origin: int) -> list[BlockLocation]:
    file.seek(origin)
    blocks: list[BlockLocation] = []
    start = 0
    for frame in read_frames(file, origin):
        for _ in frame:
            pass
        blocks += _locations(frame.header, frame.entries, frame.first_block_offset, start)
        start += frame.uncompressed_size
    return blocks


def _locations(
    header: FrameHeader, entries: Entries, offset: int, start: int
) -> list[BlockLocation]:
    """The blocks of one frame; the first of them lies at `offset`, its content at `start`."""
    blocks: list[BlockLocation] = []
    for coded_size, size in entries:
        blocks.append(BlockLocation(header, offset, coded_size, not blocks, start, size))
        offset += coded_size
        start += size
    return blocks
