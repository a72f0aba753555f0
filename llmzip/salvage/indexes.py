"""Indexes anywhere in a file, and what they say of the offsets of blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from llmzip.container.block import MAX_BLOCK_SIZE
from llmzip.container.checks import CHECK_BYTES
from llmzip.container.index import FOOTER_BYTES, INDEX_MAGIC, Entries, index_length, read_index
from llmzip.container.varint import ByteReader
from llmzip.errors import LLMZipError

_CHUNK = 1 << 20
# Bytes of what look like indexes: enough for millions of blocks, and a bound on time.
_MAX_READ = 1 << 26


@dataclasses.dataclass(frozen=True)
class FoundIndex:
    """An index whose check holds."""

    offset: int
    end: int
    entries: Entries


class KnownExtents:
    """Where blocks and ends of frames lie, counted back from the indexes behind them."""

    def __init__(self, indexes: Sequence[FoundIndex]) -> None:
        self.ends: dict[int, tuple[int, Entries]] = {}
        """Offset of a frame's end byte -> end of its index, and what that says."""
        self.blocks: dict[int, tuple[int, int]] = {}
        """Offset of a block -> its end, and its uncompressed bytes."""
        self.firsts: set[int] = set()
        """Those that are their frame's first."""
        for index in indexes:
            offset = index.offset - CHECK_BYTES - 1
            if offset < 0:
                continue
            self.ends[offset] = index.end, index.entries
            for number in range(len(index.entries) - 1, -1, -1):
                coded, size = index.entries[number]
                if coded > offset:
                    break  # what was before is not in this file
                self.blocks[offset - coded] = offset, size
                offset -= coded
                if number == 0:
                    self.firsts.add(offset)
        self.offsets = sorted({*self.ends, *self.blocks})
        """All of these offsets."""


def find_indexes(file: BinaryIO, end: int) -> list[FoundIndex]:
    """All indexes in the first `end` bytes of a file that list blocks which can be."""
    found: list[FoundIndex] = []
    left = _MAX_READ
    for offset in find_in(file, INDEX_MAGIC, FOOTER_BYTES - len(INDEX_MAGIC), end):
        stop = offset + len(INDEX_MAGIC)
        file.seek(stop - FOOTER_BYTES)
        length = index_length(file.read(FOOTER_BYTES))
        if length is None or length > min(stop, left):
            continue
        left -= length
        file.seek(stop - length)
        reader = ByteReader(file, stop - length)
        try:
            entries = read_index(reader)
        except LLMZipError:
            continue
        possible = bool(entries) and all(1 <= size <= MAX_BLOCK_SIZE for _, size in entries)
        if possible and reader.offset == stop:
            found.append(FoundIndex(stop - length, stop, entries))
    return found


def find_in(file: BinaryIO, wanted: bytes, start: int, stop: int) -> Iterator[int]:
    """The offsets in [start, stop) at which these bytes begin."""
    while start < stop:
        file.seek(start)
        size = min(_CHUNK, stop - start)
        data = file.read(size + len(wanted) - 1)
        offset = data.find(wanted)
        while offset >= 0:
            yield start + offset
            offset = data.find(wanted, offset + 1)
        start += size
