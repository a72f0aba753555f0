"""Reads the frames of a file part by part; blocks stay coded."""

from __future__ import annotations

from collections.abc import Iterator

import xxhash

from llmzip.container.block import Block, read_block
from llmzip.container.checks import check_bytes, content_check, is_short_frame
from llmzip.container.codec_ids import KNOWN, NEEDING_MODEL, NO_LITERALS
from llmzip.container.header import FrameHeader
from llmzip.container.index import Entries, expect_index
from llmzip.container.varint import ByteReader, Readable, ready
from llmzip.errors import FormatError, IntegrityError, TruncatedError


class FrameReader:
    """One frame. Iteration gives its blocks, whose checks hold; after the last one the frame has
    been read to its end.

    The content check takes the content: a reader that decodes hands it to `add_content`, and calls
    `verify_content` at the end.
    """

    def __init__(self, reader: ByteReader) -> None:
        """Read the header, which begins where `reader` stands. Raises FormatError or
        TruncatedError.
        """
        self.offset = reader.offset
        """Where the frame begins."""
        self.header = FrameHeader.read(reader)
        self.first_block_offset = reader.offset
        self.entries: Entries = []
        """The blocks read so far: bytes in the file, uncompressed bytes."""
        self.content_check: bytes | None = None
        """The check, once the frame has been read to its end."""
        self._reader = reader
        self._content = xxhash.xxh3_64()

    @property
    def is_short(self) -> bool:
        """Whether it is a short frame; known after the first block."""
        return is_short_frame(self.header.single_block, self.entries)

    @property
    def compressed_size(self) -> int:
        """Bytes of the frame that have been read."""
        return self._reader.offset - self.offset

    @property
    def uncompressed_size(self) -> int:
        """Bytes of content in the blocks that have been read."""
        return sum(size for _, size in self.entries)

    def __iter__(self) -> Iterator[Block]:
        """The blocks, in order. Raises as `read_block` does."""
        return iter(self.read_block, None)

    def read_block(self) -> Block | None:
        """The next block, or None after the last, when check and index have been read.

        Raises FormatError, TruncatedError or IntegrityError. Then nothing has changed but where the
        reader stands.
        """
        start = self._reader.offset
        block = None
        if not self.entries:
            block = read_block(self._reader, self.header)
        elif not self.header.single_block:
            block = read_block(self._reader)
        if block is None:
            self._read_end(start)
            return None
        self._check_codec(block, start)
        self.entries.append((self._reader.offset - start, block.size))
        return block

    def go_back(self, blocks: int) -> None:
        """Forget the blocks behind the first `blocks`: the reader stands behind these again."""
        del self.entries[blocks:]

    def add_content(self, data: bytes) -> None:
        """Take the content of the next block."""
        self._content.update(data)

    def verify_content(self) -> None:
        """Compare the content with its check, when both are complete. Raises IntegrityError."""
        if self.content_check != content_check(self._content, self.is_short):
            raise IntegrityError(
                "the decoded content does not match its checksum: the file is damaged, "
                "or was written by a faulty encoder"
            )

    def _read_end(self, start: int) -> None:
        """Read content check and index, behind the end byte."""
        if not self.entries and self.header != FrameHeader(False, 0, version=self.header.version):
            raise FormatError(
                f"byte {start}: a frame without blocks needs no model and no memory: "
                "the file is damaged"
            )
        check = self._reader.read(check_bytes(self.is_short), "a content check")
        if not self.header.single_block and len(self.entries) > 1:
            expect_index(self._reader, self.entries)
        self.content_check = check

    def _check_codec(self, block: Block, start: int) -> None:
        inner = block.inner
        if block.codec not in KNOWN or (inner not in KNOWN and inner != NO_LITERALS):
            raise FormatError(
                f"block at byte {start}: unknown codec {inner}: the file needs a newer llmzip"
            )
        if inner in NEEDING_MODEL and not self.header.fingerprint:
            raise FormatError(
                f"block at byte {start}: it needs a model, but the frame names none: "
                "the file is damaged"
            )


class _PeekingSource:
    """A source of which the next byte can be looked at."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._peeked = b""

    def at_end(self) -> bool:
        """Whether no byte is left."""
        if not self._peeked:
            self._peeked = ready(self._source.read(1))
        return not self._peeked

    def read(self, size: int, /) -> bytes:
        """See `Readable.read`."""
        if not size:
            return b""
        first, self._peeked = self._peeked, b""
        return first + (ready(self._source.read(size - len(first))) if size > len(first) else b"")


def read_frames(source: Readable, offset: int = 0) -> Iterator[FrameReader]:
    """The frames up to the end of a source, in order; each is to be iterated to its end before the
    next one begins.

    offset: where the source stands in its file. Raises TruncatedError for an empty source, and what
    `FrameReader` raises.
    """
    peeking = _PeekingSource(source)
    if peeking.at_end():
        raise TruncatedError("the data is empty: not an llmzip file")
    reader = ByteReader(peeking, offset)
    while not peeking.at_end():
        yield FrameReader(reader)
