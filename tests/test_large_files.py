"""Ten times as much data takes ten times as long, and no more memory; without a model, whose time
would hide what is around it.
"""

from __future__ import annotations

import io
import random
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

import llmzip
from tests.command import folder, run  # noqa: F401 (a fixture)

MIB = 1 << 20
PIECE = random.Random(5).randbytes(MIB)


class Repeated(io.RawIOBase):
    """A long file that takes no memory."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = min(len(buffer), self._left, MIB)
        buffer[:count] = PIECE[:count]
        self._left -= count
        return count


def pack(size: int) -> None:
    with Path("packed.llmz").open("wb") as sink:
        llmzip.compress_stream(Repeated(size), sink, codec="raw", block_size=MIB // 2)


def unpack(size: int) -> None:
    pack(size)
    with Path("packed.llmz").open("rb") as source, Path("/dev/null").open("wb") as sink:
        assert llmzip.decompress_stream(source, sink).uncompressed_bytes == size


def resumed(size: int) -> None:
    Path("long").write_bytes(PIECE[: size % MIB] + PIECE * (size // MIB))
    assert run("-f", "--resume", "--codec", "raw", "--block-size", "512K", "long").exit_code == 0


WAYS = [pack, unpack, resumed]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("work", WAYS)
def test_time_is_in_proportion(work: Callable[[int], None]) -> None:
    def seconds(size: int) -> float:
        begun = time.process_time()
        work(size)
        return time.process_time() - begun

    seconds(MIB)  # imports
    tenth, one, ten = seconds(MIB // 10), seconds(MIB), seconds(10 * MIB)
    # What is done once comes on top, and processes are disturbed: a square would be 100.
    assert one < 20 * tenth + 0.5
    assert ten < 20 * one + 0.5


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("work", [pack, unpack])
def test_memory_is_that_of_a_block(work: Callable[[int], None]) -> None:
    def peak(size: int) -> int:
        tracemalloc.start()
        try:
            work(size)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(MIB)
    assert peak(12 * MIB) < peak(3 * MIB) + MIB // 4
