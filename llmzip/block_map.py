"""Where the blocks of a file lie, for random access: from the index where it serves, else by a walk."""

from __future__ import annotations

import bisect
import dataclasses
import io
from typing import BinaryIO

from llmzip.container.block import MAX_BLOCK_SIZE, MAX_HEAD_BYTES, Block, read_block, read_block_head
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
    coded: int
    """Bytes in the file, from codec to check."""
    first: bool
    """Whether it is its frame's first block, whose check covers the header."""
    start: int
    """In the uncompressed content, in bytes."""
    size: int

    def read(self, file: BinaryIO) -> Block:
        """The block itself. Raises FormatError where the file does not hold it."""
        file.seek(self.offset)
        reader = ByteReader(file, self.offset)
        block = read_block(reader, self.header if self.first else None)
        if block is None or (block.size, reader.offset) != (self.size, self.offset + self.coded):
            raise self._error()
        return block

    def check(self, file: BinaryIO) -> None:
        """Raise FormatError where no block of these sizes begins here; the payload is not read."""
        file.seek(self.offset)
        reader = ByteReader(io.BytesIO(file.read(MAX_HEAD_BYTES)), self.offset)
        head = read_block_head(reader)
        if head is None:
            raise self._error()
        _, size, coded = head
        if (size, reader.offset + coded + CHECK_BYTES) != (self.size, self.offset + self.coded):
            raise self._error()

    def _error(self) -> FormatError:
        return FormatError(
            f"byte {self.offset}: no block of {self.size} bytes begins here, as the index says: the file is damaged"
        )


class BlockMap:
    """All blocks of a seekable file, in order."""

    def __init__(self, file: BinaryIO, origin: int) -> None:
        """Map the blocks from byte `origin` to the end. Raises FormatError, TruncatedError or IntegrityError."""
        self._file = file
        self.places = _places_by_index(file, origin)
        self._checked = 0
        if not self.places:
            self.places = _places_by_walk(file, origin)
            self._checked = len(self.places)

    @property
    def size(self) -> int:
        """Bytes of uncompressed content."""
        return self.places[-1].start + self.places[-1].size if self.places else 0

    def find(self, position: int) -> int | None:
        """The number of the block that holds an uncompressed position, or None behind the end. Raises as `read` does."""
        if position < self.size:
            return bisect.bisect_right(self.places, position, key=lambda place: place.start) - 1
        self._check(len(self.places))
        return None

    def read(self, number: int) -> Block:
        """A block. Raises FormatError or IntegrityError where it or the way to it is damaged."""
        self._check(number)
        return self.places[number].read(self._file)

    def _check(self, end: int) -> None:
        """Compare what the index says of the blocks before `end` with what these say: reading in order goes by that."""
        for place in self.places[self._checked : end]:
            place.check(self._file)
        self._checked = max(self._checked, end)


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
    if header.single_block or len(entries) < 2:  # such frames have none
        return []
    if reader.offset + sum(coded for coded, _ in entries) + _END_AND_CHECK_BYTES + length != end:
        return []
    if not all(1 <= size <= MAX_BLOCK_SIZE for _, size in entries):
        raise FormatError(f"index at byte {end - length}: impossible block sizes: the file is damaged")
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
        places.append(Place(header, offset, coded, not places, start, size))
        offset += coded
        start += size
    return places
