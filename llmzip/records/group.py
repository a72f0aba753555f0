"""A group of records: their lengths, their payloads, and what checks both (docs/format.md, "Records
archives").
"""

from __future__ import annotations

import dataclasses
import itertools
import zlib
from collections.abc import Sequence

import numpy as np
import xxhash

from llmzip.coding.adaptive import SEEN_WEIGHT, AdaptiveModel, decode_symbols, encode_symbols
from llmzip.coding.range_coder import RangeDecoder, RangeEncoder
from llmzip.container.varint import ByteReader, varint
from llmzip.errors import FormatError, IntegrityError

MAX_RECORDS = 1 << 16
"""Of a group."""
MAX_PAYLOAD_BYTES = (1 << 26) + 64

_LONG = 255
"""A length of so many bytes or more: what is beyond it follows."""
_WEIGHT = SEEN_WEIGHT >> 6
"""Of each length before any was seen."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Records that lie together in an archive."""

    payloads: tuple[bytes, ...]
    """Of each record, its check included."""
    content_check: bytes
    """Of the records, [4]."""
    is_sound: bool = True
    """Whether the payloads are those that were written."""

    def to_bytes(self) -> bytes:
        """The group as it is written."""
        head = _head([len(payload) for payload in self.payloads])
        body = b"".join(self.payloads) + self.content_check
        return head + _crc(head) + body + _crc(body)

    @classmethod
    def read(cls, reader: ByteReader) -> Group | None:
        """The next group; None where there is none any more. Raises FormatError, TruncatedError, or
        IntegrityError where its lengths are damaged.
        """
        lengths = read_lengths(reader)
        if lengths is None:
            return None
        reader.mark()
        payloads = tuple(reader.read(length, "a record") for length in lengths)
        content_check = reader.read(4, "a group's content check")
        computed = _crc(reader.seen)
        return cls(payloads, content_check, reader.read(4, "a group's check") == computed)


def read_lengths(reader: ByteReader) -> list[int] | None:
    """The lengths of the next group's payloads; None where there is no group any more."""
    reader.mark()
    start = reader.offset
    count = reader.varint("a group's records")
    if not count:
        return None
    size = reader.varint("a group's lengths")
    if count > MAX_RECORDS or size > 4 * count + 16:
        raise FormatError(f"group at byte {start}: impossible numbers: the file is damaged")
    coded = reader.read(size, "a group's lengths")
    found = decode_symbols(RangeDecoder(coded), _model(), count).tolist()
    lengths = [
        length + reader.varint("a record's length") if length == _LONG else length
        for length in found
    ]
    computed = _crc(reader.seen)
    if reader.read(4, "a group's check") != computed:
        raise IntegrityError(
            f"group at byte {start}: checksum mismatch: the file is damaged; "
            "copy or download it again"
        )
    if max(lengths) > MAX_PAYLOAD_BYTES:
        raise FormatError(f"group at byte {start}: impossible length: the file is damaged")
    return lengths


def skip(reader: ByteReader, lengths: Sequence[int]) -> None:
    """Go past the payloads of a group."""
    for length in [*lengths, 8]:
        reader.read(length, "a group")
    reader.mark()


def check_of_content(records: Sequence[object]) -> bytes:
    """The content check of a group with these records."""
    state = xxhash.xxh3_64()
    for record in records:
        assert isinstance(record, bytes)
        state.update(record)
    return state.intdigest().to_bytes(8, "little")[:4]


def _head(lengths: Sequence[int]) -> bytes:
    coder = RangeEncoder()
    encode_symbols(coder, _model(), np.minimum(np.array(lengths, np.int64), _LONG))
    coded = coder.finish()
    beyond = (varint(length - _LONG) for length in lengths if length >= _LONG)
    return b"".join(itertools.chain([varint(len(lengths)), varint(len(coded)), coded], beyond))


def _model() -> AdaptiveModel:
    return AdaptiveModel(np.full(_LONG + 1, _WEIGHT))


def _crc(data: bytes | bytearray) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")
