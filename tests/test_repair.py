"""Damaged files: what is sound comes back, at its place, and what is missing is named."""

from __future__ import annotations

import dataclasses
import io
import pathlib
import random
import time
from typing import Any

import pytest

import llmzip
from llmzip.container.block import MAX_BLOCK_SIZE, Block
from llmzip.container.header import FrameHeader
from llmzip.container.index import index_bytes
from llmzip.container.seek_table import BlockLocation, SeekTable
from llmzip.container.varint import varint
from llmzip.errors import LimitError, LLMZipError, TruncatedError
from llmzip.model.integer_model import IntegerModel
from llmzip.salvage import part_reader
from llmzip.salvage.report import RepairReport
from llmzip.salvage.search import block_offsets
from tests import golden
from tests.conftest import blocks_of

BLOCK, LAST = 320, 218
TEXT = (golden.TEXT * 9)[: 9 * BLOCK + LAST]  # ten blocks
NOISE = random.Random(1)


@dataclasses.dataclass(frozen=True)
class Sample:
    """A sound file and where its parts lie."""

    data: bytes
    text: bytes
    blocks: list[BlockLocation]

    @property
    def index(self) -> int:
        return len(self.data) - 8 - int.from_bytes(self.data[-8:-4], "little")

    def end(self, block: int) -> int:
        return self.blocks[block + 1].offset if block + 1 < len(self.blocks) else self.index - 5


small_blocks = blocks_of(BLOCK)  # their text is decoded often


@pytest.fixture(scope="module")
def ten(tiny_model: IntegerModel) -> Sample:
    """Ten blocks of text, with an index."""
    data = llmzip.compress(TEXT, model=tiny_model, level=1, block_size=BLOCK)
    return Sample(data, TEXT, SeekTable(io.BytesIO(data), 0).blocks)


@pytest.fixture(scope="module")
def stored() -> Sample:
    """Ten blocks that need no model."""
    text = random.Random(2).randbytes(9 * BLOCK + LAST)
    data = llmzip.compress(text, block_size=BLOCK)
    return Sample(data, text, SeekTable(io.BytesIO(data), 0).blocks)


def repair(
    data: bytes, model: IntegerModel | None = None, **options: Any
) -> tuple[bytes, RepairReport]:
    sink = io.BytesIO()
    report = llmzip.repair_stream(io.BytesIO(data), sink, model=model, **options)  # type: ignore[arg-type]
    return sink.getvalue(), report


def damaged(data: bytes, *places: int) -> bytes:
    out = bytearray(data)
    for place in places:
        out[place] ^= 0x55
    return bytes(out)


def without(text: bytes, *blocks: int) -> bytes:
    """The text with zeros in the place of these blocks."""
    out = bytearray(text)
    for block in blocks:
        size = len(out[block * BLOCK : (block + 1) * BLOCK])
        out[block * BLOCK : block * BLOCK + size] = bytes(size)
    return bytes(out)


def test_a_sound_file_is_decompressed(tiny_model: IntegerModel, ten: Sample) -> None:
    out, report = repair(ten.data, tiny_model)
    assert out == TEXT
    assert report.is_sound and report.is_complete and not report.damages
    assert (report.blocks, report.frames, report.recovered_bytes) == (10, 1, len(TEXT))


@pytest.mark.parametrize("block", [0, 1, 5, 9])
def test_one_of_ten_blocks_destroyed_nine_back(
    tiny_model: IntegerModel, ten: Sample, block: int
) -> None:
    start, end = ten.blocks[block].offset, ten.end(block)
    for data in (
        damaged(ten.data, start + 20),
        ten.data[:start] + bytes(end - start) + ten.data[end:],
    ):
        out, report = repair(data, tiny_model)
        assert out == without(TEXT, block)
        assert (report.blocks, report.is_complete) == (9, False)
        (hole,) = report.holes
        assert (hole.start, hole.size) == (block * BLOCK, ten.blocks[block].size)
        assert (hole.offset, hole.end) == (start, end)
        joined, _ = repair(data, tiny_model, join=True)
        assert joined == TEXT[: hole.start] + TEXT[hole.start + ten.blocks[block].size :]


def test_the_index_destroyed_ten_back(tiny_model: IntegerModel, ten: Sample) -> None:
    for data in (
        ten.data[: ten.index],
        ten.data[: ten.index] + bytes(len(ten.data) - ten.index),
        *(
            damaged(ten.data, place)
            for place in (
                ten.index,
                ten.index + 9,
                len(ten.data) - 9,
                len(ten.data) - 6,
                len(ten.data) - 1,
            )
        ),
    ):
        out, report = repair(data, tiny_model)
        assert out == TEXT
        assert report.is_complete and not report.is_sound and report.blocks == 10


def test_index_and_block_destroyed_nine_back(tiny_model: IntegerModel, ten: Sample) -> None:
    start = ten.blocks[4].offset
    # Codec, payload, check: the block's sizes tell what is missing.
    for place in (start, start + 30, ten.end(4) - 1):
        out, report = repair(damaged(ten.data[: ten.index], place), tiny_model)
        assert out == without(TEXT, 4)
        assert report.blocks == 9
    # Not so without the sizes.
    out, report = repair(damaged(ten.data[: ten.index], start + 3), tiny_model)
    assert out == TEXT[: 4 * BLOCK] + TEXT[5 * BLOCK :]
    assert report.blocks == 9
    assert report.holes[0].size is None


@pytest.mark.parametrize("block", [0, 4, 9])
def test_every_byte_of_a_block(stored: Sample, block: int) -> None:
    """Codec, size, coded size, payload and check."""
    start, end = stored.blocks[block].offset, stored.end(block)
    for place in [*range(start, start + 8), (start + end) // 2, *range(end - 4, end)]:
        out, report = repair(damaged(stored.data, place))
        assert out == without(stored.text, block)
        assert [(hole.start, hole.size) for hole in report.holes] == [
            (block * BLOCK, stored.blocks[block].size)
        ]


def test_every_byte_of_the_header_and_the_end(tiny_model: IntegerModel, ten: Sample) -> None:
    for place in [*range(0, ten.blocks[0].offset, 2), ten.index - 5]:
        out, report = repair(damaged(ten.data, place), tiny_model)
        assert out == TEXT
        assert report.is_complete and not report.is_sound
    # The content check, which nothing else vouches for.
    for place in (ten.index - 4, ten.index - 1):
        out, report = repair(damaged(ten.data, place), tiny_model)
        assert out == TEXT
        assert not report.is_complete and not report.holes


def test_header_and_first_block_destroyed(
    cache_with_tiny_model: pathlib.Path, tiny_model: IntegerModel, ten: Sample
) -> None:
    data = bytes(ten.end(0)) + ten.data[ten.end(0) :]
    for model in (tiny_model, None):  # named, or the one that is installed
        out, report = repair(data, model)
        assert out == without(TEXT, 0)
        assert any("a guess" in damage.reason for damage in report.damages)


@pytest.mark.parametrize("version", golden.OF_VERSIONS)
def test_a_lost_header_of_an_earlier_version(tiny_model: IntegerModel, version: int) -> None:
    """Its blocks are mixed by the first version, which nothing says any more."""
    data = golden.frame_path("blocks", golden.OF_VERSIONS[version]).read_bytes()
    second = SeekTable(io.BytesIO(data), 0).blocks[1]
    out, _ = repair(bytes(second.offset) + data[second.offset :], tiny_model)
    assert out[second.start :] == golden.CASES["blocks"][0][second.start :]


def test_a_lost_head(cache_with_tiny_model: pathlib.Path, ten: Sample) -> None:
    first, third = ten.blocks[0].offset, ten.blocks[3].offset
    for cut in (1, 4, 8, first):
        out, report = repair(ten.data[cut:])
        assert out == TEXT and report.is_complete
    for cut in (first + 1, ten.blocks[1].offset):
        out, report = repair(ten.data[cut:])
        assert out == without(TEXT, 0)
    out, report = repair(ten.data[third:])
    assert out == without(TEXT, 0, 1, 2)
    out, report = repair(ten.data[third : ten.index - 5])  # no index either
    assert out == TEXT[3 * BLOCK :]


def test_truncation_at_every_boundary(tiny_model: IntegerModel, stored: Sample) -> None:
    for block in range(10):
        start, end = stored.blocks[block].offset, stored.end(block)
        for cut in (start, start + 1, start + 3, start + 9, end - 4, end - 1):
            out, report = repair(stored.data[:cut])
            kept = block * BLOCK
            assert out == stored.text[:kept] + bytes(len(out) - kept)
            assert report.blocks == block
            assert report.holes[-1].size is None and not report.is_complete
    for cut in range(stored.index - 4, stored.index):
        out, report = repair(stored.data[:cut])
        assert out == stored.text and not report.verified
    for cut in range(stored.index, len(stored.data)):
        out, report = repair(stored.data[:cut])
        assert out == stored.text and report.is_complete


def test_bytes_cut_out_and_put_in(tiny_model: IntegerModel, ten: Sample) -> None:
    place = ten.blocks[4].offset
    for data in (
        ten.data[: place + 3] + ten.data[place + 20 :],
        ten.data[:place] + ten.data[ten.end(4) :],
        ten.data[: place + 30] + NOISE.randbytes(5000) + ten.data[place + 30 :],
    ):
        out, report = repair(data, tiny_model)
        assert out == without(TEXT, 4)
        assert report.blocks == 9


def test_two_frames_and_what_lies_between(
    tiny_model: IntegerModel, ten: Sample, stored: Sample
) -> None:
    both = damaged(ten.data, 3) + damaged(stored.data, stored.blocks[2].offset + 50)
    out, report = repair(both, tiny_model)
    assert out == TEXT + without(stored.text, 2)
    assert report.frames == 2
    for junk, complete in ((b"junk" * 50, False), (bytes(512), True)):
        for data in (
            ten.data + junk + stored.data,
            junk + ten.data + stored.data,
            ten.data + stored.data + junk,
        ):
            out, report = repair(data, tiny_model)
            assert out == TEXT + stored.text
            assert report.is_complete is complete and not report.is_sound


def test_what_was_added_between_blocks_is_told(tiny_model: IntegerModel, ten: Sample) -> None:
    place = ten.blocks[4].offset
    out, report = repair(ten.data[:place] + b"added here" + ten.data[place:], tiny_model)
    assert out == TEXT
    assert report.is_complete and not report.is_sound
    assert [(damage.offset, damage.end, damage.size) for damage in report.damages] == [
        (place, place + 10, 0)
    ]


def test_a_frame_inside_another(tiny_model: IntegerModel, ten: Sample, stored: Sample) -> None:
    middle = stored.blocks[5].offset
    out, report = repair(stored.data[:middle] + ten.data + stored.data[middle:], tiny_model)
    assert out == stored.text + TEXT
    assert report.blocks == 20 and not report.holes


def test_blocks_of_several_files(stored: Sample) -> None:
    text = random.Random(3).randbytes(4000)
    other = llmzip.compress(text, block_size=BLOCK + 9)
    second, third = SeekTable(io.BytesIO(other), 0).blocks[1:3]
    place = stored.blocks[5].offset
    out, report = repair(
        stored.data[:place] + other[second.offset : third.offset] + stored.data[place:]
    )
    assert out == stored.text + text[second.start : third.start]
    assert report.blocks == 11


def test_a_file_in_a_damaged_block_is_not_taken_for_one(stored: Sample) -> None:
    inner = stored.data
    text = NOISE.randbytes(BLOCK) + inner + NOISE.randbytes(50_000)
    outer = llmzip.compress(text, codec="raw", block_size=1 << 15)
    block = SeekTable(io.BytesIO(outer), 0).blocks[0]
    out, report = repair(damaged(outer, block.offset + 10))
    assert out == bytes(block.size) + text[block.size :]
    assert len(report.holes) == 1


def test_solid_frames_give_what_does_not_build_on_what_is_missing(tiny_model: IntegerModel) -> None:
    text = TEXT[: 4 * BLOCK] + random.Random(4).randbytes(BLOCK) + TEXT[: 2 * BLOCK]
    data = llmzip.compress(text, model=tiny_model, level=1, block_size=BLOCK, solid=True)
    places = SeekTable(io.BytesIO(data), 0).blocks
    out, report = repair(damaged(data, places[2].offset + 9), tiny_model)
    assert out[: places[2].start] == text[: places[2].start]
    assert text[4 * BLOCK : 5 * BLOCK] == out[4 * BLOCK : 5 * BLOCK]  # stored: it builds on nothing
    assert len(out) == len(text)
    assert sum("builds on those before it" in hole.reason for hole in report.holes) >= 2


def test_short_frames(tiny_model: IntegerModel) -> None:
    text = golden.TEXT
    data = llmzip.compress(text, model=tiny_model)
    for place in range(9):
        out, report = repair(damaged(data, place), tiny_model)
        assert out == text and report.is_complete
    for cut in range(1, 5):
        out, report = repair(data[cut:], tiny_model)
        assert out == text
    out, report = repair(damaged(data, 40), tiny_model)
    assert out == bytes(len(text)) and report.holes[0].size == len(text)
    out, report = repair(data[:-1], tiny_model)
    assert out == text and not report.is_complete


def test_frames_with_a_dictionary(tiny_model: IntegerModel) -> None:
    dictionary = golden.TEXT[:600]
    data = llmzip.compress(TEXT, model=tiny_model, level=1, block_size=BLOCK, dictionary=dictionary)
    places = SeekTable(io.BytesIO(data), 0).blocks
    for broken in (damaged(data, places[3].offset + 9), damaged(data, 10)):
        out, report = repair(broken, tiny_model, dictionary=dictionary)
        assert out in (TEXT, without(TEXT, 3))
    out, report = repair(data, tiny_model)
    assert report.blocks == 0 and "was not given" in report.holes[0].reason


def test_empty_and_junk() -> None:
    with pytest.raises(TruncatedError, match="empty"):
        repair(b"")
    for junk in (
        b"\x00" * 100,
        b"junk" * 100,
        NOISE.randbytes(200_000),
        b"\x8cLZ",
        b"\x8cLZi" * 30,
    ):
        out, report = repair(junk)
        assert out == b"" and report.blocks == 0


def test_a_file_of_zeros_is_not_complete() -> None:
    out, report = repair(bytes(5000))
    assert (out, report.is_complete) == (b"", False)
    assert [(hole.offset, hole.end, hole.size) for hole in report.holes] == [(0, 5000, None)]


def test_an_empty_frame() -> None:
    data = llmzip.compress(b"")
    assert repair(data)[1].is_sound
    assert not repair(data[:-1])[1].is_complete


def test_huge_claims_stay_within_limits(tiny_model: IntegerModel, ten: Sample) -> None:
    claims = index_bytes([(10, MAX_BLOCK_SIZE)] * 1000)
    data = FrameHeader(False, 0).to_bytes() + bytes(10 * 1000 + 5) + claims
    with pytest.raises(LimitError, match="exceeds the limit"):
        repair(data, max_output=1 << 30)
    impossible = index_bytes([(10, 1 << 62)] * 3)
    assert repair(FrameHeader(False, 0).to_bytes() + bytes(35) + impossible)[1].recovered_bytes == 0
    _, report = repair(ten.data, tiny_model, max_memory=100)
    assert report.blocks == 0 and "limit" in report.holes[0].reason
    lost = bytes(ten.end(0)) + ten.data[ten.end(0) :]
    _, report = repair(lost, tiny_model, max_memory=100)
    assert report.blocks == 0


def test_a_pipe_is_copied(stored: Sample) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    sink = io.BytesIO()
    report = llmzip.repair_stream(Pipe(damaged(stored.data, 500)), sink)
    assert report.blocks == 9 and len(sink.getvalue()) == len(stored.text)


def test_sparse_holes(stored: Sample, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out"
    for block in (0, 9):
        with path.open("wb") as sink:
            source = io.BytesIO(damaged(stored.data, stored.blocks[block].offset + 20))
            llmzip.repair_stream(source, sink, sparse=True)
        assert path.read_bytes() == without(stored.text, block)


def test_random_damage_never_fails(tiny_model: IntegerModel, stored: Sample) -> None:
    """Whatever is done to a file, what comes back are true blocks."""
    source = random.Random(5)
    blocks = {stored.text[i : i + BLOCK] for i in range(0, len(stored.text), BLOCK)}
    for _ in range(100):
        data = bytearray(stored.data)
        for _ in range(source.randint(1, 6)):
            place, size = source.randrange(len(data)), source.choice((1, 1, 4, 50, LAST))
            kind = source.randrange(3)
            if kind == 0:
                data[place : place + size] = source.randbytes(len(data[place : place + size]))
            elif kind == 1:
                del data[place : place + size]
            else:
                data[place:place] = source.randbytes(size)
        out, report = repair(bytes(data), join=True)
        sizes = [BLOCK] * (len(out) // BLOCK) + [len(out) % BLOCK] * bool(len(out) % BLOCK)
        assert report.recovered_bytes == len(out)
        if LAST not in sizes or out.endswith(stored.text[-LAST:]):
            assert all(out[i * BLOCK : i * BLOCK + size] in blocks for i, size in enumerate(sizes))


def test_blocks_are_found_in_linear_time() -> None:
    junk = random.Random(6).randbytes(1 << 20)
    blocks = [Block(1, size, junk[:size]).to_bytes() for size in (1, 5, 300, 70_000)]
    data, places = b"", []
    for block in blocks:
        data += junk[:999]
        places.append(len(data))
        data += block
    data += junk
    assert list(block_offsets(io.BytesIO(data), 0, len(data), len(data))) == places
    hostile = bytes([1, 0x80, 0x80, 0x80, 2]) * 50_000  # a block of 4 MiB seems to begin everywhere
    begun = time.process_time()
    with pytest.raises(StopIteration):
        next(block_offsets(io.BytesIO(hostile), 0, len(hostile), 1 << 26))
    assert time.process_time() - begun < 20


def test_blocks_are_found_in_files_on_disks_too(tmp_path: pathlib.Path) -> None:
    """Unlike BytesIO, they refuse to read less than nothing."""
    block = Block(1, 5, b"12345").to_bytes()
    path = tmp_path / "file"
    path.write_bytes(b"junk" + block + bytes(200))
    with path.open("rb") as file:
        assert list(block_offsets(file, 0, 200, path.stat().st_size)) == [4]


def test_many_damages_take_no_time_to_speak_of() -> None:
    text = random.Random(8).randbytes(1 << 20)
    data = bytearray(llmzip.compress(text, block_size=1024))
    places = SeekTable(io.BytesIO(data), 0).blocks
    for place in places[::2]:
        data[place.offset + 1 : place.offset + 5] = b"\xff" * 4  # sizes
    del data[places[-1].offset + 5 :]  # with the index
    begun = time.process_time()
    _, report = repair(bytes(data))
    assert report.blocks == len(places) // 2 - 1
    assert time.process_time() - begun < 60


def test_what_was_made_to_waste_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_reader, "_FREE_READS", 1 << 26)
    small = Block(1, 1, b"x").to_bytes()
    claim = b"\x01" + varint(MAX_BLOCK_SIZE) + varint(1 << 22)  # what looks like a block of 4 MiB
    data = FrameHeader(False, 0, version=3).to_bytes() + (small + claim) * 400 + bytes(1 << 22)
    with pytest.raises(LimitError, match="too long"):
        repair(data)


def test_errors_are_typed(tiny_model: IntegerModel, ten: Sample) -> None:
    with pytest.raises(LLMZipError):
        repair(ten.data, tiny_model, max_output=100)
