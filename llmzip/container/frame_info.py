"""What frames say of themselves; nothing is decoded."""

from __future__ import annotations

import dataclasses
import io
from typing import Any, BinaryIO

from llmzip.buffers import Buffer, check_file, flat
from llmzip.container.block import WINDOW_UNIT, Block, read_block_head
from llmzip.container.codec_ids import NO_LITERALS, CodecId
from llmzip.container.frame_reader import FrameReader, read_frames
from llmzip.container.header import FrameHeader
from llmzip.container.varint import ByteReader
from llmzip.errors import FormatError


@dataclasses.dataclass(frozen=True)
class FrameInfo:
    """What a frame says at its beginning."""

    version: int
    model: str | None
    """What the header has of the model's fingerprint, 4 to 16 hex digits; None where it names
    none.
    """
    memory: int
    """Bytes that decoding takes at most, beside the model's weights (`accounting`); before version
    4 fewer things count.
    """
    dictionary_id: str | None
    """The digest of the dictionary that it needs, in hex."""
    solid: bool
    """Whether blocks build on those before them."""
    uncompressed_size: int | None
    """In bytes; None where the frame may have more than one block: then only the whole frame
    tells.
    """


@dataclasses.dataclass(frozen=True)
class BlockStreams:
    """What a block of the codec llm says of its streams."""

    tokens: int
    streams: int
    window: int
    """Tokens that attention sees."""


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
    """The codec of each block, with that of the literals between its matches, if there are any:
    ldm(llm).
    """
    streams: tuple[BlockStreams, ...] = ()
    """Of each block of the codec llm; nothing of those between matches, and in damaged files."""


def get_frame_info(data: Buffer) -> FrameInfo:
    """What a frame says at its beginning; `data` is the frame, or its first bytes, of which 32 are
    always enough.

    Only these are looked at, and no check: `list_frames` reads and verifies whole frames. Raises
    FormatError where no frame begins, TruncatedError with the number of bytes that are `missing`
    where the data ends too early.
    """
    reader = ByteReader(io.BytesIO(flat(data, "get_frame_info")))
    header = FrameHeader.read(reader)
    size = None if header.memory else 0  # no memory: no blocks
    if header.single_block:
        head = read_block_head(reader)
        if head is None:
            raise FormatError(
                f"byte {reader.offset - 1}: a frame without the block that it has: "
                "the file is damaged"
            )
        size = head[1]
    return FrameInfo(**_said_by(header), uncompressed_size=size)


def list_frames(file: BinaryIO) -> list[FrameSummary]:
    """What each frame of a file says; block checks are verified, nothing is decoded.

    Raises FormatError, TruncatedError or IntegrityError; TypeError for what is no binary file.
    """
    check_file(file, "read", "list_frames")
    return [_summary(frame) for frame in read_frames(file)]


def content_check_name(is_short: bool) -> str:
    """The name of the content check, for lists."""
    return "XXH3-16" if is_short else "XXH3-32"


def codec_name(number: int) -> str:
    """The name of a codec, for lists."""
    codec = CodecId.find(number)
    return codec.label if codec else "unknown"


def _summary(frame: FrameReader) -> FrameSummary:
    blocks = [(_codec_names(block), _streams(block)) for block in frame]  # reads it to its end
    codecs = tuple(name for name, _ in blocks)
    return FrameSummary(
        **_said_by(frame.header),
        compressed_size=frame.compressed_size,
        uncompressed_size=frame.uncompressed_size,
        blocks=len(codecs),
        check=content_check_name(frame.is_short),
        codecs=codecs,
        streams=tuple(said for _, said in blocks if said),
    )


def _streams(block: Block) -> BlockStreams | None:
    if block.codec != CodecId.LLM:
        return None
    reader = ByteReader(io.BytesIO(block.payload))
    try:
        tokens, streams = reader.varint("tokens"), reader.varint("streams")
        # None stand for one that sees everything.
        units = reader.varint("a window") if streams else -(-tokens // WINDOW_UNIT)
    except FormatError:  # which its decoder reports
        return None
    return BlockStreams(tokens, streams or 1, units * WINDOW_UNIT)


def _codec_names(block: Block) -> str:
    name = codec_name(block.codec)
    return (
        name if block.inner in (block.codec, NO_LITERALS) else f"{name}({codec_name(block.inner)})"
    )


def _said_by(header: FrameHeader) -> dict[str, Any]:
    """The fields of `FrameInfo` that a header has."""
    return {
        "version": header.version,
        "model": header.fingerprint.hex() or None,
        "memory": header.memory,
        "dictionary_id": header.dictionary_id.hex() or None,
        "solid": header.solid,
    }
