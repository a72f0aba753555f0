"""LEB128 integers and the byte reader that parses them (docs/format.md)."""

from __future__ import annotations

import errno
from typing import NoReturn, Protocol

from llmzip.errors import FormatError, TruncatedError

MAX_VARINT_BYTES = 9


class Readable(Protocol):
    """A binary file open for reading."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; fewer only at the end."""
        ...


def varint(value: int) -> bytes:
    """The shortest encoding of a non-negative integer below 2**63."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def ready(data: bytes | None) -> bytes:
    """What a source has given. Raises BlockingIOError for None: it does not wait for data, and no
    data yet is not the end.
    """
    if data is None:
        raise BlockingIOError(
            errno.EAGAIN, "the source has no data yet; give one that waits for it"
        )
    return data


class ByteReader:
    """Reads fields in order, remembers where it is and what it has read since `mark`."""

    def __init__(self, source: Readable, offset: int = 0) -> None:
        self._source = source
        self.offset = offset
        self.seen = bytearray()

    def mark(self) -> None:
        """Forget what has been read so far."""
        self.seen.clear()

    def read_available(self, size: int) -> bytes:
        """Up to `size` bytes, fewer at the end of the source."""
        data = ready(self._source.read(size))
        if 0 < len(data) < size:  # of a pipe, which may hand out little at a time
            parts = bytearray(data)
            while len(parts) < size and (more := ready(self._source.read(size - len(parts)))):
                parts += more
            data = bytes(parts)
        self.offset += len(data)
        self.seen += data
        return data

    def read(self, size: int, what: str) -> bytes:
        """Exactly `size` bytes. Raises TruncatedError naming `what` otherwise."""
        data = self.read_available(size)
        if len(data) < size:
            self.miss(size - len(data), what)
        return data

    def miss(self, missing: int, what: str) -> NoReturn:
        """Raise TruncatedError naming `what`, which needs at least `missing` bytes more."""
        bytes_more = "1 more byte" if missing == 1 else f"{missing} more bytes"
        raise TruncatedError(
            f"the data ends at byte {self.offset}, inside {what}, "
            f"which needs at least {bytes_more}: the file is truncated; copy or download it again",
            missing,
        )

    def byte(self, what: str) -> int:
        """One byte."""
        return self.read(1, what)[0]

    def varint(self, what: str) -> int:
        """One varint. Raises FormatError where it is longer than needed or than 9 bytes."""
        value = 0
        for i in range(MAX_VARINT_BYTES):
            byte = self.byte(what)
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                if i and not byte:
                    break
                return value
        raise FormatError(
            f"malformed number ({what}) before byte {self.offset}: the file is damaged"
        )
