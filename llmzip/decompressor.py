"""Decompression: frames from a file or from pieces, block by block."""

from __future__ import annotations

from typing import BinaryIO

import xxhash

from llmzip.codecs.base import Buffer, flat
from llmzip.codecs.copies import CopiesCodec, decode_copies
from llmzip.codecs.history import History
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.needs import block_need
from llmzip.codecs.selection import MODEL_FREE, OF_A_MODEL
from llmzip.container.block import Block
from llmzip.container.checks import content_check
from llmzip.container.header import FrameHeader
from llmzip.container.varint import ByteReader
from llmzip.engine_loader import DictionaryLike, EngineLoader, ModelLike
from llmzip.errors import FormatError, IntegrityError, LimitError, LLMZipError, TruncatedError
from llmzip.frames import FrameParser, PeekingSource, check_not_empty
from llmzip.limits import Limits
from llmzip.mixing.base import ContextMixer
from llmzip.runtime import DEFAULT_RUNTIME, Runtime
from llmzip.tally import Tally
from llmzip.turns import NotCopied, Turns
from llmzip.types import Progress


class BlockDecoder:
    """Decodes the blocks of frames: knows limits, finds models, follows progress over all frames of a stream."""

    def __init__(
        self,
        loader: EngineLoader,
        *,
        max_memory: int | None = None,
        max_output: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._loader = loader
        self._limits = Limits(max_memory, max_output)
        self.tally = Tally(progress)
        """What has been decoded."""
        self._header: FrameHeader | None = None
        self._history: History | None = None
        self._llm: LLMCodec | None = None
        self._carried: ContextMixer | None = None
        self._meta_token: MetaTokenCodec | None = None
        self._unsure = False
        """Whether a block of a solid frame was begun and does not count (yet)."""

    def open_frame(self, header: FrameHeader) -> None:
        """Begin a frame. Raises LimitError where it needs more memory than allowed."""
        self._limits.check_frame(header)
        self._header = header
        self._history = self._llm = self._carried = self._meta_token = None
        self._unsure = False

    def decode(self, block: Block) -> bytes:
        """The bytes of a block: as `attempt`, then `note`."""
        data = self.attempt(block)
        self.note(block, data)
        return data

    def attempt(self, block: Block) -> bytes:
        """The bytes of a block. Raises LimitError, IntegrityError, FormatError, or what finding a model raises.

        After an exception it can be tried again, but for blocks of a solid frame, which change what the next one builds on:
        then ValueError is raised.
        """
        assert self._header is not None
        if self._unsure:
            raise ValueError("a block of a solid frame was interrupted: begin again at the frame's first block")
        self._unsure = self._header.solid
        self._limits.check_output(self.tally.bytes, block)
        self.tally.begin_block()
        try:
            data = self._decode(block)
        except TruncatedError as error:  # a payload is complete: waiting for more would not help
            raise FormatError(f"a block's payload is damaged: {error}") from error
        self.tally.report(block.size)
        return data

    def note(self, block: Block, data: bytes) -> None:
        """The block that was decoded last counts from now on: the next one may build on it."""
        assert self._header is not None
        if self._header.solid and self._history is not None:
            self._history.extend(data)
        self._limits.count(block)
        self.tally.end_block(block.size)
        self._unsure = False

    def _decode(self, block: Block) -> bytes:
        assert self._header is not None
        need = block_need(block, self._header.solid, self._of_model)
        self._limits.check_block(need, self._header)
        try:
            return self._decode_within(block)
        except MemoryError as error:
            raise LimitError(
                f"decoding a block needs {need} bytes of memory, more than this machine can give"
            ) from error

    def _decode_within(self, block: Block) -> bytes:
        """The bytes of a block that keeps to the limits."""
        if self._history is None:
            self._history = History(self._reference())
        if block.codec == CopiesCodec.id:
            return decode_copies(block.payload, block.size, self._history, self._decode_coded)
        return self._decode_coded(block.codec, block.payload, block.size)

    def _reference(self) -> bytes:
        """What lies before the frame's first block: the dictionary, if it is the one that the frame names."""
        assert self._header is not None
        if not self._header.dictionary_id:
            return b""
        self._loader.dictionary_for(self._loader.for_fingerprint(self._header.fingerprint), self._header.dictionary_id)
        return self._loader.dictionary_content

    def _decode_coded(self, codec: int, payload: bytes, size: int) -> bytes:
        """The `size` bytes of a payload of any codec but copies."""
        if codec in MODEL_FREE:
            return MODEL_FREE[codec].decode(payload, size)
        coder = self._of_model(codec)
        if isinstance(coder, MetaTokenCodec):
            return coder.decode(payload, size)
        data, taught = coder.decode_after(payload, size, self._carried)
        if self._header is not None and self._header.solid:
            self._carried = taught
        return data

    def _of_model(self, codec: int) -> LLMCodec | MetaTokenCodec:
        """A codec that needs the frame's model."""
        assert self._header is not None
        if codec not in OF_A_MODEL or not self._header.fingerprint:
            raise FormatError(f"a block of codec {codec}, unknown or of a model that the frame does not name: damaged")
        if codec == LLMCodec.id:
            return self._llm_codec(self._header)
        if self._meta_token is None:
            self._meta_token = MetaTokenCodec(self._loader.model_for_fingerprint(self._header.fingerprint))
        return self._meta_token

    def _llm_codec(self, header: FrameHeader) -> LLMCodec:
        if self._llm is None:
            engine = self._loader.for_fingerprint(header.fingerprint)
            self._llm = LLMCodec(
                engine,
                dictionary=self._loader.dictionary_for(engine, header.dictionary_id),
                solid=header.solid,
                progress=self.tally.report,
            )
        return self._llm


def verify_content(parser: FrameParser, state: xxhash.xxh3_64) -> None:
    """Compare a complete frame's content check. Raises IntegrityError."""
    if parser.content_check != content_check(state, parser.is_short):
        raise IntegrityError(
            "the decoded content does not match its checksum: the file is damaged, or was written by a faulty encoder"
        )


class FrameStream:
    """The decoded blocks of all frames of a file, in order; each frame's content check is verified at its end."""

    def __init__(self, file: BinaryIO, decoder: BlockDecoder) -> None:
        """Nothing is read yet."""
        self._source = PeekingSource(file)
        self._reader = ByteReader(self._source)
        self._decoder = decoder
        self._parser: FrameParser | None = None
        self._block: Block | None = None  # read, and not yet decoded
        self._hash = xxhash.xxh3_64()
        self._turns = Turns("reader of frames")
        self._error: LLMZipError | None = None
        self.start = 0
        """Where the block at hand begins in the content of all frames."""
        self.data = b""
        """Its bytes."""
        self.frames = 0
        """How many frames have been read to their end."""

    @property
    def offset(self) -> int:
        """How many bytes of the file have been read."""
        return self._reader.offset

    def load(self) -> bool:
        """Make the next block the one at hand; False after the last frame, where the block stays.

        Raises LLMZipError, and then the same in each further call: TruncatedError for an empty file, and so on. After another
        exception (KeyboardInterrupt, the file's own) the block that was being decoded comes next; where it was being read,
        what has been read is lost, and ValueError is raised.
        """
        if self._error:
            raise self._error.with_traceback(None)
        try:
            self._turns.check()
            if self._block is None:
                self._turns.take(self._read)
            if self._block is None:
                return False
            data = self._decoder.attempt(self._block)
            self._turns.take(lambda: self._note(data))
        except LLMZipError as error:
            self._error = error
            raise
        return True

    def _read(self) -> None:
        """Go on to the next block."""
        if not self._reader.offset:
            check_not_empty(self._source)
        while self._block is None and (self._parser is not None or not self._source.at_end()):
            if self._parser is None:
                self._parser = FrameParser()
                self._hash.reset()
                self._decoder.open_frame(self._parser.read_header(self._reader))
            self._block = self._parser.read_block(self._reader)
            if self._block is None:
                verify_content(self._parser, self._hash)
                self._parser = None
                self.frames += 1

    def _note(self, data: bytes) -> None:
        assert self._block is not None
        self._decoder.note(self._block, data)
        self._hash.update(data)
        self._block = None
        self.start += len(self.data)
        self.data = data


class _Input:
    """Bytes that arrive in pieces, and are read in parts: a part that is not there yet is read again later."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._place = 0

    def __len__(self) -> int:
        return len(self._bytes)

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    def add(self, data: memoryview) -> None:
        """Put them behind what is there."""
        self._bytes += data

    def read(self, size: int, /) -> bytes:
        """See `Readable.read`."""
        with memoryview(self._bytes) as view:
            piece = bytes(view[self._place : self._place + size])
        self._place += len(piece)
        return piece

    def restart(self) -> None:
        """Read from the beginning again."""
        self._place = 0

    def drop(self, size: int) -> None:
        """Forget the first `size` bytes: they have been used."""
        del self._bytes[:size]  # moves nothing


class LLMZipDecompressor(NotCopied):
    """Decodes one frame that arrives in pieces; holds one block in memory.

    After `eof`, `unused_data` holds what follows the frame: another frame, for a new decompressor, or junk. Threads that call
    the same decompressor wait for each other.
    """

    def __init__(
        self,
        *,
        model: ModelLike | None = None,
        dictionary: DictionaryLike | None = None,
        max_memory: int | None = None,
        max_output: int | None = None,
        runtime: Runtime | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Prepare to decompress; the model is looked up by the frame's fingerprint when the first block needs it.

        model: only to insist on a certain one. dictionary: that of the frames. max_memory: bytes of key/value cache and memory
        allowed. max_output: bytes of output allowed. runtime: how and where to compute. progress: called with the uncompressed
        bytes and tokens done.
        """
        loader = EngineLoader(model, dictionary, runtime or DEFAULT_RUNTIME)
        self._decoder = BlockDecoder(loader, max_memory=max_memory, max_output=max_output, progress=progress)
        self._parser: FrameParser | None = None
        self._hash = xxhash.xxh3_64()
        self._input = _Input()
        self._wanted = 1  # bytes of input without which the next part is not complete
        self._offset = 0  # of the input in the frame
        self._blocks = 0
        self._output = bytearray()
        self._complete = False
        self._error: LLMZipError | None = None
        self._calls, self._steps = Turns("decompressor"), Turns("decompressor")

    @property
    def eof(self) -> bool:
        """Whether the frame has ended and all of it has been returned."""
        return self._complete and not self._output

    @property
    def needs_input(self) -> bool:
        """Whether the next call can do nothing without more data."""
        return not self._complete and not self._output and len(self._input) < self._wanted

    @property
    def unused_data(self) -> bytes:
        """What came after the frame's end; nothing before `eof`."""
        return bytes(self._input) if self.eof else b""

    def decompress(self, data: Buffer, max_length: int = -1) -> bytes:
        """Take more data, return at most max_length bytes of output (-1: all there is).

        After an exception that has nothing to do with the data (KeyboardInterrupt), call again without data: none is lost.

        Raises EOFError after the end, LLMZipError for a damaged frame (the same in each further call), TypeError for a str,
        ValueError where an exception came at one of the few moments after which going on is impossible.
        """
        piece = flat(data)
        return self._calls.attempt(lambda: self._decompress(piece, max_length))

    def _decompress(self, data: memoryview, max_length: int) -> bytes:
        self._steps.check()
        if self.eof:
            raise EOFError("the frame has ended; `unused_data` holds what follows")
        if self._error:
            raise self._error.with_traceback(None)
        self._input.add(data)
        while not self._complete and not 0 <= max_length <= len(self._output) and len(self._input) >= self._wanted:
            try:
                self._read_part()
            except LLMZipError as error:
                self._error = error
                raise
        return self._steps.take(lambda: self._take_output(max_length))

    def _take_output(self, max_length: int) -> bytes:
        size = len(self._output) if max_length < 0 else max_length
        out = bytes(self._output[:size])
        del self._output[:size]
        return out

    def _read_part(self) -> None:
        """Parse one header, block or frame end from the input, and drop it there; if it is not complete, note what it wants.

        Only the steps change anything: an exception before them leaves all as it was.
        """
        self._input.restart()
        reader = ByteReader(self._input, self._offset)
        try:
            if self._parser is None:
                parser = FrameParser()
                parser.read_header(reader)
                self._steps.take(lambda: self._begin(parser, reader))
                return
            del self._parser.entries[self._blocks :]  # that of an attempt that an exception has ended
            block = self._parser.read_block(reader)
        except TruncatedError as error:
            self._wanted = len(self._input) + error.missing
            return
        if block is None:
            verify_content(self._parser, self._hash)
            self._steps.take(lambda: self._end(reader))
        else:
            data = self._decoder.attempt(block)
            self._steps.take(lambda: self._note(block, data, reader))

    def _begin(self, parser: FrameParser, reader: ByteReader) -> None:
        assert parser.header is not None
        self._decoder.open_frame(parser.header)
        self._parser = parser
        self._drop_before(reader)

    def _note(self, block: Block, data: bytes, reader: ByteReader) -> None:
        self._decoder.note(block, data)
        self._hash.update(data)
        self._output += data
        self._blocks += 1
        self._drop_before(reader)

    def _end(self, reader: ByteReader) -> None:
        self._complete = True
        self._drop_before(reader)

    def _drop_before(self, reader: ByteReader) -> None:
        """The input up to where the reader stands has been used."""
        self._input.drop(reader.offset - self._offset)
        self._offset = reader.offset
        self._wanted = 1
