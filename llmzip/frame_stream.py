"""Reads and decodes the frames of a file, block by block."""

from __future__ import annotations

from collections import deque
from typing import BinaryIO

from llmzip.blocks.decoder import BlockDecoder
from llmzip.buffers import can_seek
from llmzip.container.block import Block
from llmzip.container.frame_reader import FrameReader, read_frames
from llmzip.errors import LLMZipError
from llmzip.exclusive import ExclusiveCalls


class FrameStream:
    """The decoded blocks of all frames of a file, in order; each frame's content check is verified
    at its end.
    """

    def __init__(self, file: BinaryIO, decoder: BlockDecoder) -> None:
        """Prepare to read; nothing is read yet."""
        self._decoder = decoder
        self._frames = read_frames(file)
        self._frame: FrameReader | None = None
        # A pipe's next block may come only after this one.
        self._reads_ahead = can_seek(file) or decoder.has_pool
        self._waiting: deque[Block] = deque()  # read, and not yet decoded
        self._frame_ends = False  # behind those
        self._failure: Exception | None = None  # of reading further
        self._calls = ExclusiveCalls("reader of frames")
        self._error: LLMZipError | None = None
        self.start = 0
        """The position of the current block in the content of all frames."""
        self.data = b""
        """The content of the current block."""
        self.frames = 0
        """How many frames have been read to their end."""
        self.compressed_bytes = 0
        """How many bytes these frames have."""

    def load(self) -> bool:
        """Make the next block the current one; False after the last frame, where the block stays.

        Raises LLMZipError, and then the same in each further call: TruncatedError for an empty
        file, and so on. After another exception (KeyboardInterrupt, the file's own) the block that
        was being decoded comes next; where it was being read, what has been read is lost, and
        ValueError is raised.
        """
        if self._error:
            raise self._error.with_traceback(None)
        try:
            self._calls.check()
            if not self._waiting or self._decoder.has_pool:
                self._calls.run(self._read)
            if not self._waiting:
                return False
            self._decoder.decode_ahead(list(self._waiting))
            data = self._decoder.attempt(self._waiting[0])
            self._calls.run(lambda: self._note(data))
        except LLMZipError as error:
            self._error = error
            raise
        return True

    def _read(self) -> None:
        """Go on to the next block, if there is one, and to those that are decoded beside it."""
        while not self._waiting:
            if self._frame is None:
                self._frame = next(self._frames, None)
                if self._frame is None:
                    return
                self._decoder.open_frame(self._frame.header)
            self._read_block(self._frame)
            if self._frame_ends:
                self._frame.verify_content()
                self.frames += 1
                self.compressed_bytes += self._frame.compressed_size
                self._frame, self._frame_ends = None, False
        while (
            self._reads_ahead
            and not self._frame_ends
            and self._frame
            and self._decoder.has_room(self._waiting)
        ):
            try:
                self._read_block(self._frame)
            except Exception as error:  # what has been read comes first
                self._failure = error
                return

    def _read_block(self, frame: FrameReader) -> None:
        """Read a block, or the frame's end."""
        if self._failure:
            raise self._failure
        if self._frame_ends:
            return
        block = frame.read_block()
        if block is None:
            self._frame_ends = True
        else:
            self._waiting.append(block)

    def _note(self, data: bytes) -> None:
        assert self._frame is not None
        self._decoder.note(self._waiting.popleft(), data)
        self._frame.add_content(data)
        self.start += len(self.data)
        self.data = data
