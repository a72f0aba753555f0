"""Compressed files as file objects, as gzip, bz2 and lzma have them."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, cast

from llmzip import levels
from llmzip.block_map import Place, find_places
from llmzip.codecs.base import Buffer
from llmzip.compressor import LLMZipCompressor
from llmzip.decompressor import BlockDecoder, FrameStream
from llmzip.engines import EngineOptions
from llmzip.model.integer_model import IntegerModel

PathOrFile = str | bytes | os.PathLike[str] | BinaryIO
"""What can be opened: a path, or a binary file that is open already."""


class LLMZipFile(io.BufferedIOBase):
    """A compressed file: reading with random access by block, or writing.

    Reading in order verifies each frame's content check; a read after a seek relies on the blocks' checks.
    """

    def __init__(
        self,
        file: PathOrFile,
        mode: str = "r",
        *,
        level: int = levels.DEFAULT_LEVEL,
        model: str | os.PathLike[str] | IntegerModel | None = None,
        block_size: int | None = None,
        max_memory: int | None = None,
        **engine: Any,
    ) -> None:
        """Open a path, or wrap a binary file, which stays open afterwards.

        level, block_size: for writing, as for `LLMZipCompressor`; max_memory: for reading, as for `LLMZipDecompressor`.
        """
        kind = mode.removesuffix("b")
        if kind not in ("r", "w", "x"):
            raise ValueError(f"mode {mode!r}: modes are 'r', 'w' and 'x', with or without 'b'")
        self._compressor: LLMZipCompressor | None = None
        self._reader: io.BufferedReader | None = None
        self._owned: IO[bytes] | None = None
        if kind != "r":
            self._compressor = LLMZipCompressor(level, model=model, block_size=block_size, **engine)
        if isinstance(file, (str, bytes, os.PathLike)):
            self._owned = self._file = builtins.open(file, kind + "b")  # noqa: PTH123, SIM115 - closed in close()
        else:
            self._file = file
        self._position = 0
        if kind == "r":
            decoder = BlockDecoder(EngineOptions(model=model, **engine), max_memory=max_memory)
            try:
                self._reader = io.BufferedReader(_BlockReader(cast("BinaryIO", self._file), decoder))
            except BaseException:
                self._close_owned()
                raise

    def readable(self) -> bool:
        """Whether the file was opened for reading."""
        return self._reader is not None

    def writable(self) -> bool:
        """Whether the file was opened for writing."""
        return self._compressor is not None

    def seekable(self) -> bool:
        """Whether `seek` works: reading from a seekable file."""
        return self._reader is not None and self._reader.seekable()

    def _source(self) -> io.BufferedReader:
        if self.closed:
            raise ValueError("I/O operation on a closed file")
        if self._reader is None:
            raise io.UnsupportedOperation("the file is open for writing")
        return self._reader

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` uncompressed bytes; all the rest for -1 or None."""
        return self._source().read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes from the block at hand."""
        return self._source().read1(size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line."""
        return self._source().readline(-1 if size is None else size)

    def peek(self, size: int = 0, /) -> bytes:
        """Bytes that come next, without moving."""
        return self._source().peek(size)

    def __iter__(self) -> Iterator[bytes]:
        """Lines."""
        return iter(self.readline, b"")

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to an uncompressed position; only the blocks that are then read get decoded."""
        return self._source().seek(offset, whence)

    def tell(self) -> int:
        """The uncompressed position."""
        return self._position if self._compressor is not None else self._source().tell()

    def write(self, data: Buffer, /) -> int:  # type: ignore[override]
        """Compress more data."""
        if self.closed:
            raise ValueError("I/O operation on a closed file")
        if self._compressor is None:
            raise io.UnsupportedOperation("the file is open for reading")
        size = memoryview(data).nbytes
        self._file.write(self._compressor.compress(data))
        self._position += size
        return size

    def close(self) -> None:
        """Finish the last frame and close what this object opened."""
        if self.closed:
            return
        try:
            if self._compressor is not None:
                self._file.write(self._compressor.flush())
        finally:
            super().close()
            self._close_owned()

    def _close_owned(self) -> None:
        if self._owned is not None:
            self._owned.close()

    def __exit__(self, kind: Any, *rest: Any) -> None:
        """Close; after an exception while writing, do not pretend that the frame is complete."""
        if kind is not None and self._compressor is not None:
            self._compressor = None
        self.close()


class _BlockReader(io.RawIOBase):
    """The uncompressed content of all frames of a file; one decoded block is kept.

    Reading goes forward from block to block; seeking needs a seekable file.
    """

    def __init__(self, file: BinaryIO, decoder: BlockDecoder) -> None:
        self._file = file
        self._decoder = decoder
        self._origin = file.tell() if file.seekable() else 0
        self._stream = FrameStream(file, decoder)
        self._places: list[Place] | None = None
        self._block = b""
        self._block_start = 0
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def tell(self) -> int:
        return self._position

    def readinto(self, target: Any, /) -> int:
        if not self._block_start <= self._position < self._block_start + len(self._block) and not self._load():
            return 0
        start = self._position - self._block_start
        piece = self._block[start : start + len(target)]
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if not self.seekable():
            raise io.UnsupportedOperation("the underlying file cannot seek")
        places = self._find_places()
        end = places[-1].start + places[-1].size if places else 0
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: end}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} lies before the beginning")
        self._position = base + offset
        return self._position

    def _load(self) -> bool:
        """Make the block at the current position the one at hand; False at the end."""
        return self._load_next() if self._places is None else self._load_place()

    def _load_next(self) -> bool:
        """Go forward to the next block."""
        data = self._stream.next_block()
        if data is None:
            return False
        self._block_start += len(self._block)
        self._block = data
        return True

    def _load_place(self) -> bool:
        """Decode the block that holds the current position."""
        for place in self._find_places():
            if place.start <= self._position < place.start + place.size:
                self._decoder.open_frame(place.header)
                self._block = self._decoder.decode(place.read(self._file))
                self._block_start = place.start
                return True
        return False

    def _find_places(self) -> list[Place]:
        """All blocks of the file. From here on blocks are found by position, not in order."""
        if self._places is None:
            self._places = find_places(self._file, self._origin)
        return self._places


def open(
    file: PathOrFile,
    mode: str = "rb",
    *,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    **options: Any,
) -> LLMZipFile | io.TextIOWrapper:
    """Open a compressed file in binary or text mode, as `gzip.open` does.

    mode: 'r', 'w', 'x' with 'b' (the default) or 't'. encoding, errors, newline: text mode only. options: as for `LLMZipFile`.
    """
    if "t" not in mode:
        if (encoding, errors, newline) != (None, None, None):
            raise ValueError("encoding, errors and newline are for text mode only")
        return LLMZipFile(file, mode, **options)
    binary = LLMZipFile(file, mode.replace("t", ""), **options)
    return io.TextIOWrapper(cast("BinaryIO", binary), encoding or "utf-8", errors, newline)
