"""Frames, blocks and index at the byte level, and every kind of damage."""

from __future__ import annotations

import binascii
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmzip
from llmzip.container.block import Block, read_block
from llmzip.container.header import FrameHeader, memory_code, memory_limit
from llmzip.container.index import index_bytes, read_index
from llmzip.container.varint import ByteReader, varint
from llmzip.errors import FormatError, IntegrityError, LLMZipError, TruncatedError
from llmzip.model.integer_model import IntegerModel
from tests import golden


def reader(data: bytes) -> ByteReader:
    return ByteReader(io.BytesIO(data))


@given(st.integers(0, (1 << 63) - 1))
def test_varints_come_back_and_are_minimal(value: int) -> None:
    encoded = varint(value)
    assert reader(encoded).varint("x") == value
    assert len(encoded) == max(1, -(-value.bit_length() // 7))


@pytest.mark.parametrize("data", [b"\x80\x00", b"\xff" * 9 + b"\x01", b"\x81\x80\x00"])
def test_malformed_varints_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="malformed number"):
        reader(data).varint("x")


@given(st.integers(1, 1 << 45))
def test_memory_codes_are_the_smallest_that_suffice(need: int) -> None:
    code = memory_code(need)
    assert memory_limit(code) >= need
    assert code == 0 or memory_limit(code - 1) < need
    assert (memory_limit(code) - 1) ** 4 < 1 << code <= memory_limit(code) ** 4


@given(
    st.booleans(),
    st.integers(0, 255),
    st.sampled_from(
        [
            (b"", b"", False),
            (b"", b"", True),
            (b"12345678", b"", True),
            (b"12345678", b"", False),
            (b"1234", b"5678", True),
        ]
    ),
)
def test_headers_come_back(single: bool, code: int, names: tuple[bytes, bytes, bool]) -> None:
    fingerprint, dictionary, solid = names
    header = FrameHeader(single, code, fingerprint[: len(fingerprint) >> single], dictionary, solid)
    assert FrameHeader.read(reader(header.to_bytes())) == header


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04....", "not an llmzip file"),
        (b"\x8cLZ\x04\x00", "version 1"),
        (b"\x8cLZ\x08\x00", "version 2"),
        (b"\x8cLZ\x1c\x00", "version 7"),
        (b"\x8cLZ\x3c\x00", "version 15"),
        (b"\x8cLZ\x00\x00", "version 0"),
        (b"\x8cLZ\x4c\x00", "names no model"),
        (b"\x8cLZ\x50\x00", "names no model"),
    ],
)
def test_foreign_headers_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        FrameHeader.read(reader(data))


@pytest.mark.parametrize("single", [False, True])
def test_a_blocks_check_covers_the_header_before_it(single: bool) -> None:
    block, header = Block(1, 3, b"abc"), FrameHeader(single, 5)
    assert read_block(reader(block.to_bytes(header)), header) == block
    with pytest.raises(IntegrityError, match="checksum"):
        read_block(reader(block.to_bytes(header)), FrameHeader(single, 6))


@pytest.mark.parametrize(("size", "payload"), [(0, b""), ((1 << 26) + 1, b"x"), (1, b"x" * 66)])
def test_impossible_block_sizes_are_refused(size: int, payload: bytes) -> None:
    with pytest.raises(FormatError, match="impossible block sizes"):
        read_block(reader(Block(1, size, payload).to_bytes()))


@given(st.lists(st.tuples(st.integers(1, 1 << 30), st.integers(1, 1 << 26)), max_size=40))
def test_an_index_comes_back(entries: list[tuple[int, int]]) -> None:
    assert read_index(reader(index_bytes(entries))) == entries


def rechecked(frame: bytes, block: bytes) -> bytes:
    """A short frame around block bytes (codec ... payload), with correct checks."""
    head = frame[: 9 if frame[3] & 2 else 5]
    return head + block + binascii.crc_hqx(head + block, 0xFFFF).to_bytes(2, "little") + frame[-2:]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        # More tokens than bytes.
        (b"\x03\x10\x06\x11\x01\x01\x00ab", "impossible block parameters"),
        # More streams than tokens.
        (b"\x03\x10\x06\x05\x06\x01\x00ab", "impossible block parameters"),
        (b"\x03\x10\x06\x11\x00ab\x01\x01", "impossible block parameters"),
        (b"\x03\x90\x4e\x04\x90\x4e\x00a", "impossible block parameters"),
        (b"\x03\x10\x06\x05\x01\x00\x00ab", "impossible block parameters"),
        # Less memory than there is.
        (b"\x03\x10\x06\x05\x01\x01\x07ab", "impossible block parameters"),
        (b"\x03\x10\x06\x05\x01\x01\x17ab", "impossible block parameters"),  # more
        # Longer than the model's positions.
        (b"\x03\x90\x4e\x06\x88\x27\x01\x01\x00a", "impossible block parameters"),
        # More streams than 512.
        (b"\x03\x90\x4e\x08\x80\x10\x81\x04\x02\x00ab", "impossible block parameters"),
        (b"\x03\x90\x4e\x07\x80\x10\x80\x04\x02\x00a", "bytes of memory"),  # so many
        # More memory than tokens.
        (b"\x03\x10\x06\x05\x01\x01\x09ab", "impossible block parameters"),
        # A window beyond the model's positions.
        (b"\x03\x10\x06\x05\x01\x09\x08ab", "impossible block parameters"),
        # Too many tokens for two bytes.
        (b"\x03\x90\x4e\x07\x81\x18\x07\x08\x00ab", "impossible block parameters"),
        (b"\x03\x90\x4e\x07\x80\x18\x07\x08\x00ab", "bytes of memory"),  # as many as they may hold
        (b"\x03\x10\x01\x05", "inside a block's streams"),
        (b"\x03\x10\x06\x05\x01\x01\x08ab", "decodes to|damaged"),
        (b"\x07\x01\x01a", "unknown codec 7"),
        (b"\x01\x05\x01a", "instead of 5"),
        (b"\x02\x05\x03abc", "zstd block"),
    ],
)
def test_well_checked_nonsense_is_refused(
    tiny_model: IntegerModel, body: bytes, message: str
) -> None:
    frame = rechecked(golden.frame_path("short").read_bytes(), body)
    with pytest.raises(LLMZipError, match=message):
        llmzip.decompress(frame, model=tiny_model)


def test_a_block_needs_a_model_that_the_frame_names(tiny_model: IntegerModel) -> None:
    with pytest.raises(FormatError, match="names none"):
        llmzip.decompress(
            rechecked(golden.frame_path("one-byte").read_bytes(), b"\x03\x10\x05\x05\x01\x01\x00a"),
            model=tiny_model,
        )


def test_an_index_must_match_the_blocks(tiny_model: IntegerModel) -> None:
    frame = golden.frame_path("blocks").read_bytes()
    length = int.from_bytes(frame[-8:-4], "little") + 8
    entries = read_index(reader(frame[-length:]))
    assert sum(size for _, size in entries) == len(golden.CASES["blocks"][0])
    lying = [*entries[:-1], (entries[-1][0], entries[-1][1] + 1)]
    with pytest.raises(FormatError, match="does not match the blocks"):
        llmzip.decompress(frame[:-length] + index_bytes(lying), model=tiny_model)


# Each kind of block, one block and several.
SWEPT = (
    "empty",
    "short",
    "streams",
    "stored",
    "repeats",
    "dictionary",
    "matches",
    "matches-dictionary",
    "matches-binary",
)


@pytest.mark.parametrize("name", SWEPT)
def test_every_truncation_is_an_error(tiny_model: IntegerModel, name: str) -> None:
    frame = golden.frame_path(name).read_bytes()
    for length in range(len(frame)):
        with pytest.raises(TruncatedError):
            llmzip.decompress(frame[:length], model=tiny_model, **golden.needs(name))


@pytest.mark.parametrize("name", SWEPT)
def test_every_flipped_bit_is_an_error(tiny_model: IntegerModel, name: str) -> None:
    frame = golden.frame_path(name).read_bytes()
    for place in range(len(frame)):
        for bit in range(8):
            damaged = bytearray(frame)
            damaged[place] ^= 1 << bit
            if (
                name == "empty"
                and damaged == golden.frame_path(name, golden.OF_VERSIONS[4]).read_bytes()
            ):
                continue  # a frame of nothing, in another version
            with pytest.raises(LLMZipError):
                llmzip.decompress(damaged, model=tiny_model, **golden.needs(name))


@given(st.binary(min_size=1, max_size=60))
def test_junk_is_an_error(junk: bytes) -> None:
    with pytest.raises(LLMZipError):
        llmzip.decompress(junk)
    with pytest.raises(LLMZipError):
        llmzip.decompress(golden.frame_path("one-byte").read_bytes() + junk)
