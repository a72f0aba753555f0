"""Holes of files: zeros that take no room on the disk, as xz and zstd leave them."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator

CELL = 4096
"""The smallest hole, in bytes: the unit of most file systems."""

_ZEROS = bytes(CELL)


def can_have_holes(fd: int) -> bool:
    """Whether what is written to a descriptor from now on makes a regular file longer, so that what
    is skipped there is zeros.
    """
    status = os.fstat(fd)
    return (
        stat.S_ISREG(status.st_mode)
        and not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
        and os.lseek(fd, 0, os.SEEK_CUR) == status.st_size
    )


def parts(data: memoryview, position: int) -> Iterator[tuple[bool, memoryview]]:
    """The data in parts that are, or are not, a hole in a file that gets it at this position."""
    begin = 0
    in_hole = False
    for cell in range(-position % CELL, len(data) - CELL + 1, CELL):
        if (data[cell : cell + CELL] == _ZEROS) is not in_hole:
            if begin < cell:
                yield in_hole, data[begin:cell]
            begin, in_hole = cell, not in_hole
    if in_hole:
        end = begin + (len(data) - begin) // CELL * CELL
        yield True, data[begin:end]
        begin = end
    if begin < len(data):
        yield False, data[begin:]
