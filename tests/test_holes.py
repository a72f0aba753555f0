"""Holes on decompression: the same bytes, on less of the disk where it has holes at all."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip.cli import holes
from llmzip.cli.files import Sink
from tests.command import NOISE, folder, process, run, shell  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("folder")

SPARSE = bytes(1 << 20) + NOISE + bytes(70_000) + b"x" + bytes(1 << 19)
RAW = ["--codec", "zstd", "--block-size", "100K"]


def blocks(path: str | Path) -> int:
    return Path(path).stat().st_blocks * 512


def disk_has_holes() -> bool:
    with Path("probe").open("wb") as file:
        file.truncate(1 << 20)
    return blocks("probe") < 1 << 20


@pytest.fixture
def packed() -> int:
    """A compressed file of zeros; how much of the disk its content takes at most, with holes."""
    Path("zeros").write_bytes(SPARSE)
    assert run(*RAW, "zeros").exit_code == 0
    Path("zeros").unlink()
    return 1 << 17 if disk_has_holes() else 1 << 40


@given(
    pieces=st.lists(
        st.tuples(st.integers(0, 3 * holes.CELL), st.sampled_from([b"\0", b"x"])), max_size=6
    ),
    position=st.integers(0, 3 * holes.CELL),
)
def test_parts_are_the_data(pieces: list[tuple[int, bytes]], position: int) -> None:
    data = b"".join(count * byte for count, byte in pieces)
    found = list(holes.parts(memoryview(data), position))
    assert b"".join(part for _, part in found) == data
    at = position
    for is_hole, part in found:
        assert len(part)
        if is_hole:
            assert not any(part)
            assert at % holes.CELL == len(part) % holes.CELL == 0
        at += len(part)
    kinds = [is_hole for is_hole, _ in found]
    assert all(one is not other for one, other in itertools.pairwise(kinds))
    whole = [
        data[cell : cell + holes.CELL]
        for cell in range(-position % holes.CELL, len(data) - holes.CELL + 1, holes.CELL)
    ]
    zeros = sum(not any(cell) for cell in whole)
    assert sum(len(part) for is_hole, part in found if is_hole) == zeros * holes.CELL


def test_a_file_has_holes(packed: int) -> None:
    for name, option in (("one", []), ("two", ["--sparse"]), ("three", ["--no-sparse"])):
        assert run("-d", *option, "-o", name, "zeros.llmz").exit_code == 0
        assert Path(name).read_bytes() == SPARSE
        assert (blocks(name) <= packed) is (name != "three") or packed > len(SPARSE)
    assert run("repair", "-o", "four", "zeros.llmz").exit_code == 0
    assert Path("four").read_bytes() == SPARSE


def test_standard_output_has_holes_where_it_is_a_new_file(packed: int) -> None:
    shell("{ echo before; llmzip -dc zeros.llmz zeros.llmz; echo behind; } > out")
    assert Path("out").read_bytes() == b"before\n" + SPARSE * 2 + b"behind\n"
    assert blocks("out") <= 2 * packed
    # What stands there already is not in zeros' place.
    Path("old").write_bytes(b"x" * (len(SPARSE) + 5))
    shell("llmzip -dc zeros.llmz 1<> old")
    assert Path("old").read_bytes() == SPARSE + b"xxxxx"
    Path("log").write_bytes(b"log")
    shell("llmzip -dc zeros.llmz >> log")
    assert Path("log").read_bytes() == b"log" + SPARSE
    assert process("-dc", "zeros.llmz").stdout == SPARSE  # a pipe


def test_after_the_content_everything_is_written(tmp_path: Path) -> None:
    fd = os.open("new", os.O_RDWR | os.O_CREAT)
    with Sink(fd, "new") as sink:
        with sink.sparse():
            sink.write(bytes(10_000))
        assert os.fstat(fd).st_size == 10_000
        sink.write(bytes(5))
    assert Path("new").read_bytes() == bytes(10_005)
