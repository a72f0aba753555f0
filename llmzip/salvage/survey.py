"""The sound parts of a damaged file in the order in which they lie, and the gaps between them.

The walk reads part after part as any reader does. Where a part is not sound it goes on at the next
sound part, found by the best means there is: an index whose check holds, the sizes that the damaged
block states if a sound part follows where they end, else a search for checks that hold. Only what
nothing accounts for is searched, so that a file inside a damaged block is not taken for a part of
this one.
"""

from __future__ import annotations

import bisect
import os
from typing import BinaryIO

from llmzip.container.block import read_block, read_block_head, read_block_sizes
from llmzip.container.checks import CHECK_BYTES, check_bytes, is_short
from llmzip.container.codec_ids import END_OF_BLOCKS, CodecId
from llmzip.container.header import MAGIC, FrameHeader
from llmzip.container.index import Entries, index_bytes, read_index
from llmzip.container.varint import ByteReader
from llmzip.errors import LimitError, LLMZipError
from llmzip.salvage.headers import MAX_HEADER_BYTES, HeaderGuesses
from llmzip.salvage.indexes import KnownExtents, find_in, find_indexes
from llmzip.salvage.parts import BlockPart, EndPart, Gap, HeaderPart, Part
from llmzip.salvage.search import block_offsets

_READ_BYTES = 1 << 20
# Of the file: how much may be read of what is no block, though it looks like one.
_READS_PER_BYTE, _FREE_READS = 32, 1 << 32
_MAX_CLAIMS = 256  # damaged blocks in a row that may vouch for each other


class Survey:
    """Walks through a seekable file once."""

    def __init__(self, file: BinaryIO, guesses: HeaderGuesses) -> None:
        self.parts: list[Part] = []
        self._file = file
        self._guesses = guesses
        file.seek(0, os.SEEK_END)
        self._end = file.tell()
        self._extents: KnownExtents | None = None
        self._why = ""
        self._budget = _READS_PER_BYTE * self._end + _FREE_READS
        # What the last search for the next indexed offset, and for the next header, found: from
        # where, and where.
        self._indexed = self._headed = (0, -1)
        # Of the frame that is open: its header and what its blocks are, where that is known.
        self._open = False
        self._header: FrameHeader | None = None
        self._entries: Entries | None = []

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

    # ---- the open frame --------------------------------------------------------------------------

    def _note(self, part: Part) -> None:
        if isinstance(part, HeaderPart):
            self._begin_frame(part.header)
        elif isinstance(part, EndPart):
            self._open = False
        elif isinstance(part, BlockPart):
            if not self._open:
                self._begin_frame(None)
                self._entries = None
            if self._entries is not None:
                self._entries.append((part.end - part.offset, part.size))
        elif isinstance(part, Gap):
            if part.sizes is None or len(part.sizes) != 1:
                self._entries = None
            elif self._entries is not None:
                self._entries.append((part.end - part.offset, part.sizes[0]))

    def _begin_frame(self, header: FrameHeader | None) -> None:
        self._open, self._header, self._entries = True, header, []

    @property
    def _awaits_first_block(self) -> bool:
        return bool(self.parts) and isinstance(self.parts[-1], HeaderPart)

    @property
    def _awaits_check_only(self) -> bool:
        """Whether the frame has a single block, which lies behind."""
        return (
            self._open
            and self._header is not None
            and self._header.single_block
            and not self._awaits_first_block
        )

    # ---- sound parts -----------------------------------------------------------------------------

    def _reader(self, offset: int) -> ByteReader:
        self._file.seek(offset)
        return ByteReader(self._file, offset)

    def _part_at(self, offset: int) -> Part | None:
        """The sound part that begins at this offset in the frame that is open."""
        if self._extents and offset in self._extents.ends:
            return self._indexed_end(offset)
        if self._awaits_first_block:
            return self._block_at(offset, self._header) or self._end_at(offset)
        if self._awaits_check_only:
            return self._single_end_at(offset)
        if found := self._header_at(offset):
            return found
        if not self._open and (restored := self._restored_at(offset)):
            return restored
        return self._block_at(offset, None) or (self._end_at(offset) if self._open else None)

    def _header_at(self, offset: int) -> HeaderPart | None:
        reader = self._reader(offset)
        try:
            header = FrameHeader.read(reader)
        except LLMZipError as error:
            self._why = str(error)
            return None
        end = reader.offset
        proven = self._block_at(end, header) is not None
        return (None if proven else self._restored_at(offset)) or HeaderPart(
            offset, end, header, proven
        )

    def _restored_at(self, offset: int) -> HeaderPart | None:
        """A header that was here, with the block behind it as the witness."""
        for length in range(MAX_HEADER_BYTES + 1):
            reader = self._reader(offset + length)
            try:
                head = read_block_head(reader)
            except LLMZipError:
                continue
            if (
                head is None
                or CodecId.find(head[0]) is None
                or reader.offset + head[2] + 2 > self._end
            ):
                continue
            self._spend(reader.offset + head[2] - offset)
            body = self._reader(offset + length).read(
                reader.offset + head[2] - offset - length, "a block"
            )
            observed = self._reader(offset).read_available(length)
            stated = self._reader(reader.offset + head[2]).read_available(CHECK_BYTES)
            header = self._guesses.proven_by(observed, body, head[1], stated)
            if header is not None:
                return HeaderPart(offset, offset + length, header, proven=True, restored=True)
        return None

    def _block_at(self, offset: int, header: FrameHeader | None) -> BlockPart | None:
        reader = self._reader(offset)
        try:
            block = read_block(reader, header)
        except LLMZipError as error:
            self._why = str(error)
            self._spend(reader.offset - offset)
            return None
        if block is None:
            return None
        return BlockPart(offset, reader.offset, block.codec, block.size, header)

    def _spend(self, size: int) -> None:
        """Book bytes that were read in vain. Raises LimitError for a file that was made to waste
        time.
        """
        self._budget -= size
        if self._budget < 0:
            raise LimitError(
                "too much of the file looks like blocks and is none: "
                "to find those that are would take too long"
            )

    def _end_at(self, offset: int) -> EndPart | None:
        """The end of a frame of any number of blocks, if it can be told from a damaged block."""
        if self._reader(offset).read_available(1) != bytes([END_OF_BLOCKS]):
            return None
        reader = self._reader(offset + 1)
        check = reader.read_available(CHECK_BYTES)
        if len(check) < CHECK_BYTES:
            return EndPart(offset, self._end, None, None, "the file ends inside the content check")
        end = reader.offset
        if self._entries is not None and len(self._entries) < 2:
            return EndPart(offset, end, check, None) if self._is_boundary(end) else None
        try:
            entries = read_index(reader)
            return EndPart(offset, reader.offset, check, entries)
        except LLMZipError as error:
            fault = _plain(str(error))
        if self._entries is not None:
            expected = end + len(index_bytes(self._entries))
            if self._is_boundary(expected) or expected > self._end:
                return EndPart(offset, min(expected, self._end), check, None, fault)
        return None

    def _single_end_at(self, offset: int) -> EndPart:
        """What follows the block of a single-block frame: nothing tells a content check from other
        bytes.
        """
        size = self._entries[0][1] if self._entries else 0
        wanted = check_bytes(is_short(True, size))
        check = self._reader(offset).read_available(wanted)
        fault = "" if len(check) == wanted else "the file ends inside the content check"
        return EndPart(offset, offset + len(check), None if fault else check, None, fault)

    def _indexed_end(self, offset: int) -> EndPart:
        assert self._extents is not None
        end, entries = self._extents.ends[offset]
        data = self._reader(offset).read(1 + CHECK_BYTES, "a frame's end")
        fault = "" if data[0] == END_OF_BLOCKS else f"byte {offset}: the end byte is {data[0]}"
        return EndPart(offset, end, data[1:], entries, fault)

    def _is_boundary(self, offset: int) -> bool:
        """Whether the file ends here, or a frame begins."""
        if offset == self._end:
            return True
        try:
            FrameHeader.read(self._reader(offset))
        except LLMZipError:
            return False
        return True

    # ---- gaps ------------------------------------------------------------------------------------

    def _gap_at(self, offset: int) -> Gap:
        """The gap that begins at this offset: up to the next sound part, or to where an index says
        that a block begins.
        """
        assert self._extents is not None
        why = _plain(self._why)
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


def _plain(message: str) -> str:
    """An error's message without its advice for those who only read the file."""
    return message.partition(": the file is ")[0]
