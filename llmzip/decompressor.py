"""Decompression of one frame that arrives in pieces."""

from __future__ import annotations

import contextlib
import operator

from llmzip.blocks.decoder import BlockDecoder
from llmzip.buffers import Buffer, flat
from llmzip.container.block import Block
from llmzip.container.frame_reader import FrameReader
from llmzip.container.piece_reader import PieceReader
from llmzip.engine_loader import DictionaryLike, EngineLoader, ModelLike
from llmzip.errors import LLMZipError, TruncatedError
from llmzip.exclusive import ExclusiveCalls, NotCopyable
from llmzip.runtime import Runtime
from llmzip.types import Progress


class LLMZipDecompressor(NotCopyable):
    """Decodes one frame that arrives in pieces; holds the blocks in memory
    that it decodes side by side: see `Runtime.jobs`.

    After `eof`, `unused_data` holds what follows the frame: another frame, for a new decompressor,
    or junk. Threads that call the same decompressor wait for each other.
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
        """Prepare to decompress; the model is looked up by the frame's fingerprint when the first
        block needs it.

        model: only to insist on a certain one. dictionary: that of the frames. max_memory: bytes of
        key/value cache and memory allowed. max_output: bytes of output allowed. runtime: how and
        where to compute. progress: called with the uncompressed bytes and tokens done.
        """
        loader = EngineLoader.of(model, dictionary, runtime)
        self._decoder = BlockDecoder(
            loader, max_memory=max_memory, max_output=max_output, progress=progress
        )
        self._frame: FrameReader | None = None
        self._blocks = 0  # of the frame, of which the content is in the output
        self._input = PieceReader()
        self._wanted = 1  # bytes of input without which the next part is not complete
        self._output = bytearray()
        self._complete = False
        self._error: LLMZipError | None = None
        self._calls, self._steps = ExclusiveCalls("decompressor"), ExclusiveCalls("decompressor")

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

        After an exception that has nothing to do with the data (KeyboardInterrupt), call again
        without data: none is lost.

        Raises EOFError after the end, LLMZipError for a damaged frame (the same in each further
        call), TypeError for a str and for a max_length that is no integer, ValueError where an
        exception came at one of the few moments after which going on is impossible.
        """
        piece, limit = flat(data, "decompress"), operator.index(max_length)
        return self._calls.run_repeatable(lambda: self._decompress(piece, limit))

    def _decompress(self, data: memoryview, max_length: int) -> bytes:
        self._steps.check()
        if self.eof:
            raise EOFError("the frame has ended; `unused_data` holds what follows")
        if self._error:
            raise self._error.with_traceback(None)
        self._input.feed(data)
        while (
            not self._complete
            and not 0 <= max_length <= len(self._output)
            and len(self._input) >= self._wanted
        ):
            try:
                self._read_part()
            except LLMZipError as error:
                self._error = error
                raise
        return self._steps.run(lambda: self._take_output(max_length))

    def _take_output(self, max_length: int) -> bytes:
        size = len(self._output) if max_length < 0 else max_length
        out = bytes(self._output[:size])
        del self._output[:size]
        return out

    def _read_part(self) -> None:
        """Parse one header, block or frame end from the input, and drop it there; if it is not
        complete, note what it wants.

        Only the steps change anything: an exception before them leaves all as it was.
        """
        self._input.go_back()
        try:
            if self._frame is None:
                frame = FrameReader(self._input)
                self._steps.run(lambda: self._begin(frame))
                return
            self._frame.go_back(self._blocks)  # where a call was interrupted
            block = self._frame.read_block()
            if block is not None:
                self._look_ahead(self._frame, block)
        except TruncatedError as error:
            self._wanted = len(self._input) + error.missing
            return
        if block is None:
            self._frame.verify_content()
            self._steps.run(self._end)
        else:
            data = self._decoder.attempt(block)
            self._steps.run(lambda: self._note(block, data))

    def _look_ahead(self, frame: FrameReader, first: Block) -> None:
        """Decode the complete blocks of the input that can go side by side with the one that has
        been read; stand behind that one again.
        """
        blocks, behind = [first], self._input.offset
        # What is wrong there is found again when it is its turn.
        with contextlib.suppress(LLMZipError):
            while self._decoder.has_room(blocks) and (block := frame.read_block()) is not None:
                blocks.append(block)
        if self._input.offset != behind:
            self._decoder.decode_ahead(blocks)
            self._input.go_back()
            frame.go_back(self._blocks)
            frame.read_block()

    def _begin(self, frame: FrameReader) -> None:
        self._decoder.open_frame(frame.header)
        self._frame = frame
        self._drop()

    def _note(self, block: Block, data: bytes) -> None:
        assert self._frame is not None
        self._decoder.note(block, data)
        self._frame.add_content(data)
        self._output += data
        self._blocks += 1
        self._drop()

    def _end(self) -> None:
        self._complete = True
        self._drop()

    def _drop(self) -> None:
        """The part that has been read is done with."""
        self._input.drop()
        self._wanted = 1
