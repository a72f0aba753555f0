"""A reader of bytes that arrive in pieces."""

from __future__ import annotations

import io

from llmzip.container.varint import ByteReader


class PieceReader(ByteReader):
    """Reads fields of what has been fed so far. Where that ends inside a part, go back and read the part again later.

    Each byte is moved a few times at most, however small the pieces are and however much waits to be read.
    """

    def __init__(self) -> None:
        super().__init__(io.BytesIO())  # nothing is read there: `read_available` below has the bytes
        self._bytes = bytearray()
        self._start = 0  # the offset of the first byte that is still held

    def __len__(self) -> int:
        """How many bytes wait since the last `drop`."""
        return len(self._bytes)

    def __bytes__(self) -> bytes:
        """These bytes."""
        return bytes(self._bytes)

    def feed(self, data: memoryview) -> None:
        """Put more bytes behind those that wait."""
        self._bytes += data

    def read_available(self, size: int) -> bytes:
        """See `ByteReader.read_available`."""
        begin = self.offset - self._start
        with memoryview(self._bytes) as view:
            data = bytes(view[begin : begin + size])
        self.offset += len(data)
        self.seen += data
        return data

    def go_back(self) -> None:
        """Read from the first byte that waits on."""
        self.offset = self._start

    def drop(self) -> None:
        """What has been read is done with."""
        del self._bytes[: self.offset - self._start]  # a bytearray only moves its beginning
        self._start = self.offset
