"""The writing half of a compressed file: it outlives the file object that nobody closed, and
finishes what was written.
"""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable
from typing import BinaryIO

from llmzip.buffers import Buffer, can_seek, write_all
from llmzip.compressor import LLMZipCompressor
from llmzip.exclusive import ExclusiveCalls, OwnProcess

CLOSED = "I/O operation on a closed file"
_PIECES_BYTES = 1 << 13


class FileWriter:
    """Compresses what is written into a file, one call at a time."""

    def __init__(self, file: BinaryIO, compressor: LLMZipCompressor, appends: bool) -> None:
        """appends: whether frames may lie before what is written."""
        self.file = file
        self.owned: BinaryIO | None = None
        """The file, where it is to be closed with this one."""
        self.position = 0
        """How many bytes have been compressed, or wait for their block."""
        self.pieces = bytearray()
        """What has been written before that in pieces too small to be compressed one by one."""
        self._may_gather = True
        self.is_left = False
        """Whether nobody has closed the file: it is complete, and so after each further piece."""
        self._compressor = compressor
        self._appends = appends
        self._calls = ExclusiveCalls("file")
        self.process = OwnProcess()
        """That which has written last."""

    @property
    def broken(self) -> bool:
        """Whether a call has not come to its end."""
        return self._calls.broken

    def write(self, piece: memoryview) -> None:
        """Compress more data. Raises ValueError after a call that was interrupted."""
        if sys.is_finalizing() and self.process.is_other:
            return  # what stands above it lets go of what is the parent's, too
        self.process.take()
        self._run(lambda: self._take_all(piece) if self.is_left and piece else self._take(piece))

    def _run(self, work: Callable[[], None]) -> None:
        try:
            self._calls.run(work)
        except BaseException:
            self._may_gather = False
            raise

    def gathers(self, piece: bytes) -> bool:
        """Whether a piece has become one of `pieces`; else it is to be written. Calls for each line
        of a text would take ten times as long.
        """
        if not self._may_gather or self.process.is_other:
            return False
        size = len(self.pieces) + len(piece)
        # Threads that print are made to wait between lines.
        if size >= _PIECES_BYTES and (piece.endswith(b"\n") or size >= 8 * _PIECES_BYTES):
            return False
        self.pieces += piece
        return True

    def flush(self) -> None:
        """End the block, and flush the file below. Raises as `write` does."""
        self._run(self._flush)

    def _take(self, piece: Buffer = b"") -> None:
        gathered = bytes(self.pieces)
        del self.pieces[: len(gathered)]  # and not what another thread adds meanwhile
        for data in (gathered, piece):
            self._put(self._compressor.compress(data), len(data))

    def _take_all(self, piece: Buffer = b"") -> None:
        self._take(piece)
        if not self._appends_nothing():
            self._put(self._compressor.end_frame())

    def _flush(self) -> None:
        self._take()
        self._put(self._compressor.flush(LLMZipCompressor.FLUSH_BLOCK))
        if hasattr(self.file, "flush"):
            self.file.flush()

    def finish(self) -> None:
        """End the last frame, unless that has been done. Raises as `write` does."""
        if sys.is_finalizing():
            self._compressor.leave_model()
            if self.process.is_other:
                return
        self._may_gather = False
        self._calls.run_last(self._end, CLOSED)

    def _end(self) -> None:
        if not self.is_left:
            self._take_all()

    def finish_unclosed(self) -> None:
        """End the last frame of a file that is collected as garbage or left at the end of the
        program.

        That happens anywhere, within a step of the model, too, whose locks and threads the
        interrupted call holds: so what is left is coded without it. What a call left incomplete
        that an exception has ended, or the end of the program, stays so. A forked process leaves
        the file to its parent, unless it has written.

        What writes through this one (another library's text, archive or buffer) may come to its own
        end later: each further piece becomes a frame of its own, so that the file is complete
        whenever that ends.
        """
        if self.process.is_other:
            return
        how = "incomplete, since a call did not come to its end"
        try:
            if not self.broken:
                self._may_gather, self.is_left = False, True
                self._compressor.leave_model()
                self._calls.run(self._take_all)
                how = "the rest of it was compressed without the model"
        finally:
            if self.owned is not None and not isinstance(self.owned, io.FileIO):
                self.owned.close()  # while all that it needs is there
        name = getattr(self.file, "name", None)
        warnings.warn(
            f"a file was not closed: {name!r}, {how}", ResourceWarning, stacklevel=2, source=self
        )

    def __del__(self) -> None:
        """Close the file that nobody closed."""
        if self.is_left and isinstance(self.owned, io.FileIO):
            self.owned.close()

    def _put(self, packed: bytes, size: int = 0) -> None:
        write_all(self.file, packed)
        self.position += size

    def _appends_nothing(self) -> bool:
        """Whether nothing was written behind what is there: no frame without content, then, behind
        which nobody could tell whether a text has begun.
        """
        is_empty = self._appends and self.position == 0
        return is_empty and can_seek(self.file) and self.file.tell() > 0
