"""Reading bytes in order (docs/format.md, the first paragraph)."""

from __future__ import annotations

from tests.reference_decoder.errors import DecodeError


class ByteReader:
    """Bytes, and the offset of the next one to read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offset = 0

    @property
    def at_end(self) -> bool:
        return self.offset == len(self.data)

    def read(self, count: int, what: str) -> bytes:
        """The next `count` bytes; `what` names them where they are missing."""
        if self.offset + count > len(self.data):
            raise DecodeError(
                f"byte {len(self.data)}: the data ends inside {what}: the file is cut off"
            )
        self.offset += count
        return self.data[self.offset - count : self.offset]

    def rest(self) -> bytes:
        """All that is left."""
        return self.read(len(self.data) - self.offset, "the rest")

    def byte(self, what: str) -> int:
        return self.read(1, what)[0]

    def varint(self, what: str) -> int:
        """LEB128: 7 bits a byte, low bits first, at most 9 bytes and never more than needed."""
        value = 0
        for i in range(9):
            byte = self.byte(what)
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                if byte == 0 and i > 0:
                    break
                return value
        raise DecodeError(f"byte {self.offset}: {what} is a malformed number")
