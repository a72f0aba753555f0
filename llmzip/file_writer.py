"""The writing half of a compressed file: it outlives the file object that nobody closed, and
finishes what was written.
"""

from __future__ import annotations

import os
import warnings
from typing import BinaryIO

from llmzip.buffers import can_seek, write_all
from llmzip.compressor import LLMZipCompressor
from llmzip.exclusive import ExclusiveCalls

CLOSED = "I/O operation on a closed file"


class FileWriter:
    """Compresses what is written into a file, one call at a time."""

    def __init__(self, file: BinaryIO, compressor: LLMZipCompressor, appends: bool) -> None:
        """appends: whether frames may lie before what is written."""
        self.file = file
        self.owned: BinaryIO | None = None
        """The file, where it is to be closed with this one."""
        self.position = 0
        """How many bytes have been written."""
        self._compressor = compressor
        self._appends = appends
        self._calls = ExclusiveCalls("file")
        self._process = os.getpid()

    def write(self, piece: memoryview) -> None:
        """Compress more data. Raises ValueError after a call that was interrupted."""
        self._calls.run(lambda: self._put(self._compressor.compress(piece), piece.nbytes))

    def flush(self) -> None:
        """End the block, and flush the file below. Raises as `write` does."""
        self._calls.run(self._flush)

    def _flush(self) -> None:
        self._put(self._compressor.flush(LLMZipCompressor.FLUSH_BLOCK))
        if hasattr(self.file, "flush"):
            self.file.flush()

    def finish(self) -> None:
        """End the last frame. Raises as `write` does."""
        if not self._appends_nothing():
            self._calls.run(lambda: self._put(self._compressor.flush()), then=CLOSED)

    def finish_unclosed(self) -> None:
        """End the last frame of a file that is collected as garbage or left at the end of the
        program, and close it.

        That happens anywhere, within a step of the model, too, whose locks and threads the
        interrupted call holds: so what is left is coded without it. What a call left incomplete
        that an exception has ended, or the end of the program, stays so. A forked process leaves
        the file to its parent.
        """
        if os.getpid() != self._process:
            return
        how = "incomplete, since a call did not come to its end"
        try:
            if not (self._calls.broken or self._appends_nothing()):
                self._calls.run(lambda: self._put(self._compressor.flush_without_model()), CLOSED)
                how = "the rest of it was compressed without the model"
        finally:
            if self.owned is not None:
                self.owned.close()
        name = getattr(self.file, "name", None)
        warnings.warn(
            f"a file was not closed: {name!r}, {how}", ResourceWarning, stacklevel=2, source=self
        )

    def _put(self, packed: bytes, size: int = 0) -> None:
        write_all(self.file, packed)
        self.position += size

    def _appends_nothing(self) -> bool:
        """Whether nothing was written behind what is there: no frame without content, then, behind
        which nobody could tell whether a text has begun.
        """
        is_empty = self._appends and self.position == 0
        return is_empty and can_seek(self.file) and self.file.tell() > 0
