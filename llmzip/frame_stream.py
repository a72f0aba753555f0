"""Reads and decodes the frames of a file, block by block."""

from __future__ import annotations

from typing import BinaryIO

from llmzip.block_decoder import BlockDecoder
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
        self._block: Block | None = None  # read, and not yet decoded
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
            if self._block is None:
                self._calls.run(self._read)
            if self._block is None:
                return False
            data = self._decoder.attempt(self._block)
            self._calls.run(lambda: self._note(data))
        except LLMZipError as error:
            self._error = error
            raise
        return True

    def _read(self) -> None:
        """Go on to the next block, if there is one."""
        while self._block is None:
            if self._frame is None:
                self._frame = next(self._frames, None)
                if self._frame is None:
                    return
                self._decoder.open_frame(self._frame.header)
            self._block = self._frame.read_block()
            if self._block is None:
                self._frame.verify_content()
                self.frames += 1
                self.compressed_bytes += self._frame.compressed_size
                self._frame = None

    def _note(self, data: bytes) -> None:
        assert self._block is not None
        assert self._frame is not None
        self._decoder.note(self._block, data)
        self._frame.add_content(data)
        self._block = None
        self.start += len(self.data)
        self.data = data
