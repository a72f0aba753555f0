"""The sound parts of a damaged file in the order in which they lie, and the gaps between them.

The walk reads part after part as any reader does. Where a part is not sound it goes on at the next
sound part, found by the best means there is: an index whose check holds, the sizes that the damaged
block states if a sound part follows where they end, else a search for checks that hold. Only what
nothing accounts for is searched, so that a file inside a damaged block is not taken for a part of
this one.
"""

from __future__ import annotations

import bisect
from typing import BinaryIO

from llmzip.container.block import read_block_head, read_block_sizes
from llmzip.container.checks import CHECK_BYTES, check_bytes, is_short
from llmzip.container.codec_ids import END_OF_BLOCKS, CodecId
from llmzip.container.header import MAGIC, FrameHeader
from llmzip.errors import LLMZipError
from llmzip.salvage.headers import MAX_HEADER_BYTES, HeaderGuesses
from llmzip.salvage.indexes import KnownExtents, find_in, find_indexes
from llmzip.salvage.part_reader import PartReader, plain
from llmzip.salvage.parts import Gap, Part
from llmzip.salvage.search import block_offsets

_READ_BYTES = 1 << 20
_MAX_CLAIMS = 256  # damaged blocks in a row that may vouch for each other


class Survey(PartReader):
    """Walks through a seekable file once."""

    def __init__(self, file: BinaryIO, guesses: HeaderGuesses) -> None:
        super().__init__(file, guesses)
        # What the last search for the next indexed offset, and for the next header, found: from
        # where, and where.
        self._indexed = self._headed = (0, -1)

    def walk(self) -> list[Part]:
        """All parts, which cover the file."""
        offset = 0
        while offset < self._end:
            part = self._part_at(offset)
            # The first damage: what the indexes know is needed now.
            if part is None and self._extents is None:
                self._extents = KnownExtents(find_indexes(self._file, self._end))
                part = self._part_at(offset)
            part = part or self._gap_at(offset)
            self._note(part)
            self.parts.append(part)
            offset = part.end
        return self.parts

    def _gap_at(self, offset: int) -> Gap:
        """The gap that begins at this offset: up to the next sound part, or to where an index says
        that a block begins.
        """
        assert self._extents is not None
        why = plain(self._why)
        known = self._extents.blocks.get(offset)
        if known:
            return Gap(offset, known[0], (known[1],), why)
        claimed = self._claimed(offset)
        if claimed:
            return Gap(offset, *claimed, why)
        stop = self._next_indexed(offset + 1)
        end = self._search(offset + 1, stop)
        sizes: tuple[int, ...] | None = None
        if end == stop and stop in self._extents.firsts and stop - offset <= MAX_HEADER_BYTES:
            sizes = ()
            why = "a frame's header is damaged"
        elif (offset, end) != (0, self._end) and not self._open and self._is_padding(offset, end):
            sizes = ()
            why = "zeros where there should be a frame or nothing"
        elif end == self._end and self._open and (size := self._claims_more(offset)):
            sizes = (size,)
        return Gap(offset, end, sizes, why)

    def _claimed(self, offset: int) -> tuple[int, tuple[int, ...]] | None:
        """Where the sizes that damaged blocks state lead to a sound part, and what they held."""
        sizes: list[int] = []
        while len(sizes) < _MAX_CLAIMS:
            head = self._head_at(offset)
            if head is None:
                return None
            size, offset = head
            sizes.append(size)
            if offset > self._end:
                return None
            if self._is_sound(offset, size):
                return offset, tuple(sizes)
        return None

    def _claims_more(self, offset: int) -> int | None:
        """The uncompressed size that a block states which seems to end beyond the file."""
        head = self._head_at(offset)
        return head[0] if head and head[1] > self._end else None

    def _head_at(self, offset: int) -> tuple[int, int] | None:
        """The uncompressed size that a block at this offset states, whatever its codec, and where
        it ends; None: impossible.
        """
        reader = self._reader(offset + 1)
        try:
            size, coded_size = read_block_sizes(reader)
        except LLMZipError:
            return None
        single = self._header is not None and self._header.single_block
        return size, reader.offset + coded_size + check_bytes(is_short(single, size))

    def _is_sound(self, offset: int, size: int) -> bool:
        """Whether a sound part follows a block of so many uncompressed bytes."""
        if self._header is not None and self._header.single_block:
            return self._is_boundary(offset + check_bytes(is_short(True, size)))
        if self._block_at(offset, None):
            return True
        if self._reader(offset).read_available(1) != bytes([END_OF_BLOCKS]):
            return False
        assert self._extents is not None
        return offset in self._extents.ends or self._is_boundary(offset + 1 + CHECK_BYTES)

    def _next_indexed(self, offset: int) -> int:
        """The next offset where there is what an index says, or the file's end."""
        assert self._extents is not None
        if not self._indexed[0] <= offset <= self._indexed[1]:
            offsets = self._extents.offsets
            following = range(bisect.bisect_left(offsets, offset), len(offsets))
            found = next(
                (offsets[i] for i in following if self._is_as_indexed(offsets[i])), self._end
            )
            self._indexed = offset, found
        return self._indexed[1]

    def _is_as_indexed(self, offset: int) -> bool:
        """Whether there is what an index says of this offset."""
        assert self._extents is not None
        if offset in self._extents.ends:
            return True
        end, size = self._extents.blocks[offset]
        if offset in self._extents.firsts:  # only with its frame's header can its check be computed
            return self._head_at(offset) == (size, end)
        block = self._block_at(offset, None)
        return block is not None and block.end == end

    def _search(self, offset: int, stop: int) -> int:
        """Where in [offset, stop) the first block or frame begins; `stop` where none does."""
        stop = min(stop, self._next_header(offset))
        for found in block_offsets(self._file, offset, stop, self._end):
            if self._block_at(found, None):
                return found
        return stop

    def _next_header(self, offset: int) -> int:
        """Where the next header with something like a block behind it lies, or the file's end."""
        if not self._headed[0] <= offset <= self._headed[1]:
            magics = find_in(self._file, MAGIC, offset, self._end)
            self._headed = (
                offset,
                next((found for found in magics if self._is_header(found)), self._end),
            )
        return self._headed[1]

    def _is_padding(self, offset: int, end: int) -> bool:
        """Whether these bytes are all zeros."""
        self._file.seek(offset)
        while offset < end:
            data = self._file.read(min(end - offset, _READ_BYTES))
            if data.count(0) < len(data) or not data:
                return False
            offset += len(data)
        return True

    def _is_header(self, offset: int) -> bool:
        reader = self._reader(offset)
        try:
            FrameHeader.read(reader)
            head = read_block_head(reader)
        except LLMZipError:
            return False
        return head is None or CodecId.find(head[0]) is not None
