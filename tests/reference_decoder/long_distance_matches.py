"""Codec 6 (docs/format.md): what repeats earlier bytes is named by its offset, the rest coded by
another codec."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tests.reference_decoder.byte_reader import ByteReader
from tests.reference_decoder.errors import DecodeError

CODEC = 6
NOTHING_LEFT = 0
"""In the place of the literals' codec where there are none."""
MIN_MATCH = 16
WINDOW = 1 << 26
"""How far matches reach before the block."""


@dataclasses.dataclass(frozen=True)
class Sequence:
    """Literals, then a match."""

    literal_length: int
    match_length: int
    offset: int


@dataclasses.dataclass(frozen=True)
class Matches:
    """A payload before its literals are decoded."""

    inner: int
    """The codec of the literals."""
    sequences: list[Sequence]
    literals_size: int
    literals_payload: bytes


def read_matches(payload: bytes, size: int, before: int) -> Matches:
    """Parse the payload of a block of `size` bytes behind `before` others."""
    reader = ByteReader(payload)
    inner = reader.byte("a block's inner codec")
    position = matched = offset = 0
    sequences = []
    for _ in range(reader.varint("a block's matches")):
        literal_length, length = reader.varint("literals"), reader.varint("a match's length")
        offset = reader.varint("an offset") or offset
        position += literal_length
        if length < MIN_MATCH or position + length > size:
            raise DecodeError(f"a match of {length} bytes at byte {position} of {size}")
        if not 1 <= offset <= position + min(before, WINDOW):
            raise DecodeError(f"a match {offset} bytes back at byte {position}: nothing is there")
        sequences.append(Sequence(literal_length, length, offset))
        position += length
        matched += length
    rest = reader.rest()
    if inner == CODEC or (inner == NOTHING_LEFT) != (matched == size):
        raise DecodeError(f"codec {inner} for {size - matched} bytes of literals")
    if inner == NOTHING_LEFT and rest:
        raise DecodeError("a payload for no literals")
    return Matches(inner, sequences, size - matched, rest)


def decode_matches(
    payload: bytes, size: int, before: bytes, decode: Callable[[int, bytes, int], bytes]
) -> bytes:
    """The `size` bytes of a block behind `before`; `decode` gets the literals' codec, payload and
    size."""
    matches = read_matches(payload, size, len(before))
    literals = b""
    if matches.inner != NOTHING_LEFT:
        literals = decode(matches.inner, matches.literals_payload, matches.literals_size)
    out, used = bytearray(before), 0
    for sequence in matches.sequences:
        out += literals[used : used + sequence.literal_length]
        used += sequence.literal_length
        for _ in range(sequence.match_length):  # it may repeat what it has begun with
            out.append(out[-sequence.offset])
    return bytes(out[len(before) :] + literals[used:])
