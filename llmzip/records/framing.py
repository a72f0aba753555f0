"""How records lie in a file: in lines, ended by NULs, or each behind its length."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from llmzip.container.varint import ByteReader, varint
from llmzip.errors import FormatError, LimitError

MAX_RECORD_BYTES = 1 << 26
"""The longest record there may be: it bounds what one length can claim."""

FRAMINGS = {"records": 0, "lines": 1, "null": 2, "lengths": 3}
"""Name -> the byte in an archive's header; "records": they came one by one."""
_ENDS = {"lines": b"\n", "null": b"\0"}
_CHUNK = 1 << 20


class Splitter:
    """The records of a file in order; exact: `Joiner` gives the same bytes again."""

    def __init__(self, file: BinaryIO, framing: str) -> None:
        """framing: "lines", "null" or "lengths"."""
        self._file, self._framing = file, framing
        self.is_open = False
        """Whether the last record lacks its end, as the last line of many files does."""

    def __iter__(self) -> Iterator[bytes]:
        return self._by_ends(_ENDS[self._framing]) if self._framing in _ENDS else self._by_lengths()

    def _by_ends(self, end: bytes) -> Iterator[bytes]:
        held = b""
        while chunk := self._file.read(_CHUNK):
            *records, held = (held + chunk).split(end)
            yield from records
            _check_length(len(held))
        if held:
            self.is_open = True
            yield held

    def _by_lengths(self) -> Iterator[bytes]:
        file = self._file
        while first := file.read(1):
            reader = ByteReader(_Behind(first, file))
            length = reader.varint("a record's length")
            _check_length(length)
            yield reader.read(length, "a record")


class _Behind:
    """A file behind bytes that have been read of it."""

    def __init__(self, first: bytes, file: BinaryIO) -> None:
        self._first, self._file = first, file

    def read(self, size: int, /) -> bytes:
        if size and self._first:
            first, self._first = self._first, b""
            return first
        return self._file.read(size)


def _check_length(length: int) -> None:
    if length > MAX_RECORD_BYTES:
        raise LimitError(
            f"a record of {length} bytes or more: {MAX_RECORD_BYTES} are the most; "
            "is the file split as it should be (--null, --lengths)?"
        )


def joined(framing: str, records: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces of a file with these records, each with its end."""
    ended: Callable[[bytes], bytes] = (
        (lambda record: record + _ENDS[framing])
        if framing in _ENDS
        else (lambda record: varint(len(record)) + record)
    )
    return map(ended, records)


def split(data: bytes, framing: str = "lines") -> list[bytes]:
    r"""The records of a text.

    >>> split(b"one\ntwo\n")
    [b'one', b'two']
    """
    if framing not in FRAMINGS or framing == "records":
        raise ValueError(f"framing {framing!r}: lines, null or lengths")
    return list(Splitter(io.BytesIO(data), framing))


def join(records: Iterable[bytes], framing: str = "lines") -> bytes:
    r"""The text of records, each with its end. Raises FormatError where a record has an end in it.

    >>> join([b"one", b"two"])
    b'one\ntwo\n'
    """
    if framing not in FRAMINGS or framing == "records":
        raise ValueError(f"framing {framing!r}: lines, null or lengths")
    held = list(records)
    end = _ENDS.get(framing)
    if end and any(end in record for record in held):
        raise FormatError(f"a record has {end!r} in it: join them by lengths")
    return b"".join(joined(framing, held))
