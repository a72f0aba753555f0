"""Blocks at unknown positions: every offset at which a block's check holds, in time linear in the
bytes searched.

A CRC-32 is linear, so those of all candidates follow from the running CRC of the bytes at their
ends: with R(i) that of the first i bytes, the CRC of bytes a … b − 1 is R(b) ⊕ R(a)·x^(8(b − a))
modulo CRC-32's polynomial.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from llmzip.container.block import MAX_BLOCK_SIZE, MAX_EXPANSION
from llmzip.container.checks import CHECK_BYTES
from llmzip.container.codec_ids import CodecId

_FIRST_CHUNK, _CHUNK = 1 << 12, 1 << 22  # the next block is often near
_BATCH = 1 << 14  # candidates at once, which a processor's cache holds
_SIZE_BYTES = 4  # of a varint up to the largest block size
_HEAD_BYTES = 1 + 2 * _SIZE_BYTES
_POLYNOMIAL = np.uint32(0xEDB88320)
_ONE = np.uint32(1 << 31)  # the polynomial 1, bits reflected as in zlib

Words = npt.NDArray[np.uint32]
Positions = npt.NDArray[np.int64]


def block_offsets(file: BinaryIO, start: int, stop: int, end: int) -> Iterator[int]:
    """The offsets in [start, stop) at which a block seems to begin whose check holds; the file has
    `end` bytes.

    The check is that of a block that is not its frame's first. What is found is right but for one
    in 2^32; the caller reads it again with the parser of all blocks.
    """
    begin, size = start, _FIRST_CHUNK
    while begin < stop:
        file.seek(begin)
        size = min(size, stop - begin)
        data = file.read(size + _HEAD_BYTES)
        starts, ends = _candidates(np.frombuffer(data, np.uint8), size, end - begin)
        if len(starts):
            data += file.read(max(0, int(ends.max()) + CHECK_BYTES - len(data)))
            yield from (begin + position for position in _checked(data, starts, ends))
        begin += size
        size = min(2 * size, _CHUNK)


def _candidates(data: npt.NDArray[np.uint8], size: int, limit: int) -> tuple[Positions, Positions]:
    """Where a plausible block begins among the first `size` bytes, and where its payload ends,
    within `limit` bytes.
    """
    starts = np.flatnonzero(np.isin(data[:size], list(CodecId)))
    sizes, positions = _varints(data, starts + 1)
    coded, positions = _varints(data, positions)
    ends = positions + coded
    plausible = (sizes >= 1) & (sizes <= MAX_BLOCK_SIZE) & (coded <= sizes + MAX_EXPANSION)
    plausible &= ends + CHECK_BYTES <= limit
    return starts[plausible], ends[plausible]


def _varints(data: npt.NDArray[np.uint8], positions: Positions) -> tuple[Positions, Positions]:
    """The numbers at these positions and the positions behind them; beyond the largest block size
    where they do not end.
    """
    values = np.zeros(len(positions), np.int64)
    going = np.ones(len(positions), bool)
    for i in range(_SIZE_BYTES):
        bytes_ = data[np.minimum(positions, len(data) - 1)].astype(np.int64)
        values |= np.where(going, (bytes_ & 0x7F) << (7 * i), 0)
        positions = positions + going
        going &= bytes_ > 0x7F
    return np.where(going, 2 * MAX_BLOCK_SIZE, values), positions


def _checked(data: bytes, starts: Positions, ends: Positions) -> list[int]:
    """The starts of those candidates whose check holds."""
    inside = ends + CHECK_BYTES <= len(data)  # a file that shrinks meanwhile has less than it had
    starts, ends = starts[inside], ends[inside]
    points = np.unique(np.concatenate([starts, ends]))
    view = memoryview(data)
    running = np.zeros(len(points), np.uint32)
    crc, position = 0, 0
    for i, point in enumerate(points.tolist()):
        crc = zlib.crc32(view[position:point], crc)
        running[i], position = crc, point
    before, behind = (running[np.searchsorted(points, at)] for at in (starts, ends))
    stated = (
        np.frombuffer(data, np.uint8)[ends[:, None] + np.arange(CHECK_BYTES)]
        .copy()
        .view("<u4")[:, 0]
    )
    wanted = behind ^ stated.astype(np.uint32)
    found: list[int] = []
    for part in (slice(i, i + _BATCH) for i in range(0, len(starts), _BATCH)):
        holds = _product(before[part], _power(ends[part] - starts[part])) == wanted[part]
        found += starts[part][holds].tolist()
    return found


def combined(first: Words, second: int, length: int) -> Words:
    """The CRC-32 of two byte strings in a row from those of both; `length` is the second's, `first`
    are many.
    """
    return _product(first, _power(np.full(len(first), length, np.int64))) ^ np.uint32(second)


def _product(a: Words, b: Words) -> Words:
    """a·b modulo CRC-32's polynomial, element by element."""
    product = np.zeros_like(b)
    for bit in range(31, -1, -1):
        product ^= b * (a >> np.uint32(bit) & np.uint32(1))
        b = (b >> np.uint32(1)) ^ _POLYNOMIAL * (b & np.uint32(1))
    return product


def _power(lengths: Positions) -> Words:
    """x^(8n) modulo the polynomial, for each n."""
    result = np.full(len(lengths), _ONE, np.uint32)
    square = np.array([_ONE >> np.uint32(8)], np.uint32)
    for bit in range(int(lengths.max(initial=0)).bit_length()):
        result = np.where(
            lengths >> bit & 1, _product(np.broadcast_to(square, result.shape), result), result
        )
        square = _product(square, square)
    return result
