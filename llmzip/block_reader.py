"""The content of a compressed file as a raw stream, which can be read from any position on."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from llmzip.blocks.decoder import BlockDecoder
from llmzip.buffers import can_seek
from llmzip.container.seek_table import SeekTable
from llmzip.frame_stream import FrameStream


class BlockReader(io.RawIOBase):
    """The uncompressed content of all frames of a file; one decoded block is kept.

    Reading goes forward from block to block; seeking needs a seekable file.
    """

    def __init__(self, file: BinaryIO, decoder: BlockDecoder) -> None:
        self._file = file
        self._decoder = decoder
        self._origin = file.tell() if can_seek(file) else 0
        self._stream = FrameStream(file, decoder)
        # The table is made once something was sought; the last decoded block's number then tells a
        # solid frame's state.
        self._table: SeekTable | None = None
        self._loaded: int | None = None
        self._block = 0, b""
        self._position = 0

    def readable(self) -> bool:
        """Whether it can be read, as all of them can."""
        return True

    def seekable(self) -> bool:
        """Whether the compressed file can seek."""
        return can_seek(self._file)

    def tell(self) -> int:
        """The position in the content, in bytes."""
        return self._position

    def readinto(self, target: Any, /) -> int:
        """Fill a buffer of bytes as far as one block goes; the number of bytes, 0 at the end.

        Raises LLMZipError.
        """
        if self._piece(1) == b"" and not self._load():
            return 0
        piece = self._piece(len(target))
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _piece(self, size: int) -> bytes:
        """Up to `size` bytes from the current position on, as far as the block at hand has them."""
        start, data = (
            (self._stream.start, self._stream.data) if self._table is None else self._block
        )
        begin = self._position - start
        return data[begin : begin + size] if begin >= 0 else b""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """See `LLMZipFile.seek`."""
        if not self.seekable():
            raise io.UnsupportedOperation("the underlying file cannot seek")
        if self._table is None:
            self._table = SeekTable(self._file, self._origin)
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._table.size}
        if whence not in bases:
            raise ValueError(
                f"whence {whence}: positions count from 0, the beginning, "
                "1, the position, or 2, the end"
            )
        base = bases[whence]
        if base + offset < 0:
            raise ValueError(f"position {base + offset} lies before the beginning")
        self._position = base + offset
        return self._position

    def _load(self) -> bool:
        """Make the block at the current position the one at hand; False at the end."""
        return self._stream.load() if self._table is None else self._load_by(self._table)

    def _load_by(self, table: SeekTable) -> bool:
        """Decode the block that holds the position, in a solid frame also those it builds on."""
        wanted = table.find(self._position)
        if wanted is None:
            return False
        blocks = table.blocks
        begin = wanted
        if blocks[wanted].header.solid:
            while not blocks[begin].is_first and begin - 1 != self._loaded:
                begin -= 1
        if blocks[begin].is_first or not blocks[wanted].header.solid:
            self._decoder.open_frame(blocks[begin].header)
        self._loaded = None  # until all has gone well
        for number in range(begin, wanted + 1):
            self._block = blocks[number].start, self._decoder.decode(table.read(number))
        self._loaded = wanted
        return True
