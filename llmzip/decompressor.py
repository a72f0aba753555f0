"""Decompression: frames from a file or from pieces, block by block."""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO

import xxhash

from llmzip.codecs.base import Buffer, Progress
from llmzip.codecs.copies import CopiesCodec, decode_copies
from llmzip.codecs.history import History
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.selection import MODEL_FREE, OF_A_MODEL
from llmzip.container.block import Block
from llmzip.container.checks import content_check
from llmzip.container.header import FrameHeader
from llmzip.container.varint import ByteReader
from llmzip.engines import EngineOptions
from llmzip.errors import FormatError, IntegrityError, LimitError, TruncatedError
from llmzip.frames import FrameParser, frames_source
from llmzip.memory.base import Memory
from llmzip.model.integer_model import IntegerModel


class BlockDecoder:
    """Decodes the blocks of frames: knows limits, finds models, follows progress over all frames of a stream."""

    def __init__(
        self,
        options: EngineOptions,
        *,
        max_memory: int | None = None,
        max_output: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._options = options
        self._max_memory = max_memory
        self._max_output = max_output
        self._progress = progress
        self.done_bytes = self.done_tokens = 0
        self._block_tokens = 0
        self._header: FrameHeader | None = None
        self._history: History | None = None
        self._llm: LLMCodec | None = None
        self._carried: Memory | None = None
        self._meta_token: MetaTokenCodec | None = None

    def open_frame(self, header: FrameHeader) -> None:
        """Begin a frame. Raises LimitError where it needs more memory than allowed."""
        if self._max_memory is not None and header.memory > self._max_memory:
            raise LimitError(
                f"the frame needs {header.memory} bytes of memory, the limit is {self._max_memory}; raise the limit to decode it"
            )
        self._header = header
        self._history = self._llm = self._carried = self._meta_token = None

    def decode(self, block: Block) -> bytes:
        """The bytes of a block. Raises LimitError, IntegrityError, FormatError, or what finding a model raises."""
        if self._max_output is not None and self.done_bytes + block.size > self._max_output:
            raise LimitError(
                f"the output exceeds the limit of {self._max_output} bytes; raise the limit to decode it all"
            )
        self._block_tokens = 0
        try:
            data = self._decode(block)
        except TruncatedError as error:  # a payload is complete: waiting for more would not help
            raise FormatError(f"a block's payload is damaged: {error}") from error
        self.done_bytes += block.size
        self.done_tokens += self._block_tokens
        if self._progress:
            self._progress(self.done_bytes, self.done_tokens)
        return data

    def _decode(self, block: Block) -> bytes:
        assert self._header is not None
        if self._history is None:
            self._history = History(self._reference())
        if block.codec == CopiesCodec.id:
            data = decode_copies(block.payload, block.size, self._history, self._decode_coded)
        else:
            data = self._decode_coded(block.codec, block.payload, block.size)
        if self._header.solid:
            self._history.extend(data)
        return data

    def _reference(self) -> bytes:
        """What lies before the frame's first block: the reference text, if it is the one that the frame names."""
        assert self._header is not None
        if not self._header.prime:
            return b""
        self._options.primed_for(self._options.for_fingerprint(self._header.fingerprint), self._header.prime)
        return self._options.reference

    def _decode_coded(self, codec: int, payload: bytes, size: int) -> bytes:
        """The `size` bytes of a payload of any codec but copies."""
        if codec in MODEL_FREE:
            return MODEL_FREE[codec].decode(payload, size)
        assert self._header is not None
        if codec not in OF_A_MODEL or not self._header.fingerprint:
            raise FormatError(f"a block of codec {codec}, unknown or of a model that the frame does not name: damaged")
        if codec == MetaTokenCodec.id:
            if self._meta_token is None:
                self._meta_token = MetaTokenCodec(self._options.model_for_fingerprint(self._header.fingerprint))
            return self._meta_token.decode(payload, size)
        data, taught = self._llm_codec(self._header).decode_after(payload, size, self._carried)
        if self._header.solid:
            self._carried = taught
        return data

    def _llm_codec(self, header: FrameHeader) -> LLMCodec:
        if self._llm is None:
            engine = self._options.for_fingerprint(header.fingerprint)
            self._llm = LLMCodec(
                engine,
                primed=self._options.primed_for(engine, header.prime),
                most_bytes=header.memory,
                progress=self._report,
            )
        return self._llm

    def _report(self, block_bytes: int, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        if self._progress:
            self._progress(self.done_bytes + block_bytes, self.done_tokens + block_tokens)


def verify_content(parser: FrameParser, state: xxhash.xxh3_64) -> None:
    """Compare a complete frame's content check. Raises IntegrityError."""
    if parser.content_check != content_check(state, parser.is_short):
        raise IntegrityError(
            "the decoded content does not match its checksum: the file is damaged, or was written by a faulty encoder"
        )


class FrameStream:
    """The decoded blocks of all frames of a file, in order; each frame's content check is verified at its end."""

    def __init__(self, file: BinaryIO, decoder: BlockDecoder) -> None:
        """Raises TruncatedError for an empty file."""
        self._source = frames_source(file)
        self._reader = ByteReader(self._source)
        self._decoder = decoder
        self._parser: FrameParser | None = None
        self._hash = xxhash.xxh3_64()
        self.frames = 0
        """How many frames have been read to their end."""

    @property
    def offset(self) -> int:
        """How many bytes of the file have been read."""
        return self._reader.offset

    def next_block(self) -> bytes | None:
        """The next block's bytes, or None after the last frame. Raises LLMZipError."""
        while self._parser is not None or not self._source.at_end():
            if self._parser is None:
                self._parser = FrameParser()
                self._hash.reset()
                self._decoder.open_frame(self._parser.read_header(self._reader))
            block = self._parser.read_block(self._reader)
            if block is not None:
                data = self._decoder.decode(block)
                self._hash.update(data)
                return data
            verify_content(self._parser, self._hash)
            self._parser = None
            self.frames += 1
        return None


class LLMZipDecompressor:
    """Decodes one frame that arrives in pieces; holds one block in memory.

    After `eof`, `unused_data` holds what follows the frame: another frame, for a new decompressor, or junk.
    """

    def __init__(
        self,
        *,
        model: str | os.PathLike[str] | IntegerModel | None = None,
        max_memory: int | None = None,
        max_output: int | None = None,
        progress: Progress | None = None,
        **engine: Any,
    ) -> None:
        """Prepare to decompress; the model is looked up by the frame's fingerprint when the first block needs it.

        model: only to insist on a certain one. max_memory: bytes of key/value cache and memory allowed. max_output: bytes of
        output allowed. engine: `prime`, the reference text that primed frames need, and `engine`, `device`, `threads` of
        `EngineOptions`.
        """
        options = EngineOptions(model=model, **engine)
        self._decoder = BlockDecoder(options, max_memory=max_memory, max_output=max_output, progress=progress)
        self._parser = FrameParser()
        self._hash = xxhash.xxh3_64()
        self._input = b""
        self._output = bytearray()
        self._offset = 0
        self._complete = False

    @property
    def eof(self) -> bool:
        """Whether the frame has ended and all of it has been returned."""
        return self._complete and not self._output

    @property
    def needs_input(self) -> bool:
        """Whether the next call can do nothing without more data."""
        return not self._complete and not self._output

    @property
    def unused_data(self) -> bytes:
        """What came after the frame's end."""
        return self._input if self._complete else b""

    def decompress(self, data: Buffer, max_length: int = -1) -> bytes:
        """Take more data, return at most max_length bytes of output (-1: all there is).

        Raises EOFError after the end, LLMZipError for a damaged frame, TypeError for a str.
        """
        if self.eof:
            raise EOFError("the frame has ended; `unused_data` holds what follows")
        self._input += bytes(memoryview(data))
        while not self._complete and not 0 <= max_length <= len(self._output):
            try:
                self._read_part()
            except TruncatedError:
                break  # wait for more data
        size = len(self._output) if max_length < 0 else min(max_length, len(self._output))
        out = bytes(self._output[:size])
        del self._output[:size]
        return out

    def _read_part(self) -> None:
        """Parse one header, block or frame end from the input, and drop it there."""
        reader = ByteReader(io.BytesIO(self._input), self._offset)
        if self._parser.header is None:
            self._decoder.open_frame(self._parser.read_header(reader))
        elif block := self._parser.read_block(reader):
            decoded = self._decoder.decode(block)
            self._hash.update(decoded)
            self._output += decoded
        else:
            verify_content(self._parser, self._hash)
            self._complete = True
        self._input = self._input[reader.offset - self._offset :]
        self._offset = reader.offset
