"""The index behind a frame's blocks, for random access (docs/format.md, "Index")."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Sequence

from llmzip.container.varint import ByteReader, varint
from llmzip.errors import FormatError, IntegrityError, TruncatedError

INDEX_MAGIC = b"\x8cLZi"
FOOTER_BYTES = 8
_MAX_BLOCKS = 1 << 28

Entries = list[tuple[int, int]]
"""Per block: bytes in the file (codec to check), uncompressed bytes."""


def index_bytes(entries: Sequence[tuple[int, int]]) -> bytes:
    """The index with its footer."""
    body = varint(len(entries)) + b"".join(varint(coded) + varint(size) for coded, size in entries)
    body += zlib.crc32(body).to_bytes(4, "little")
    return body + len(body).to_bytes(4, "little") + INDEX_MAGIC


def read_index(reader: ByteReader) -> Entries:
    """Parse an index with its footer. Raises FormatError, TruncatedError or IntegrityError."""
    reader.mark()
    start = reader.offset
    entries = [
        (reader.varint("the index"), reader.varint("the index")) for _ in range(_count(reader))
    ]
    computed = zlib.crc32(reader.seen)
    if int.from_bytes(reader.read(4, "the index"), "little") != computed:
        raise IntegrityError(
            f"index at byte {start}: checksum mismatch: the file is damaged; "
            "copy or download it again"
        )
    length = reader.offset - start
    footer = reader.read(FOOTER_BYTES, "the index")
    if footer != length.to_bytes(4, "little") + INDEX_MAGIC:
        raise FormatError(f"index at byte {start}: malformed footer: the file is damaged")
    return entries


def expect_index(reader: ByteReader, entries: Entries) -> None:
    """Read the index of these blocks, of which the size is known. Raises FormatError,
    TruncatedError or IntegrityError.
    """
    start = reader.offset
    expected = index_bytes(entries)
    found = reader.read_available(len(expected))
    if found == expected:
        return
    if expected.startswith(found):
        reader.miss(len(expected) - len(found), "the index")
    with contextlib.suppress(TruncatedError):
        # Where the index does not agree with itself, this says how.
        read_index(ByteReader(io.BytesIO(found), start))
    raise FormatError(f"index at byte {start}: it does not match the blocks: the file is damaged")


def _count(reader: ByteReader) -> int:
    count = reader.varint("the index")
    if count > _MAX_BLOCKS:
        raise FormatError(
            f"index before byte {reader.offset}: impossible number of blocks: the file is damaged"
        )
    return count


def index_length(footer: bytes) -> int | None:
    """How long, footer included, the index is that ends with these 8 bytes; None if no index ends
    here.
    """
    if len(footer) != FOOTER_BYTES or footer[4:] != INDEX_MAGIC:
        return None
    return int.from_bytes(footer[:4], "little") + FOOTER_BYTES
