"""Pieces of a file that stand for all of it: spread evenly, from the beginning of a line to the end
of one.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator
from typing import BinaryIO

from llmzip.codecs.probe import Kind, leading_run, looks_like_text

_CUT_SHARE = 4
"""A piece gives up at most one part of so many to begin and to end with a line."""
_UTF8_CONTINUATIONS = 3  # bytes of a character behind its first, at most


@dataclasses.dataclass(frozen=True)
class Sample:
    """Pieces of a file in their order."""

    pieces: tuple[bytes, ...]
    total: int
    """Bytes of the whole file."""
    is_for_model: bool = False
    """Whether a model was asked for, so that it codes all of the file, text or not."""
    block_size: int | None = None
    """Bytes of the file's blocks, at most; None: all of it is no longer than one."""

    @functools.cached_property
    def data(self) -> bytes:
        """The pieces, one behind the other."""
        return b"".join(self.pieces)

    @property
    def is_whole(self) -> bool:
        """Whether the pieces are all of the file."""
        return len(self.data) == self.total

    @functools.cached_property
    def text(self) -> bytes:
        """What of the pieces a model would code."""
        if self.is_for_model:
            return self.data
        if self.is_whole:
            return b"".join(run for kind, run in self._runs() if kind is Kind.TEXT)
        text = b"".join(piece for piece in self.pieces if looks_like_text(piece))
        # Letters that are no language: pieces by themselves are too short to tell.
        return text if leading_run(text)[0] is Kind.TEXT else b""

    def _runs(self) -> Iterator[tuple[Kind, bytes]]:
        """The data as an encoder divides it into blocks: runs of one kind."""
        begin = 0
        while begin < len(self.data):
            stop = len(self.data) if self.block_size is None else begin + self.block_size
            kind, size = leading_run(self.data[begin:stop])
            yield kind, self.data[begin : begin + size]
            begin += size

    @property
    def text_share(self) -> float:
        """Which part of the bytes they are, 0 to 1."""
        return len(self.text) / max(1, len(self.data))


def take_sample(file: BinaryIO, size: int, piece: int) -> Sample:
    """Pieces of about `piece` bytes, `size` bytes together, of what follows in a file that can be
    read anywhere; all of it where it is no longer. The file's position stays.
    """
    begin = file.tell()
    total = file.seek(0, os.SEEK_END) - begin
    try:
        if total <= 0:  # a file's position may lie behind its end
            return Sample((b"",), 0)
        if total <= size:
            file.seek(begin)
            return Sample((file.read(total),), total)
        count = max(1, round(size / piece))
        length = size // count
        gap = (total - length) / max(1, count - 1)
        pieces = []
        for number in range(count):
            start = int(number * gap)
            file.seek(begin + start)
            pieces.append(_cut(file.read(length), start > 0))
        return Sample(tuple(pieces), total)
    finally:
        file.seek(begin)


def _cut(data: bytes, inside: bool) -> bytes:
    """The lines of a piece, the first one only where the file begins with it; where they are too
    long, its characters.
    """
    allowed = len(data) // _CUT_SHARE
    first = data.find(b"\n", 0, allowed) + 1 if inside else 0
    if inside and not first:
        first = _continuations(data[:_UTF8_CONTINUATIONS])
    last = data.rfind(b"\n", len(data) - allowed) + 1
    return data[first : last or len(data) - _unfinished(data)]


def _continuations(data: bytes) -> int:
    """How many bytes at the beginning belong to a character that began before."""
    return next((i for i, byte in enumerate(data) if byte & 0xC0 != 0x80), len(data))


def _unfinished(data: bytes) -> int:
    """How many bytes at the end are the beginning of a character that goes on."""
    for length in range(1, min(_UTF8_CONTINUATIONS, len(data)) + 1):
        byte = data[-length]
        if byte & 0xC0 != 0x80:
            size = 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
            return length if size > length else 0
    return 0
