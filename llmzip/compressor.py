"""Compression, a block at a time."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterator
from typing import Final

from llmzip import levels
from llmzip.blocks.encoder import BlockEncoder
from llmzip.blocks.local_encoder import KnownTexts
from llmzip.blocks.options import CompressionOptions
from llmzip.buffers import Buffer, flat
from llmzip.codecs.encoded_block import BlockObserver
from llmzip.container.frame_writer import FrameWriter
from llmzip.container.header import FrameHeader
from llmzip.engine_loader import DictionaryLike, EngineLoader, ModelLike
from llmzip.exclusive import ExclusiveCalls, NotCopyable
from llmzip.model.integer_model import IntegerModel
from llmzip.progress import ProgressCounter
from llmzip.runtime import Runtime
from llmzip.types import Progress

_ENDED = "the compressor has been flushed: make a new one"


class LLMZipCompressor(NotCopyable):
    """Turns data that arrives in pieces into one stream of frames; holds the blocks in memory
    that it encodes side by side: see `Runtime.jobs`.

    Threads that call the same compressor wait for each other. After an exception in the middle of a
    call (KeyboardInterrupt, a missing model, an error in `progress`) its stream cannot be
    completed: every further call raises ValueError.

    >>> compressor = LLMZipCompressor()
    >>> packed = compressor.compress(b"To be, ") + compressor.compress(b"or not")
    >>> packed += compressor.flush()
    """

    CONTINUE: Final = 0
    """Mode of `compress`: return the blocks that are full."""
    FLUSH_BLOCK: Final = 1
    """Mode of `compress` and `flush`: end the block; the frame goes on.

    A decoder can then return all data so far.
    """
    FLUSH_FRAME: Final = 2
    """Mode of `compress` and `flush`: end the frame, and with it the stream."""

    def __init__(
        self,
        level: int | None = None,
        *,
        model: ModelLike | None = None,
        dictionary: DictionaryLike | None = None,
        block_size: int | None = None,
        block_lines: int | None = None,
        codec: str | None = None,
        mixing: bool = True,
        solid: bool = False,
        runtime: Runtime | None = None,
        progress: Progress | None = None,
        observer: BlockObserver | None = None,
    ) -> None:
        """Prepare to compress; the model is loaded when the first text arrives.

        level: 1 to 9; more is smaller and slower; None: 6. model: a name, path, hub id or model;
        None: LLMZIP_MODEL or the default. block_size: uncompressed bytes per block; None: the
        level's. block_lines: lines of each block but the last, so that a line's number tells its
        block; None: blocks end wherever they are full. codec: the one that all blocks get, by name
        (docs/format.md); None: the smallest for each. mixing: whether predictions are corrected by
        what has been coded. solid: whether that mixer is carried from block to block, and repeats
        are found over all blocks: smaller, but reading begins at the frame's first block.
        dictionary: a text like the data, which decompression needs too; a `Dictionary` that is kept
        is read only once. runtime: how and where to compute, which changes no byte. progress:
        called with the uncompressed bytes and tokens done. observer: is told what is coded, for
        measurements.

        Raises ValueError for a level, block size or number of lines out of range and for a codec
        that blocks cannot have. With block_lines, compressing raises LLMZipError for lines that do
        not fit into a block.
        """
        options = CompressionOptions(
            level=levels.chosen_level(level),
            block_size=block_size,
            block_lines=block_lines,
            codec=codec,
            mixing=mixing,
            solid=solid,
        )
        self._start(options, EngineLoader.of(model, dictionary, runtime), progress, observer)

    @classmethod
    def with_options(
        cls,
        options: CompressionOptions,
        *,
        model: ModelLike | None = None,
        dictionary: DictionaryLike | None = None,
        runtime: Runtime | None = None,
        progress: Progress | None = None,
        observer: BlockObserver | None = None,
        known: KnownTexts | None = None,
    ) -> LLMZipCompressor:
        """A compressor whose options for blocks are one value, as the command line has them.

        known: what `llmzip.many.encode_together` has made of short contents, of which this may be
        one.
        """
        compressor = cls.__new__(cls)
        loader = EngineLoader.of(model, dictionary, runtime)
        compressor._start(options, loader, progress, observer, known)
        return compressor

    def _start(
        self,
        options: CompressionOptions,
        loader: EngineLoader,
        progress: Progress | None,
        observer: BlockObserver | None,
        known: KnownTexts | None = None,
    ) -> None:
        self._progress_counter = ProgressCounter(progress)
        report = self._progress_counter.report
        self._encoder = BlockEncoder(loader, options, report, observer, known)
        self._observer = observer
        self._pending = bytearray()
        self._frame: FrameWriter | None = None
        self.frames = 0
        """How many frames have been begun."""
        self._calls = ExclusiveCalls("compressor")

    def find_model(self) -> None:
        """Find the model that was named, and the device, before any text arrives.

        Raises an LLMZipError for what is not there.
        """
        loader = self._encoder.loader
        if loader.runtime.device != "cpu":
            loader.for_compression()
        if loader.model is not None:
            self._encoder.loader = dataclasses.replace(loader, model=loader.chosen_model())

    def compress(self, data: Buffer, mode: int = CONTINUE) -> bytes:
        """Take more data; return whole blocks, or what `flush` returns in another mode.

        Raises ValueError after the end of the stream, after an exception, and for an unknown mode;
        TypeError for a str.
        """
        piece = flat(data, "compress")
        _check_mode(mode, self.CONTINUE, self.FLUSH_BLOCK, self.FLUSH_FRAME)
        return self._calls.run(
            lambda: self._compress(piece, mode), then=_ENDED if mode == self.FLUSH_FRAME else ""
        )

    def flush(self, mode: int = FLUSH_FRAME) -> bytes:
        """Return all the rest and end the stream; with FLUSH_BLOCK end the block only.

        After FLUSH_BLOCK, a decoder that is given all bytes so far returns all data so far. A block
        costs 5 to 16 bytes, and the model predicts it from its own text alone (a solid frame
        carries what it has learned), so flush seldom.

        Raises ValueError after the end of the stream, after an exception, and for an unknown mode.
        """
        _check_mode(mode, self.FLUSH_BLOCK, self.FLUSH_FRAME)
        return self.compress(b"", mode)

    def leave_model(self) -> None:
        """Code all that has not been coded yet without the model, at once: no thread, lock or
        callback is waited for. `end_frame` may then be called again and again.
        """
        self._encoder.leave_model()
        self._progress_counter.silence()

    def end_frame(self) -> bytes:
        """What `flush` returns; what is compressed after it goes into a further frame."""
        return self._calls.run(lambda: self._compress(memoryview(b""), self.FLUSH_FRAME))

    def flush_in_parts(self) -> Iterator[bytes]:
        """What `flush` returns, block by block: each is coded when it is asked for, so that who has
        a part of them can keep it.
        """
        while self._pending:
            yield self._calls.run(lambda: self._block_in_turn(self.FLUSH_FRAME, 0))
        yield self.flush()

    def _block_in_turn(self, mode: int, kept: int) -> bytes:
        self._encoder.look_ahead(self._pending, kept)
        if mode == self.CONTINUE and self._encoder.waits:
            return b""
        return self._next_block(mode)

    def _compress(self, data: memoryview, mode: int) -> bytes:
        self._pending += data
        # The last block waits: it may be the only one.
        kept = self._encoder.block_size if mode == self.CONTINUE else 0
        out = []
        while len(self._pending) > kept:
            block = self._block_in_turn(mode, kept)
            if not block:
                break
            out.append(block)
        if mode == self.FLUSH_FRAME:
            if self._frame is None:  # no data at all
                out.append(
                    self._begin_frame(FrameHeader(single_block=False, memory_code=0)).begin()
                )
            out.append(self._end_frame())
        return b"".join(out)

    @property
    def block_size(self) -> int:
        """Uncompressed bytes per block."""
        return self._encoder.block_size

    @property
    def tokens(self) -> int:
        """How many tokens the model has coded so far."""
        return self._progress_counter.tokens

    @property
    def coded_bytes(self) -> int:
        """How many bytes of the data are in blocks that have been returned."""
        return self._progress_counter.bytes

    @property
    def model(self) -> IntegerModel | None:
        """The model, once a block has asked it."""
        return self._encoder.model

    def load_model(self) -> None:
        """Have the model that a block would ask. Raises an LLMZipError where it is not there."""
        self._encoder.load_model()

    def go_on(self, frame: FrameWriter, frames: int, size: int) -> None:
        """Stand behind a block of a stream that a compressor with the same options, model and
        dictionary has begun: what follows is what that one would have returned. Not for solid
        frames.

        frame: that of the block. frames: how many have been begun. size: bytes of the data in all
        blocks.
        """
        self._encoder.begin_frame(frame.header)
        self._frame, self.frames = frame, frames
        self._progress_counter.bytes = size

    def _next_block(self, mode: int) -> bytes:
        """Encode the block at the head of the pending data."""
        data = self._encoder.next_data(self._pending)
        self._progress_counter.begin_block()
        block = self._encoder.encode(data)
        out = b""
        if self._frame is not None and not self._frame.header.fingerprint and block.needs_model:
            out = self._end_frame()  # it names no model, and its header is written: start another
            if block.lookback:
                block = self._encoder.encode(data)  # without what it can no longer reach
        frame = self._frame
        if frame is None:
            only = mode == self.FLUSH_FRAME and block.size == len(self._pending) and not out
            # A text that a flush makes so short that the model does not pay: what follows is to fit
            # into the same frame.
            names_model = mode == self.FLUSH_BLOCK and self._encoder.has_model
            frame = self._begin_frame(self._encoder.header_for(block, only, names_model))
            out += frame.begin()
        data = data[: block.size]
        out += frame.add(block, data)
        self._encoder.note(block, data)
        if self._observer:
            self._observer.block(block)
        del self._pending[: block.size]
        self._progress_counter.report(block.size)
        self._progress_counter.end_block(block.size)
        return out

    def _begin_frame(self, header: FrameHeader) -> FrameWriter:
        self._encoder.begin_frame(header)
        self._frame = FrameWriter(header)
        self.frames += 1
        return self._frame

    def _end_frame(self) -> bytes:
        assert self._frame is not None
        end = self._frame.end()
        self._frame = None
        self._encoder.end_frame()
        return end


def _check_mode(mode: int, *modes: int) -> None:
    if operator.index(mode) not in modes:
        known = ", ".join(map(str, modes))
        raise ValueError(f"mode {mode!r}: modes are {known} (LLMZipCompressor.FLUSH_BLOCK, ...)")
