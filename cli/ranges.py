"""Spans of a file's content, by lines or by bytes: only the blocks that hold them are decoded."""

from __future__ import annotations

import io
from typing import BinaryIO

from llmzip.cli.spans import Span
from llmzip.container.seek_table import SeekTable
from llmzip.errors import LLMZipError

_READ_BYTES = 1 << 18


def copy_bytes(content: io.BufferedIOBase, sink: BinaryIO, span: Span) -> None:
    """Write these bytes of the content, as far as there are such."""
    before = span.first
    if before and content.seekable():
        content.seek(before)
    else:
        while before and (data := content.read(min(before, _READ_BYTES))):
            before -= len(data)
    left = span.count
    while data := content.read(_READ_BYTES if left is None else min(left, _READ_BYTES)):
        sink.write(data)
        if left is not None:
            left -= len(data)


def copy_lines(content: io.BufferedIOBase, sink: BinaryIO, span: Span) -> None:
    """Write these lines of the content, which stands at line 1, as far as there are such."""
    lines = _Lines(sink, span.first - 1, span.count)
    while lines.left != 0 and (data := content.read1(_READ_BYTES)):
        lines.take(data)


def copy_lines_of_blocks(
    content: io.BufferedIOBase, sink: BinaryIO, span: Span, table: SeekTable, block_lines: int
) -> None:
    """Write these lines of a content of which each block holds `block_lines`; of the blocks before
    theirs, only the last ones of frames are decoded. Raises LLMZipError where a block does not hold
    that many.
    """
    blocks = table.blocks

    def read(number: int) -> bytes:
        content.seek(blocks[number].start)
        data = content.read(blocks[number].size)
        ends, is_last = data.count(b"\n"), number + 1 == len(blocks)
        if ends > block_lines or (not is_last and (ends < block_lines or data[-1:] != b"\n")):
            raise LLMZipError(
                f"block {number + 1} holds {ends:,} line ends, not {block_lines:,}: "
                "give the number that the file was compressed with, or leave --block-lines out"
            )
        return data

    first, before = divmod(span.first - 1, block_lines)
    for number in range(min(first, len(blocks) - 1)):
        if blocks[number + 1].is_first:  # where files were joined, a block holds fewer
            read(number)
    # The last block may hold fewer, so it does not tell whether the number is right.
    if 0 < len(blocks) <= first + 1:
        read(max(len(blocks) - 2, 0))
    lines = _Lines(sink, before, span.count)
    for number in range(first, len(blocks)):
        if lines.left == 0:
            return
        lines.take(read(number))


class _Lines:
    """Writes some lines of those that it is given."""

    def __init__(self, sink: BinaryIO, before: int, left: int | None) -> None:
        self._sink = sink
        self._before = before
        self.left = left
        """How many are still to be written; None: all."""

    def take(self, data: bytes) -> None:
        """Go on with the content."""
        ends = data.count(b"\n")
        if ends < self._before:
            self._before -= ends
            return
        if self._before:
            data, ends = data[_behind(data, self._before) :], ends - self._before
            self._before = 0
        if self.left is not None:
            data = data[: _behind(data, self.left)]
            self.left -= min(ends, self.left)
        self._sink.write(data)


def _behind(data: bytes, ends: int) -> int:
    """The position behind so many line ends, or behind the data where it has fewer."""
    position = 0
    for _ in range(ends):
        position = data.find(b"\n", position) + 1
        if not position:
            return len(data)
    return position
