"""Compressed files as file objects, as gzip, bz2 and lzma have them."""

from __future__ import annotations

import io
import os
import sys
import weakref
from typing import Any, BinaryIO

from llmzip import levels
from llmzip.block_reader import BlockReader
from llmzip.blocks.decoder import BlockDecoder
from llmzip.buffers import Buffer, flat
from llmzip.compressor import LLMZipCompressor
from llmzip.engine_loader import DictionaryLike, EngineLoader, ModelLike
from llmzip.exclusive import NotCopyable, leaves_incomplete
from llmzip.file_options import check_file, check_options, opened
from llmzip.file_writer import CLOSED, FileWriter
from llmzip.runtime import Runtime
from llmzip.types import Progress

PathOrFile = str | bytes | os.PathLike[str] | BinaryIO
"""What can be opened: a path, or a binary file that is open already."""

_MODES = ("r", "w", "x", "a", "rb", "wb", "xb", "ab")


class LLMZipFile(NotCopyable, io.BufferedIOBase):
    """A compressed file: reading with random access by block, or writing.

    Reading in order verifies each frame's content check; a read after a seek relies on the blocks'
    checks. Threads that use the same file wait for each other.

    Opening reads nothing. Where a read raises an LLMZipError, the position is that of the first
    byte that cannot be had, and reading on raises the same error; `seek` leads away from it. After
    an exception while writing the file is not complete, and nothing makes it so: `write` and
    `close` raise ValueError.

    Close what you write, by `with` for example. Where the last reference goes, the file is closed;
    one that is collected in a circle of references, or left at the end of the program, is
    completed without the model (larger, that is), with a ResourceWarning, and so is what is
    written through it after that.
    """

    # Where opening fails, the collector of garbage closes what there is: nothing.
    _writer: FileWriter | None = None
    _reader: io.BufferedReader | None = None
    _owned: BinaryIO | None = None

    def __init__(
        self,
        file: PathOrFile,
        mode: str = "r",
        *,
        level: int | None = None,
        compresslevel: int | None = None,
        model: ModelLike | None = None,
        dictionary: DictionaryLike | None = None,
        block_size: int | None = None,
        block_lines: int | None = None,
        codec: str | None = None,
        mixing: bool = True,
        solid: bool = False,
        max_memory: int | None = None,
        max_output: int | None = None,
        runtime: Runtime | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Open a path, or wrap a binary file, which needs only `read`, or `write`, and stays open.

        mode: "r" reads, "w" writes a new file, "x" one that must not exist yet, "a" a further frame
        at the end of one; with or without "b". model, dictionary, runtime, progress: as for
        `LLMZipCompressor`. level (or compresslevel, as gzip calls it), block_size, block_lines,
        codec, mixing, solid: as there, for writing only. max_memory, max_output: as for
        `LLMZipDecompressor`, for reading only.

        Raises ValueError for another mode; TypeError for what is neither path nor binary file, and
        for an option that the mode has no use for.
        """
        if mode not in _MODES:
            raise ValueError(f"mode {mode!r}: modes are 'r', 'w', 'x' and 'a', with or without 'b'")
        self._kind = kind = mode[0]
        check_options(
            kind == "r",
            of_writing={
                "level": level,
                "compresslevel": compresslevel,
                "block_size": block_size,
                "block_lines": block_lines,
                "codec": codec,
                "mixing": None if mixing else mixing,
                "solid": solid or None,
            },
            of_reading={"max_memory": max_memory, "max_output": max_output},
        )
        check_file(file, "read" if kind == "r" else "write")
        if kind == "r":
            loader = EngineLoader.of(model, dictionary, runtime)
            decoder = BlockDecoder(
                loader, max_memory=max_memory, max_output=max_output, progress=progress
            )
            self._file = self._open(file, kind)
            self._reader = io.BufferedReader(BlockReader(self._file, decoder))
        else:
            compressor = LLMZipCompressor(
                levels.chosen_level(level, compresslevel),
                model=model,
                dictionary=dictionary,
                block_size=block_size,
                block_lines=block_lines,
                codec=codec,
                mixing=mixing,
                solid=solid,
                runtime=runtime,
                progress=progress,
            )
            compressor.find_model()  # what goes wrong goes wrong before there is a file
            self._file = self._open(file, kind)
            self._writer = FileWriter(self._file, compressor, appends=kind == "a")
            self._writer.owned = self._owned
            self._unclosed = weakref.finalize(self, self._writer.finish_unclosed)

    def _open(self, file: PathOrFile, kind: str) -> BinaryIO:
        """The compressed file; one that is opened here is owned."""
        if not isinstance(file, (str, bytes, os.PathLike)):
            return file
        self._owned = opened(file, kind + "b")
        return self._owned

    @property
    def name(self) -> Any:
        """The path, or the name of the file that was given.

        Raises AttributeError where that has none.
        """
        return self._check_open().name

    @property
    def mode(self) -> str:
        """The mode: "rb" for reading, "wb" for writing of any kind."""
        return "wb" if self._reader is None else "rb"

    def fileno(self) -> int:
        """The descriptor of the compressed file.

        Raises OSError or AttributeError where it has none.
        """
        return self._check_open().fileno()

    def readable(self) -> bool:
        """Whether the file was opened for reading."""
        self._check_open()
        return self._reader is not None

    def writable(self) -> bool:
        """Whether the file was opened for writing."""
        self._check_open()
        return self._reader is None

    def seekable(self) -> bool:
        """Whether `seek` works: reading from a seekable file."""
        self._check_open()
        return self._reader is not None and self._reader.seekable()

    def _check_open(self) -> BinaryIO:
        if self.closed:
            raise ValueError(CLOSED)
        return self._file

    def _source(self) -> io.BufferedReader:
        reader = self._reader
        if reader is None or self.closed:
            self._check_open()
            raise io.UnsupportedOperation("the file is open for writing")
        return reader

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` uncompressed bytes, fewer only at the end; all the rest for -1 or None."""
        return self._source().read(size)

    def read1(self, size: int = -1) -> bytes:
        """Up to `size` bytes, as many as one more block has; -1: some."""
        return self._source().read1(size)

    def readinto(self, buffer: Any) -> int:
        """Fill a writable buffer; the number of bytes, less than its size only at the end."""
        return self._source().readinto(buffer)

    def readinto1(self, buffer: Any) -> int:
        """The same without decoding more than one block."""
        return self._source().readinto1(buffer)

    def readline(self, size: int | None = -1) -> bytes:
        """The next line, at most `size` bytes of it (-1 or None: all)."""
        return self._source().readline(-1 if size is None else size)

    def __next__(self) -> bytes:
        """The next line; there is none at the end."""
        line = self._source().readline()
        if not line:
            raise StopIteration
        return line

    def peek(self, size: int = 0) -> bytes:
        """Bytes that come next, at least one before the end, without moving."""
        return self._source().peek(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an uncompressed position; only the blocks that are then read get decoded.

        whence: offset counts from the beginning (0), the position (1) or the end (2). Raises
        ValueError for another, and for a position before the beginning; UnsupportedOperation where
        the file is written, or cannot seek.
        """
        return self._source().seek(offset, whence)

    def tell(self) -> int:
        """The uncompressed position; when writing, the bytes written through this object."""
        self._check_open()
        if (writer := self._writer) is not None:
            return writer.position + len(writer.pieces)
        return self._source().tell()

    def write(self, data: Buffer) -> int:  # type: ignore[override]
        """Compress more data; the number of its bytes."""
        writer = self._target()
        piece = flat(data, "write")
        writer.write(piece)
        return piece.nbytes

    def flush(self) -> None:
        """Make all that has been written readable: end the block, and flush the file below.

        Each flush costs compression: see `LLMZipCompressor.flush`. When reading, nothing happens.
        """
        super().flush()  # raises ValueError where the file is closed
        if self._writer is not None:
            self._writer.flush()

    def _target(self) -> FileWriter:
        self._check_open()
        if self._writer is None:
            raise io.UnsupportedOperation("the file is open for reading")
        return self._writer

    def close(self) -> None:
        """Finish the last frame and close what this object opened.

        Raises ValueError where a write was interrupted.
        """
        if self.closed:
            return
        writer = self._writer
        try:
            if writer is not None:
                writer.finish()
        finally:
            self._writer = None
            super().close()
            if self._owned is not None:
                self._owned.close()
            if writer is not None:
                self._unclosed.detach()

    def abandon(self) -> None:
        """Close what this object opened, and leave the last frame incomplete."""
        if self._writer is not None:
            self._unclosed.detach()
            self._writer = None
        self.close()

    def __exit__(self, kind: Any, error: BaseException | None, *rest: Any) -> None:
        """Close; after an exception while writing, do not pretend that the frame is complete.

        A generator that is closed and a program that ends with success have not failed.
        """
        self.abandon_after(error)
        self.close()

    def abandon_after(self, error: BaseException | None) -> None:
        """Abandon what a `with` block has left incomplete by ending so."""
        if self._writer is not None and leaves_incomplete(error, self._writer.process):
            self.abandon()

    def __del__(self) -> None:
        """Close, but neither what is another process's nor what an exception has interrupted; and
        what nobody closed not before what may still write through it.

        An error of closing is told, which the base class does from Python 3.13 on only.
        """
        writer = self._writer
        if writer is None:
            super().__del__()
        elif writer.process.is_other or writer.broken:
            self.abandon()
        elif not writer.is_left and sys.is_finalizing():
            writer.finish_unclosed()
        elif not writer.is_left:
            self.close()
