"""Compressed files as file objects, as gzip, bz2 and lzma have them."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal, cast, overload

from llmzip import levels
from llmzip.block_map import BlockMap
from llmzip.codecs.base import Buffer, flat
from llmzip.compressor import LLMZipCompressor
from llmzip.decompressor import BlockDecoder, FrameStream
from llmzip.engine_loader import DictionaryLike, EngineLoader, ModelLike
from llmzip.runtime import DEFAULT_RUNTIME, Runtime
from llmzip.streams import write_all
from llmzip.turns import NotCopied, Turns
from llmzip.types import Progress

PathOrFile = str | bytes | os.PathLike[str] | BinaryIO
"""What can be opened: a path, or a binary file that is open already."""

_CLOSED = "I/O operation on a closed file"


class LLMZipFile(NotCopied, io.BufferedIOBase):
    """A compressed file: reading with random access by block, or writing.

    Reading in order verifies each frame's content check; a read after a seek relies on the blocks' checks. Threads that use
    the same file wait for each other.

    Opening reads nothing. Where a read raises an LLMZipError, the position is that of the first byte that cannot be had, and
    reading on raises the same error; `seek` leads away from it. After an exception while writing the file is not complete,
    and nothing makes it so: `write` and `close` raise ValueError.
    """

    def __init__(
        self,
        file: PathOrFile,
        mode: str = "r",
        *,
        level: int = levels.DEFAULT_LEVEL,
        model: ModelLike | None = None,
        dictionary: DictionaryLike | None = None,
        block_size: int | None = None,
        codec: str | None = None,
        mixing: bool = True,
        solid: bool = False,
        max_memory: int | None = None,
        max_output: int | None = None,
        runtime: Runtime | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Open a path, or wrap a binary file, which stays open afterwards.

        model, dictionary, runtime, progress: as for `LLMZipCompressor`. level, block_size, codec, mixing, solid: as there, for
        writing. max_memory, max_output: for reading, as for `LLMZipDecompressor`.
        """
        kind = mode.removesuffix("b")
        if kind not in ("r", "w", "x"):
            raise ValueError(f"mode {mode!r}: modes are 'r', 'w' and 'x', with or without 'b'")
        self._compressor: LLMZipCompressor | None = None
        self._reader: io.BufferedReader | None = None
        self._file: BinaryIO
        self._owned: BinaryIO | None = None
        self._position = 0
        self._turns = Turns("file")  # for writing; a BufferedReader sees to it itself
        if kind == "r":
            loader = EngineLoader(model, dictionary, runtime or DEFAULT_RUNTIME)
            decoder = BlockDecoder(loader, max_memory=max_memory, max_output=max_output, progress=progress)
        else:
            self._compressor = LLMZipCompressor(
                level,
                model=model,
                dictionary=dictionary,
                block_size=block_size,
                codec=codec,
                mixing=mixing,
                solid=solid,
                runtime=runtime,
                progress=progress,
            )
            self._compressor.find_model()  # what goes wrong goes wrong before there is a file
        if isinstance(file, (str, bytes, os.PathLike)):
            self._owned = self._file = cast("BinaryIO", builtins.open(file, kind + "b"))  # noqa: PTH123, SIM115
        else:
            self._file = file
        if kind == "r":
            self._reader = io.BufferedReader(_BlockReader(self._file, decoder))

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
            raise ValueError(_CLOSED)
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
            raise ValueError(_CLOSED)
        if self._compressor is None:
            raise io.UnsupportedOperation("the file is open for reading")
        piece = flat(data)
        self._turns.take(lambda: self._write(piece))
        return piece.nbytes

    def _write(self, data: memoryview) -> None:
        assert self._compressor is not None
        write_all(self._file, self._compressor.compress(data))
        self._position += data.nbytes

    def _finish(self) -> None:
        assert self._compressor is not None
        write_all(self._file, self._compressor.flush())

    def close(self) -> None:
        """Finish the last frame and close what this object opened. Raises ValueError where a write was interrupted."""
        if self.closed:
            return
        try:
            if self._compressor is not None:
                self._turns.take(self._finish, then=_CLOSED)
        finally:
            super().close()
            if self._owned is not None:
                self._owned.close()

    def abandon(self) -> None:
        """Close what this object opened, and leave the last frame incomplete."""
        self._compressor = None
        self.close()

    def __exit__(self, kind: Any, *rest: Any) -> None:
        """Close; after an exception while writing, do not pretend that the frame is complete."""
        if kind is not None:
            self.abandon()
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
        # The map is made once something was sought; the last decoded block's number then tells a solid frame's state.
        self._map: BlockMap | None = None
        self._loaded: int | None = None
        self._block = 0, b""
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def tell(self) -> int:
        return self._position

    def readinto(self, target: Any, /) -> int:
        if self._piece(1) == b"" and not self._load():
            return 0
        piece = self._piece(len(target))
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _piece(self, size: int) -> bytes:
        """Up to `size` bytes from the current position on, as far as the block at hand has them."""
        start, data = (self._stream.start, self._stream.data) if self._map is None else self._block
        place = self._position - start
        return data[place : place + size] if place >= 0 else b""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if not self.seekable():
            raise io.UnsupportedOperation("the underlying file cannot seek")
        if self._map is None:
            self._map = BlockMap(self._file, self._origin)
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._map.size}[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} lies before the beginning")
        self._position = base + offset
        return self._position

    def _load(self) -> bool:
        """Make the block at the current position the one at hand; False at the end."""
        return self._stream.load() if self._map is None else self._load_by(self._map)

    def _load_by(self, blocks: BlockMap) -> bool:
        """Decode the block that holds the current position, and in a solid frame those that it builds on."""
        wanted = blocks.find(self._position)
        if wanted is None:
            return False
        places = blocks.places
        begin = wanted
        if places[wanted].header.solid:
            while not places[begin].first and begin - 1 != self._loaded:
                begin -= 1
        if places[begin].first or not places[wanted].header.solid:
            self._decoder.open_frame(places[begin].header)
        self._loaded = None  # until all has gone well
        for number in range(begin, wanted + 1):
            self._block = places[number].start, self._decoder.decode(blocks.read(number))
        self._loaded = wanted
        return True


class _TextFile(io.TextIOWrapper):
    """Text on a compressed file."""

    def __exit__(self, kind: Any, *rest: Any) -> None:
        """As of `LLMZipFile`."""
        if kind is not None:
            cast("LLMZipFile", self.buffer).abandon()
        super().__exit__(kind, *rest)


BinaryMode = Literal["r", "w", "x", "rb", "wb", "xb"]
TextMode = Literal["rt", "wt", "xt"]


@overload
def open(
    file: PathOrFile,
    mode: BinaryMode = ...,
    *,
    encoding: None = ...,
    errors: None = ...,
    newline: None = ...,
    level: int = ...,
    model: ModelLike | None = ...,
    dictionary: DictionaryLike | None = ...,
    block_size: int | None = ...,
    codec: str | None = ...,
    mixing: bool = ...,
    solid: bool = ...,
    max_memory: int | None = ...,
    max_output: int | None = ...,
    runtime: Runtime | None = ...,
    progress: Progress | None = ...,
) -> LLMZipFile: ...


@overload
def open(
    file: PathOrFile,
    mode: TextMode,
    *,
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
    level: int = ...,
    model: ModelLike | None = ...,
    dictionary: DictionaryLike | None = ...,
    block_size: int | None = ...,
    codec: str | None = ...,
    mixing: bool = ...,
    solid: bool = ...,
    max_memory: int | None = ...,
    max_output: int | None = ...,
    runtime: Runtime | None = ...,
    progress: Progress | None = ...,
) -> io.TextIOWrapper: ...


@overload
def open(
    file: PathOrFile,
    mode: str,
    *,
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
    level: int = ...,
    model: ModelLike | None = ...,
    dictionary: DictionaryLike | None = ...,
    block_size: int | None = ...,
    codec: str | None = ...,
    mixing: bool = ...,
    solid: bool = ...,
    max_memory: int | None = ...,
    max_output: int | None = ...,
    runtime: Runtime | None = ...,
    progress: Progress | None = ...,
) -> LLMZipFile | io.TextIOWrapper: ...


def open(
    file: PathOrFile,
    mode: str = "rb",
    *,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    level: int = levels.DEFAULT_LEVEL,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    block_size: int | None = None,
    codec: str | None = None,
    mixing: bool = True,
    solid: bool = False,
    max_memory: int | None = None,
    max_output: int | None = None,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> LLMZipFile | io.TextIOWrapper:
    """Open a compressed file in binary or text mode, as `gzip.open` does.

    mode: 'r', 'w', 'x' with 'b' (the default) or 't'. encoding, errors, newline: text mode only. The others: as for `LLMZipFile`.
    """
    if "t" not in mode and (encoding, errors, newline) != (None, None, None):
        raise ValueError("encoding, errors and newline are for text mode only")
    binary = LLMZipFile(
        file,
        mode.replace("t", ""),
        level=level,
        model=model,
        dictionary=dictionary,
        block_size=block_size,
        codec=codec,
        mixing=mixing,
        solid=solid,
        max_memory=max_memory,
        max_output=max_output,
        runtime=runtime,
        progress=progress,
    )
    if "t" not in mode:
        return binary
    return _TextFile(cast("BinaryIO", binary), encoding or "utf-8", errors, newline)
