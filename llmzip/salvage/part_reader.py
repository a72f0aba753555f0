"""Reads the sound parts of a damaged file: what begins at an offset, by what the frame that is open
there allows.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from llmzip.container.block import read_block, read_block_head
from llmzip.container.checks import CHECK_BYTES, check_bytes, is_short
from llmzip.container.codec_ids import END_OF_BLOCKS, CodecId
from llmzip.container.header import FrameHeader
from llmzip.container.index import Entries, index_bytes, read_index
from llmzip.container.varint import ByteReader
from llmzip.errors import LimitError, LLMZipError
from llmzip.salvage.headers import MAX_HEADER_BYTES, HeaderGuesses
from llmzip.salvage.indexes import KnownExtents
from llmzip.salvage.parts import BlockPart, EndPart, Gap, HeaderPart, Part

# Of the file: how much may be read of what is no block, though it looks like one.
_READS_PER_BYTE, _FREE_READS = 32, 1 << 32


class PartReader:
    """Reads parts of a seekable file, one behind the other."""

    def __init__(self, file: BinaryIO, guesses: HeaderGuesses) -> None:
        """guesses: what headers may have been, where they are damaged."""
        self.parts: list[Part] = []
        self._file = file
        self._guesses = guesses
        file.seek(0, os.SEEK_END)
        self._end = file.tell()
        self._extents: KnownExtents | None = None  # of the indexes, once there is damage
        self._why = ""
        self._budget = _READS_PER_BYTE * self._end + _FREE_READS
        # Of the frame that is open: its header and what its blocks are, where that is known.
        self._open = False
        self._header: FrameHeader | None = None
        self._entries: Entries | None = []

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
            fault = plain(str(error))
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


def plain(message: str) -> str:
    """An error's message without its advice for those who only read the file."""
    return message.partition(": the file is ")[0]
