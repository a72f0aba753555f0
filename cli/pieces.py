"""How the work of a file is spread over it, before it is done: a megabyte of numbers or source code
has more tokens than one of prose, up to half more.
"""

from __future__ import annotations

import itertools
import os
import re
from bisect import bisect_right
from typing import BinaryIO

_PIECE = re.compile(rb" ?[A-Za-z]{1,8}|[0-9]| ?[^\sA-Za-z0-9]{1,2}|\s+")
"""About a token of the default model (docs/notes/speed.md, "Progress")."""
_SAMPLE_BYTES = 1024
_SAMPLES = 128
_SHORTEST = 16 * _SAMPLE_BYTES
_BINARY_BYTES_PER_PIECE = 64
"""What has a NUL byte is coded without the model, as a rule."""
_UNITS = 1 << 24


class Work:
    """The work of a file by the bytes that are done."""

    total = _UNITS
    """All of it, in units of its own."""

    def __init__(self, size: int, pieces: list[int]) -> None:
        """pieces: of as many parts of equal size as there are, 1 at least."""
        self._size = size
        self._sums = [0, *itertools.accumulate(pieces)]
        parts = len(pieces)
        self._edges = [size * i // parts for i in range(parts + 1)]

    def done(self, count: int) -> int:
        """What so many bytes took, in units."""
        if count >= self._size:
            return _UNITS
        part = bisect_right(self._edges, count) - 1
        begin, end = self._edges[part : part + 2]
        before, after = self._sums[part : part + 2]
        sum_here = before + (after - before) * (count - begin) / (end - begin)
        return int(_UNITS * sum_here / self._sums[-1])


def sampled_work(file: BinaryIO, size: int | None) -> Work | None:
    """The work of the next `size` bytes of a regular file, by samples of them; None where the file
    is too short for it, cannot be read elsewhere, or its size is not known.
    """
    if size is None or size < _SHORTEST:
        return None
    parts = min(_SAMPLES, size // _SAMPLE_BYTES)
    try:
        start = file.tell()
        descriptor = file.fileno()
        samples = [
            os.pread(descriptor, _SAMPLE_BYTES, start + size * (2 * i + 1) // (2 * parts))
            for i in range(parts)
        ]
    except (OSError, AttributeError):
        return None
    return Work(size, [_pieces(sample) for sample in samples])


def _pieces(sample: bytes) -> int:
    """1 at least."""
    if b"\0" in sample:
        return 1 + len(sample) // _BINARY_BYTES_PER_PIECE
    return 1 + len(_PIECE.findall(sample))
