"""Walking through frames without decoding them."""

from __future__ import annotations

import dataclasses
import io
from typing import Any, BinaryIO

from llmzip.codecs.base import Buffer, flat
from llmzip.codecs.copies import NOTHING_LEFT
from llmzip.codecs.selection import CODEC_NAMES, OF_A_MODEL, coded_part
from llmzip.container.block import Block, read_block, read_block_head
from llmzip.container.checks import check_bytes, is_short_frame
from llmzip.container.header import FrameHeader
from llmzip.container.index import Entries, expect_index
from llmzip.container.varint import ByteReader, ready
from llmzip.errors import FormatError, TruncatedError


class FrameParser:
    """Reads one frame's parts in order. A part that the source does not hold whole changes nothing: try again later."""

    def __init__(self) -> None:
        self.header: FrameHeader | None = None
        self.entries: Entries = []
        self.content_check: bytes | None = None
        """Known once the frame is complete."""

    @property
    def is_short(self) -> bool:
        """Whether it is a short frame; known after the first block."""
        assert self.header is not None
        return is_short_frame(self.header.single_block, self.entries)

    def read_header(self, reader: ByteReader) -> FrameHeader:
        """The frame's header: the first part."""
        self.header = FrameHeader.read(reader)
        return self.header

    def read_block(self, reader: ByteReader) -> Block | None:
        """The next block, or None after the last, when the frame has been read to its end."""
        assert self.header is not None
        start = reader.offset
        block = None
        if not self.header.single_block or not self.entries:
            block = read_block(reader, None if self.entries else self.header)
        if block is not None:
            self._check(block, start)
            self.entries.append((reader.offset - start, block.size))
            return block
        if not self.entries and self.header != FrameHeader(False, 0, version=self.header.version):
            raise FormatError(f"byte {start}: a frame without blocks needs no model and no memory: the file is damaged")
        check = reader.read(check_bytes(self.is_short), "a content check")
        if not self.header.single_block and len(self.entries) > 1:
            expect_index(reader, self.entries)
        self.content_check = check
        return None

    def _check(self, block: Block, start: int) -> None:
        assert self.header is not None
        inner = coded_part(block)[0] if block.codec in CODEC_NAMES else block.codec
        if inner not in CODEC_NAMES and inner != NOTHING_LEFT:
            raise FormatError(f"block at byte {start}: unknown codec {inner}: the file needs a newer llmzip")
        if inner in OF_A_MODEL and not self.header.fingerprint:
            raise FormatError(f"block at byte {start}: it needs a model, but the frame names none: the file is damaged")


@dataclasses.dataclass(frozen=True)
class FrameInfo:
    """What a frame says at its beginning."""

    version: int
    model: str | None
    """What the header has of the model's fingerprint, 4 to 16 hex digits; None where no block needs a model."""
    memory: int
    """Bytes that decoding takes at most, beside the model's weights (`accounting`); before version 4 fewer things count."""
    dictionary_id: str | None
    """The digest of the dictionary that it needs, in hex."""
    solid: bool
    """Whether blocks build on those before them."""
    uncompressed_size: int | None
    """In bytes; None where only the whole frame tells, as it may have more than one block."""


@dataclasses.dataclass(frozen=True)
class FrameSummary(FrameInfo):
    """What a whole frame says of itself."""

    uncompressed_size: int
    """In bytes."""
    compressed_size: int
    """In bytes, from the header to the end."""
    blocks: int
    check: str
    """The kind of the content check."""
    codecs: tuple[str, ...]
    """The codec of each block; where copies have left something, with that of the rest: copies(llm)."""


def _label(block: Block) -> str:
    name = CODEC_NAMES[block.codec]
    inner = coded_part(block)[0]
    return name if inner in (block.codec, NOTHING_LEFT) else f"{name}({CODEC_NAMES[inner]})"


def _said_by(header: FrameHeader) -> dict[str, Any]:
    """The fields of `FrameInfo` that a header has."""
    return {
        "version": header.version,
        "model": header.fingerprint.hex() or None,
        "memory": header.memory,
        "dictionary_id": header.dictionary_id.hex() or None,
        "solid": header.solid,
    }


def _read_summary(reader: ByteReader) -> FrameSummary:
    start = reader.offset
    parser = FrameParser()
    header = parser.read_header(reader)
    codecs = []
    while block := parser.read_block(reader):
        codecs.append(_label(block))
    return FrameSummary(
        **_said_by(header),
        compressed_size=reader.offset - start,
        uncompressed_size=sum(size for _, size in parser.entries),
        blocks=len(codecs),
        check="XXH3-16" if parser.is_short else "XXH3-32",
        codecs=tuple(codecs),
    )


class PeekingSource:
    """A readable source of which the next byte can be looked at."""

    def __init__(self, source: BinaryIO) -> None:
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


def check_not_empty(source: PeekingSource) -> None:
    """Raise TruncatedError where a source that must hold frames is at its end."""
    if source.at_end():
        raise TruncatedError("the data is empty: not an llmzip file")


def list_frames(file: BinaryIO) -> list[FrameSummary]:
    """What each frame of a file says; block checks are verified, nothing is decoded.

    Raises FormatError, TruncatedError or IntegrityError.
    """
    source = PeekingSource(file)
    check_not_empty(source)
    reader = ByteReader(source)
    infos = []
    while not source.at_end():
        infos.append(_read_summary(reader))
    return infos


def get_frame_info(data: Buffer) -> FrameInfo:
    """What a frame says at its beginning; `data` is the frame, or its first bytes, of which 32 are always enough.

    Only these are looked at, and no check: `list_frames` reads and verifies whole frames. Raises FormatError where no frame
    begins, TruncatedError with the number of bytes that are `missing` where the data ends too early.
    """
    reader = ByteReader(io.BytesIO(flat(data)))
    header = FrameHeader.read(reader)
    size = None if header.memory else 0  # no memory: no blocks
    if header.single_block:
        head = read_block_head(reader)
        if head is None:
            raise FormatError(f"byte {reader.offset - 1}: a frame without the block that it has: the file is damaged")
        size = head[1]
    return FrameInfo(**_said_by(header), uncompressed_size=size)
