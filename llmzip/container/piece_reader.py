"""A reader of bytes that arrive in pieces."""

from __future__ import annotations

import io

from llmzip.container.varint import ByteReader


class PieceReader(ByteReader):
    """Reads fields of what has been fed so far. Where that ends inside a part, go back and read the
    part again later.

    The time is in proportion to the bytes, however small the pieces are and however much is left to
    read.
    """

    def __init__(self) -> None:
        # Nothing is read there: `read_available` below has the bytes.
        super().__init__(io.BytesIO())
        self._bytes = bytearray()
        self._start = 0  # the offset of the first byte that is still held

    def __len__(self) -> int:
        """How many bytes there are from the beginning of the part on."""
        return len(self._bytes)

    def __bytes__(self) -> bytes:
        """These bytes."""
        return bytes(self._bytes)

    def feed(self, data: memoryview) -> None:
        """Append bytes."""
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
        """Go back to the beginning of the part."""
        self.offset = self._start

    def drop(self) -> None:
        """Drop what has been read: the next part begins here."""
        del self._bytes[: self.offset - self._start]  # a bytearray only moves its beginning
        self._start = self.offset
