"""Copies: long repeats are named by their distance, and another codec has only the rest to code (docs/format.md, "copies")."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from llmzip.codecs.base import BlockCodec
from llmzip.codecs.history import REACH, History
from llmzip.codecs.repeats import WINDOW, Copy, RepeatFinder
from llmzip.container.varint import ByteReader, varint
from llmzip.errors import FormatError, TruncatedError

NOTHING_LEFT = 0
"""In the place of the rest's codec where all bytes are copied."""

MIN_LENGTH = 16
"""No copy is shorter."""

_SAME_DISTANCE = 0  # in the place of a distance: that of the copy before


@dataclasses.dataclass(frozen=True)
class CopiesCodec:
    """Codes what repeats earlier bytes as copies, all else with another codec."""

    id: ClassVar[int] = 6
    name: ClassVar[str] = "copies"

    inner: BlockCodec
    """Codes the rest."""
    shortest: int = WINDOW
    shortest_with_zeros: int = WINDOW
    """Bytes of the shortest copy that is made, and of the shortest with a zero byte in it."""

    def encode(self, data: bytes) -> bytes:
        """See `BlockCodec.encode`."""
        copies = RepeatFinder(History()).find(data, self.shortest, self.shortest_with_zeros)
        rest = rest_of(data, copies)
        assert self.inner.id is not None
        return join_payload(copies, self.inner.id if rest else NOTHING_LEFT, self.inner.encode(rest) if rest else b"")

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `BlockCodec.decode`."""

        def decode_rest(number: int, rest: bytes, rest_size: int) -> bytes:
            if number != self.inner.id:
                raise FormatError(f"the rest of a block has codec {number} instead of {self.inner.id}")
            return self.inner.decode(rest, rest_size)

        return decode_copies(payload, size, History(), decode_rest)


def rest_of(data: bytes, copies: Sequence[Copy]) -> bytes:
    """The bytes outside the copies."""
    parts = []
    place = 0
    for copy in copies:
        parts.append(data[place : place + copy.gap])
        place += copy.gap + copy.length
    return b"".join([*parts, data[place:]])


def leading_copies(copies: Sequence[Copy], rest: int) -> tuple[list[Copy], int]:
    """The copies that begin before or right behind the first `rest` bytes of the rest, and the size of the block of both."""
    size = rest
    for i, copy in enumerate(copies):
        if copy.gap > rest:
            return list(copies[:i]), size
        rest -= copy.gap
        size += copy.length
    return list(copies), size


def join_payload(copies: Sequence[Copy], inner: int, payload: bytes) -> bytes:
    """The payload; `inner` is the codec of the rest, and `payload` its payload."""
    parts = [bytes([inner]), varint(len(copies))]
    last = _SAME_DISTANCE
    for copy in copies:
        shown = _SAME_DISTANCE if copy.distance == last else copy.distance
        parts += varint(copy.gap), varint(copy.length), varint(shown)
        last = copy.distance
    return b"".join([*parts, payload])


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a payload says before anything is decoded."""

    inner: int
    """The codec of the rest."""
    rest_size: int
    rest_payload: bytes
    reach: int
    """How many bytes before its block the copies need."""


def read_layout(payload: bytes, size: int) -> Layout:
    """Parse the payload of a block of `size` bytes. Raises FormatError for what docs/format.md does not allow."""
    reader = ByteReader(io.BytesIO(payload))
    place = copied = reach = 0
    for copy in _read_copies(reader):
        place += copy.gap
        if copy.length < MIN_LENGTH or place + copy.length > size or not 1 <= copy.distance <= place + REACH:
            raise FormatError(
                f"an impossible copy (byte {place} of {size}, length {copy.length}, distance {copy.distance}): "
                "the file is damaged"
            )
        reach = max(reach, copy.distance - place)
        place += copy.length
        copied += copy.length
    inner, rest = payload[0], payload[reader.offset :]
    if inner == CopiesCodec.id or (inner == NOTHING_LEFT) != (copied == size) or (inner == NOTHING_LEFT and rest):
        raise FormatError(f"copies with an impossible rest (codec {inner}, {size - copied} bytes): the file is damaged")
    return Layout(inner, size - copied, rest, reach)


def _read_copies(reader: ByteReader) -> Iterator[Copy]:
    """From the beginning of a payload; not as a list, which could be many times as large as the block."""
    what = "a block's copies"
    distance = 0
    try:
        reader.byte(what)
        for _ in range(reader.varint(what)):
            gap, length, shown = reader.varint(what), reader.varint(what), reader.varint(what)
            distance = distance if shown == _SAME_DISTANCE else shown
            yield Copy(gap, length, distance)
    except TruncatedError as error:
        raise FormatError("a block ends inside its copies: the file is damaged") from error


def decode_copies(
    payload: bytes, size: int, history: History, decode_rest: Callable[[int, bytes, int], bytes]
) -> bytes:
    """The `size` bytes of a payload; `decode_rest` gets the rest's codec, payload and size. Raises what that raises."""
    layout = read_layout(payload, size)
    if layout.reach > len(history):
        raise FormatError(
            f"a copy begins {layout.reach} bytes before its block, where only {len(history)} are: the file is damaged"
        )
    rest = b""
    if layout.inner != NOTHING_LEFT:
        rest = decode_rest(layout.inner, layout.rest_payload, layout.rest_size)
    out = bytearray()
    place = 0
    for copy in _read_copies(ByteReader(io.BytesIO(payload))):
        out += rest[place : place + copy.gap]
        place += copy.gap
        start = len(out) - copy.distance
        period = b""
        if start < 0:  # it begins before the block
            begin = history.end + start
            period = history.between(begin, min(begin + copy.length, history.end))
        period += out[max(start, 0) : start + copy.length]
        out += (period * -(-copy.length // len(period)))[: copy.length]
    out += rest[place:]
    return bytes(out)
