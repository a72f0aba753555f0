"""Where the blocks of a file lie, for random access: from the index where it serves, else by a walk."""

from __future__ import annotations

import dataclasses
import io
from typing import BinaryIO

from llmzip.container.block import Block, read_block
from llmzip.container.checks import CHECK_BYTES
from llmzip.container.header import FrameHeader
from llmzip.container.index import FOOTER_BYTES, Entries, index_length, read_index
from llmzip.container.varint import ByteReader
from llmzip.errors import FormatError
from llmzip.frames import FrameParser, PeekingSource

_END_AND_CHECK_BYTES = 1 + CHECK_BYTES


@dataclasses.dataclass(frozen=True)
class Place:
    """One block: where it is in the file and in the content."""

    header: FrameHeader
    offset: int
    """In the file, in bytes."""
    first: bool
    """Whether it is its frame's first block, whose check covers the header."""
    start: int
    """In the uncompressed content, in bytes."""
    size: int

    def read(self, file: BinaryIO) -> Block:
        """The block itself. Raises FormatError where the file does not hold it."""
        file.seek(self.offset)
        block = read_block(ByteReader(file, self.offset), self.header if self.first else None)
        if block is None or block.size != self.size:
            raise FormatError(
                f"byte {self.offset}: no block of {self.size} bytes begins here, as the index says: damaged"
            )
        return block


def find_places(file: BinaryIO, origin: int) -> list[Place]:
    """All blocks from byte `origin` to the end of a seekable file, in order.

    Raises FormatError, TruncatedError or IntegrityError.
    """
    return _places_by_index(file, origin) or _places_by_walk(file, origin)


def _places_by_index(file: BinaryIO, origin: int) -> list[Place]:
    """The places that one final index accounts for, or none where more than one frame lies before the end."""
    end = file.seek(0, io.SEEK_END)
    file.seek(max(origin, end - FOOTER_BYTES))
    length = index_length(file.read(FOOTER_BYTES))
    if length is None or length > end - origin:
        return []
    file.seek(end - length)
    entries = read_index(ByteReader(file, end - length))
    file.seek(origin)
    reader = ByteReader(file, origin)
    header = FrameHeader.read(reader)
    if reader.offset + sum(coded for coded, _ in entries) + _END_AND_CHECK_BYTES + length != end:
        return []
    return _places(header, entries, reader.offset, 0)


def _places_by_walk(file: BinaryIO, origin: int) -> list[Place]:
    file.seek(origin)
    source = PeekingSource(file)
    reader = ByteReader(source, origin)
    places: list[Place] = []
    start = 0
    while not source.at_end():
        parser = FrameParser()
        header = parser.read_header(reader)
        offset = reader.offset
        while parser.read_block(reader):
            pass
        places += _places(header, parser.entries, offset, start)
        start += sum(size for _, size in parser.entries)
    return places


def _places(header: FrameHeader, entries: Entries, offset: int, start: int) -> list[Place]:
    """The places of one frame's blocks; the first block lies at `offset`, its content at `start`."""
    places: list[Place] = []
    for coded, size in entries:
        places.append(Place(header, offset, not places, start, size))
        offset += coded
        start += size
    return places
