"""Long-distance matches (zstd's LDM): repeats are written as matches, another codec codes the
literals between them.

The payload is described in docs/format.md, "Payload of the ldm codec".
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmzip.codecs.base import PayloadCodec
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.codecs.history import History
from llmzip.codecs.match_finder import WINDOW, Match, MatchFinder
from llmzip.codecs.registry import payload_codec
from llmzip.container.block import MAX_LOOKBACK
from llmzip.container.codec_ids import NO_LITERALS, CodecId
from llmzip.container.varint import ByteReader, varint
from llmzip.errors import FormatError, TruncatedError

MIN_MATCH = 16
"""Bytes of the shortest match that the format allows."""

_REPEATED_OFFSET = 0  # written for the offset of the match before


@dataclasses.dataclass(frozen=True)
class LongDistanceCodec(PayloadCodec):
    """Codes long repeats as matches, and the literals between them with another codec."""

    id = CodecId.LONG_DISTANCE
    name = id.label

    inner: PayloadCodec
    """The codec of the literals."""
    min_match: int = WINDOW
    min_match_with_zeros: int = WINDOW
    """Bytes of the shortest match that is made, and of the shortest with a zero byte in it."""

    def __post_init__(self) -> None:
        if self.inner.id is None or self.inner.id.nests:
            raise ValueError(f"codec {self.inner.name!r} cannot code the literals between matches")

    @classmethod
    def create(
        cls,
        *,
        inner: str = "xz",
        min_match: int = WINDOW,
        min_match_with_zeros: int = WINDOW,
        **parameters: Any,
    ) -> LongDistanceCodec:
        """Take `inner`, the name of a codec that blocks can have, and its parameters beside the
        codec's own.
        """
        return cls(payload_codec(inner, **parameters), min_match, min_match_with_zeros)

    def get_config(self) -> dict[str, Any]:
        """See `PayloadCodec.get_config`: the parameters of the inner codec are among its own."""
        lengths = {"min_match": self.min_match, "min_match_with_zeros": self.min_match_with_zeros}
        return {"inner": self.inner.name, **lengths, **self.inner.get_config()}

    def encode(self, data: bytes) -> bytes:
        """See `PayloadCodec.encode`."""
        matches = MatchFinder(History()).find(data, self.min_match, self.min_match_with_zeros)
        literals = literals_of(data, matches)
        assert self.inner.id is not None
        if not literals:
            return write_payload(matches, NO_LITERALS, b"")
        return write_payload(matches, self.inner.id, self.inner.encode(literals))

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `PayloadCodec.decode`."""

        def decode_literals(codec: int, inner_payload: bytes, literals_size: int) -> bytes:
            if codec != self.inner.id:
                raise FormatError(f"the literals have codec {codec} instead of {self.inner.id}")
            return self.inner.decode(inner_payload, literals_size)

        return decode_matches(parse_payload(payload, size), History(), decode_literals)


def literals_of(data: bytes, matches: Sequence[Match]) -> bytes:
    """The bytes outside the matches."""
    parts = []
    position = 0
    for match in matches:
        parts.append(data[position : position + match.literal_length])
        position += match.literal_length + match.match_length
    return b"".join([*parts, data[position:]])


def leading_matches(matches: Sequence[Match], literals_size: int) -> tuple[list[Match], int]:
    """The matches that begin before or right behind the first `literals_size` literals, and the
    size of the block of both.
    """
    size = literals_size
    for i, match in enumerate(matches):
        if match.literal_length > literals_size:
            return list(matches[:i]), size
        literals_size -= match.literal_length
        size += match.match_length
    return list(matches), size


def block_with_matches(
    matches: Sequence[Match], literals: EncodedBlock | None, size: int
) -> EncodedBlock:
    """The block of `size` bytes that consists of matches, at least one, and of the literals, if
    there are any.
    """
    inner, inner_payload = (literals.codec, literals.payload) if literals else (NO_LITERALS, b"")
    position = lookback = 0
    for match in matches:
        position += match.literal_length
        lookback = max(lookback, match.offset - position)
        position += match.match_length
    payload = write_payload(matches, inner, inner_payload)
    return EncodedBlock(
        CodecId.LONG_DISTANCE,
        size,
        payload,
        decoder_bytes=literals.decoder_bytes if literals else 0,
        solid_only=literals is not None and literals.solid_only,
        match_bytes=len(payload) - len(inner_payload),
        lookback=lookback,
        mixer=literals.mixer if literals else None,
        tokens=literals.tokens if literals else 0,
    )


def write_payload(matches: Sequence[Match], inner: int, inner_payload: bytes) -> bytes:
    """The payload; inner: the codec of the literals, of which `inner_payload` is the payload."""
    parts = [bytes([inner]), varint(len(matches))]
    last = _REPEATED_OFFSET
    for match in matches:
        offset = _REPEATED_OFFSET if match.offset == last else match.offset
        parts += varint(match.literal_length), varint(match.match_length), varint(offset)
        last = match.offset
    return b"".join([*parts, inner_payload])


@dataclasses.dataclass(frozen=True)
class ParsedPayload:
    """A payload whose matches are possible; nothing is decoded yet."""

    payload: bytes
    size: int
    """Uncompressed bytes of the block."""
    inner: int
    """The codec of the literals, or `NO_LITERALS`."""
    inner_payload: bytes
    literals_size: int
    lookback: int
    """How many bytes before the block the matches need."""

    @property
    def matches(self) -> Iterator[Match]:
        """The matches; not as a list, which could be many times as large as the block."""
        return _read_matches(ByteReader(io.BytesIO(self.payload)))


def parse_payload(payload: bytes, size: int) -> ParsedPayload:
    """Parse the payload of a block of `size` bytes. Raises FormatError for what docs/format.md does
    not allow.
    """
    reader = ByteReader(io.BytesIO(payload))
    position = matched = lookback = 0
    for match in _read_matches(reader):
        position += match.literal_length
        if (
            match.match_length < MIN_MATCH
            or position + match.match_length > size
            or not 1 <= match.offset <= position + MAX_LOOKBACK
        ):
            raise FormatError(
                f"an impossible match (byte {position} of {size}, length {match.match_length}, "
                f"offset {match.offset}): the file is damaged"
            )
        lookback = max(lookback, match.offset - position)
        position += match.match_length
        matched += match.match_length
    inner, inner_payload = payload[0], payload[reader.offset :]
    has_literals = matched < size
    if (
        inner == CodecId.LONG_DISTANCE
        or (inner != NO_LITERALS) != has_literals
        or (inner_payload and not has_literals)
    ):
        raise FormatError(
            f"matches with impossible literals (codec {inner}, {size - matched} bytes): "
            "the file is damaged"
        )
    return ParsedPayload(payload, size, inner, inner_payload, size - matched, lookback)


def _read_matches(reader: ByteReader) -> Iterator[Match]:
    """From the beginning of a payload; not as a list, which could be many times as large as the
    block.
    """
    what = "a block's matches"
    offset = 0
    try:
        reader.byte(what)
        for _ in range(reader.varint(what)):
            literal_length, match_length, written = (
                reader.varint(what),
                reader.varint(what),
                reader.varint(what),
            )
            offset = offset if written == _REPEATED_OFFSET else written
            yield Match(literal_length, match_length, offset)
    except TruncatedError as error:
        raise FormatError("a block ends inside its matches: the file is damaged") from error


def decode_matches(
    parsed: ParsedPayload, history: History, decode_literals: Callable[[int, bytes, int], bytes]
) -> bytes:
    """The bytes of a block; `decode_literals` gets codec, payload and size of the literals. Raises
    what that raises.

    history: what lies before the block. Raises FormatError where a match begins before it.
    """
    if parsed.lookback > len(history):
        raise FormatError(
            f"a match begins {parsed.lookback} bytes before its block, "
            f"where only {len(history)} are: the file is damaged"
        )
    literals = b""
    if parsed.inner != NO_LITERALS:
        literals = decode_literals(parsed.inner, parsed.inner_payload, parsed.literals_size)
    out = bytearray()
    position = 0  # in the literals
    for match in parsed.matches:
        out += literals[position : position + match.literal_length]
        position += match.literal_length
        start = len(out) - match.offset
        period = b""
        if start < 0:  # it begins before the block
            begin = history.end + start
            period = history.between(begin, min(begin + match.match_length, history.end))
        period += out[max(start, 0) : start + match.match_length]
        out += (period * -(-match.match_length // len(period)))[: match.match_length]
    out += literals[position:]
    return bytes(out)
