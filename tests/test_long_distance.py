"""Long-distance matches: found, coded, refused where impossible, in every kind of frame."""

from __future__ import annotations

import io
import itertools
import pathlib
import random
import tarfile
import time

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import llmzip
from llmzip.cli.main import llmzip as command
from llmzip.codecs import history, long_distance
from llmzip.codecs.history import History
from llmzip.codecs.long_distance import (
    LongDistanceCodec,
    decode_matches,
    leading_matches,
    literals_of,
    parse_payload,
    write_payload,
)
from llmzip.codecs.match_finder import WINDOW, Match, MatchFinder
from llmzip.codecs.model_free import MODEL_FREE
from llmzip.codecs.raw import RawCodec
from llmzip.codecs.registry import get_codec
from llmzip.container.block import Block
from llmzip.container.header import FrameHeader
from llmzip.container.varint import varint
from llmzip.errors import FormatError, LLMZipError
from llmzip.model.integer_model import IntegerModel
from tests.conformance import check_codec
from tests.golden import BINARY, TEXT
from tests.reference_decoder import long_distance_matches
from tests.test_mixing import PLENTY, assembled

NOISE = random.Random(6).randbytes(1 << 18)
SOUND = 2 * WINDOW - 1
"""A repeat of so many bytes is found wherever it is."""


@st.composite
def repetitive(draw: st.DrawFn) -> bytes:
    """New bytes, repeats of earlier ones, periods and runs, in any order."""
    out = bytearray()
    for kind in draw(st.lists(st.sampled_from("nrp"), max_size=12)):
        size = draw(st.integers(1, 300))
        if kind == "r" and out:
            start = draw(st.integers(0, len(out) - 1))
            out += out[start : start + size]
        elif kind == "p":
            out += (draw(st.binary(min_size=1, max_size=9)) * size)[:size]
        else:
            out += random.Random(draw(st.integers(0, 99))).randbytes(size)
    return bytes(out)


@given(repetitive())
def test_any_repeats_come_back(data: bytes) -> None:
    codec = LongDistanceCodec(RawCodec())
    if data:
        assert codec.decode(codec.encode(data), len(data)) == data


def decode_literals(codec: int, payload: bytes, size: int) -> bytes:
    return MODEL_FREE[codec].decode(payload, size)


@given(repetitive(), repetitive())
def test_a_decoder_written_from_the_document_agrees(before: bytes, data: bytes) -> None:
    past = History(before)
    found = MatchFinder(past).find(data)
    literals = literals_of(data, found)
    payload = write_payload(found, RawCodec.id if literals else 0, literals)
    if data:
        assert decode_matches(parse_payload(payload, len(data)), past, decode_literals) == data
        expected = long_distance_matches.decode_matches(
            payload, len(data), before, lambda codec, coded, size: coded
        )
        assert expected == data


@given(st.integers(0, 3 * WINDOW), st.integers(0, 3 * WINDOW), st.integers(SOUND, 500))
def test_long_repeats_are_found_whole(first: int, between: int, size: int) -> None:
    repeat = NOISE[:size]
    data = NOISE[1000:][:first] + repeat + NOISE[2000:][:between] + repeat + NOISE[3000:3040]
    assert MatchFinder(History()).find(data) == [
        Match(first + size + between, size, size + between)
    ]


def test_short_repeats_are_left() -> None:
    data = NOISE[:100] + NOISE[200:300] + NOISE[:100]
    data = data.replace(b"\0", b"\1")
    assert MatchFinder(History()).find(data, 101) == []
    assert MatchFinder(History()).find(data, 100) == [Match(200, 100, 200)]
    data = data.replace(data[50:51], b"\0")
    assert MatchFinder(History()).find(data, 101, 101) == []
    assert MatchFinder(History()).find(data, 101, 100) == [Match(200, 100, 200)]


@pytest.mark.parametrize("cut", [0, 1, 500])
def test_repeats_reach_over_blocks(cut: int) -> None:
    """Of a block, only what became history is found again: it may end where text turns binary."""
    finder = MatchFinder(History(NOISE[:777]))
    blocks = {
        NOISE[2000:5000]: 0,
        NOISE[100:700] + NOISE[9000:9600]: 600,
        NOISE[2100:2900]: 800,
        NOISE[9000:9600]: 600,
    }
    for block, repeated in blocks.items():
        found = sum(match.match_length for match in finder.find(block))
        assert found == (repeated if block != NOISE[9000:9600] else 600 - cut)
        kept = block[: len(block) - cut] if block.startswith(NOISE[100:700]) else block
        finder.history.extend(kept)


def _runs(size: int) -> bytes:
    return b"".join(b"-" * 60 + NOISE[8 * i : 8 * i + 8] for i in range(size // 68))


HOSTILE = {
    "zeros": lambda n: bytes(n),
    "two": lambda n: b"ab" * (n // 2),
    "seven": lambda n: b"abcdefg" * (n // 7),
    "noise": lambda n: NOISE[:n],
    "lines": lambda n: b"".join(
        random.Random(1).choices([NOISE[70 * i : 70 * i + 70] for i in range(300)], k=n // 70)
    ),
    "runs": _runs,
    "two letters": lambda n: bytes(random.Random(2).choices(b"ab", k=n)),
}


@pytest.mark.parametrize("min_match", [WINDOW, 4 * WINDOW])
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_nothing_takes_long(make, min_match: int) -> None:  # type: ignore[no-untyped-def]
    data = make(1 << 18)
    start = time.process_time()
    found = MatchFinder(History()).find(data, min_match, min_match)
    assert time.process_time() - start < 1
    literals = literals_of(data, found)
    payload = write_payload(found, RawCodec.id if literals else 0, literals)
    assert decode_matches(parse_payload(payload, len(data)), History(), decode_literals) == data


def test_the_example_of_a_prefix() -> None:
    found = [Match(3, 20, 3), Match(0, 30, 5), Match(4, 40, 9)]
    data = bytes(3 + 20 + 30 + 4 + 40 + 5)
    assert leading_matches(found, 2) == ([], 2)
    assert leading_matches(found, 3) == (found[:2], 53)
    assert leading_matches(found, 6) == (found[:2], 56)
    assert leading_matches(found, 7) == (found, 97)
    assert leading_matches(found, len(literals_of(data, found))) == (found, len(data))


# ---- payloads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", ["raw", "zstd", "xz"])
def test_the_codec_conforms(inner: str) -> None:
    check_codec(get_codec("ldm", inner=inner))


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_the_codec_conforms_around_the_model() -> None:
    check_codec(get_codec("ldm", inner="llm", level=1), size=300, sweep=60)


@pytest.mark.parametrize("inner", ["ldm", "zlib", "nothing"])
def test_codecs_that_blocks_cannot_have_code_no_literals(inner: str) -> None:
    with pytest.raises(ValueError, match="codec"):
        get_codec("ldm", inner=inner)


def numbers(*values: int) -> bytes:
    return b"".join(map(varint, values))


REFUSED = {
    "nothing": (b"", "inside its matches"),
    "no count": (b"\x01", "inside its matches"),
    "cut short": (b"\x01" + numbers(2, 20, 30, 5), "inside its matches"),
    "offset 0": (b"\x01" + numbers(1, 20, 30, 0) + bytes(70), "impossible match"),
    "before the beginning": (b"\x01" + numbers(1, 20, 30, 31) + bytes(70), "only 10 are"),
    "beyond the lookback": (
        b"\x01" + numbers(1, 20, 30, (1 << 26) + 21) + bytes(70),
        "impossible match",
    ),
    "far beyond": (b"\x01" + numbers(1, 20, 30, 1 << 62) + bytes(70), "impossible match"),
    "too short": (b"\x01" + numbers(1, 20, 15, 5) + bytes(85), "impossible match"),
    "of nothing": (b"\x01" + numbers(1, 20, 0, 5) + bytes(100), "impossible match"),
    "too long": (b"\x01" + numbers(1, 20, 81, 5) + bytes(19), "impossible match"),
    "far too long": (b"\x01" + numbers(1, 20, 1 << 62, 5), "impossible match"),
    "too late": (b"\x01" + numbers(1, 101, 16, 5), "impossible match"),
    "too many": (b"\x01" + numbers(3, 20, 30, 5, 0, 30, 5, 0, 30, 5), "impossible match"),
    "literals that are missing": (b"\x00" + numbers(1, 20, 80, 5), "impossible literals"),
    "literals that are not": (b"\x01" + numbers(2, 0, 50, 5, 0, 50, 9), "impossible literals"),
    "a payload of no literals": (
        b"\x00" + numbers(2, 0, 50, 5, 0, 50, 9) + b"x",
        "impossible literals",
    ),
    "no matches, no literals": (b"\x00" + numbers(0), "impossible literals"),
    "nested": (
        b"\x06" + numbers(1, 20, 30, 5) + b"\x01" + numbers(0) + bytes(70),
        "impossible literals",
    ),
    "too few literals": (b"\x01" + numbers(1, 20, 30, 5) + bytes(69), "69 bytes instead of 70"),
    "too many literals": (b"\x01" + numbers(1, 20, 30, 5) + bytes(71), "71 bytes instead of 70"),
    "malformed": (b"\x01\x81\x00" + numbers(20, 30, 5) + bytes(70), "malformed number"),
    "unknown": (b"\x09" + numbers(1, 20, 30, 5) + bytes(70), "unknown codec 9"),
    "of a model": (b"\x03" + numbers(1, 20, 30, 5) + bytes(70), "names none"),
}


@pytest.mark.parametrize(("payload", "said"), REFUSED.values(), ids=REFUSED)
def test_impossible_payloads_are_refused(payload: bytes, said: str) -> None:
    """In a solid frame behind ten bytes, read whole and in pieces."""
    blocks = [Block(RawCodec.id, 10, bytes(10)), Block(LongDistanceCodec.id, 100, payload)]
    frame = assembled(FrameHeader(False, PLENTY, solid=True), blocks, bytes(110))
    for use in (llmzip.decompress, llmzip.LLMZipDecompressor().decompress):
        with pytest.raises(LLMZipError, match=said):
            use(frame)
    with pytest.raises(LLMZipError), llmzip.open(io.BytesIO(frame)) as file:
        file.seek(50)
        file.read(1)


def test_the_most_that_is_allowed() -> None:
    """A block that lies in what was before but for one byte, a match of its own match, and the same
    offset again.
    """
    blocks = [
        Block(RawCodec.id, 10, b"0123456789"),
        Block(LongDistanceCodec.id, 100, b"\x01" + numbers(2, 0, 30, 10, 1, 69, 1) + b"x"),
        Block(LongDistanceCodec.id, 36, b"\x00" + numbers(2, 0, 20, 110, 0, 16, 0)),
    ]
    content = b"0123456789" * 4 + b"x" * 70 + (b"0123456789" * 4)[:36]
    frame = assembled(FrameHeader(False, PLENTY, solid=True), blocks, content)
    assert llmzip.decompress(frame) == content
    for solid, single in ((False, False), (False, True)):
        alone = assembled(FrameHeader(single, PLENTY, solid=solid), blocks[1:2], content[10:110])
        with pytest.raises(FormatError, match="only 0 are"):
            llmzip.decompress(alone)


def test_a_history_keeps_what_can_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_LOOKBACK", 100)
    past = History(NOISE[:150])
    assert (len(past), past.end, past.last(100)) == (100, 100, NOISE[50:150])
    for i in range(150, 1000, 30):
        past.extend(NOISE[i : i + 30])
        assert past.last(len(past)) == NOISE[: i + 30][-100:]
    assert past.end == 100 + 870


def test_matches_begin_no_earlier_than_the_format_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (history, long_distance):
        monkeypatch.setattr(module, "MAX_LOOKBACK", 4096)
    for between, ends in ((2048, True), (8192, False)):
        data = NOISE[:1024] + NOISE[50_000 : 50_000 + between] + NOISE[:1024]
        packed = llmzip.compress(data, block_size=1024, solid=True)
        assert llmzip.decompress(packed) == data
        assert (llmzip.list_frames(io.BytesIO(packed))[0].codecs[-1] == "ldm") is ends


# ---- files ---------------------------------------------------------------------------------------

NEW = (
    b"A sentence that stands nowhere else in any of these texts, "
    b"which is why no match can hold it. "
)
FRAMES = {
    "one block": (TEXT * 3, {}, {"ldm(llm)"}),
    "forced": (TEXT + NEW + TEXT, {"codec": "llm"}, {"ldm(llm)"}),
    "solid": (
        TEXT * 3 + NEW + TEXT,
        {"block_size": 1024, "solid": True},
        {"llm", "ldm(llm)", "ldm"},
    ),
    "solid binary": (
        NOISE[:3000] * 2,
        {"block_size": 1024, "solid": True},
        {"raw", "ldm", "ldm(raw)"},
    ),
    "dictionary": (NEW + TEXT[200:900], {"dictionary": TEXT}, {"ldm(llm)"}),
    "with the dictionary noise": (
        NOISE[500:2500],
        {"dictionary": NOISE[:3000], "block_size": 1024},
        {"ldm"},
    ),
    "dictionary and solid": (
        NEW * 12 + TEXT,
        {"dictionary": TEXT, "block_size": 1024, "solid": True},
        {"llm", "ldm(llm)"},
    ),
    "text behind binary": (
        NOISE[:2048] + TEXT[:1024] + NOISE[:2048] + TEXT[:1024],
        {"block_size": 1024, "solid": True},
        {"raw", "llm", "ldm"},
    ),
}


@pytest.mark.parametrize(("data", "options", "codecs"), FRAMES.values(), ids=FRAMES)
def test_frames_come_back_whole_and_in_pieces(
    tiny_model: IntegerModel, data: bytes, options: dict[str, object], codecs: set[str]
) -> None:
    reported: list[tuple[int, int]] = []
    dictionary = {key: value for key, value in options.items() if key == "dictionary"}

    def report(*done: int) -> None:
        reported.append(done)  # type: ignore[arg-type]

    packed = llmzip.compress(data, 1, model=tiny_model, progress=report, **options)  # type: ignore[arg-type]
    frames = llmzip.list_frames(io.BytesIO(packed))
    assert {codec for frame in frames for codec in frame.codecs} == codecs
    assert [done for done, _ in reported] == sorted(done for done, _ in reported)
    assert reported[-1][0] == len(data)
    assert llmzip.decompress(packed, model=tiny_model, **dictionary) == data

    out, left = b"", packed
    while left:
        decompressor = llmzip.LLMZipDecompressor(model=tiny_model, **dictionary)
        for i in itertools.count():
            out += decompressor.decompress(left[50 * i : 50 * i + 50], 70)
            while not decompressor.eof and not decompressor.needs_input:
                out += decompressor.decompress(b"", 70)
            if decompressor.eof:
                left = decompressor.unused_data + left[50 * i + 50 :]
                break
    assert out == data

    with llmzip.open(io.BytesIO(packed), model=tiny_model, **dictionary) as file:
        for offset in (len(data) - 9, 3, len(data) // 2, 0, 1030):
            file.seek(offset % len(data))
            assert file.read(9) == data[offset % len(data) :][:9]


def test_a_frame_without_a_model_gives_way_to_one_that_names_it(tiny_model: IntegerModel) -> None:
    """Its bytes are out of reach then, also for the text that repeats them."""
    before = BINARY[:400] + TEXT[:300] + BINARY[:330]
    packed = llmzip.compress(
        before.ljust(2048, b"\x01") + TEXT[:300] + NEW * 8,
        1,
        model=tiny_model,
        block_size=1024,
        solid=True,
    )
    frames = llmzip.list_frames(io.BytesIO(packed))
    assert [bool(frame.model) for frame in frames] == [False, True]
    assert all(frame.solid for frame in frames)
    assert llmzip.decompress(packed, model=tiny_model).endswith(TEXT[:300] + NEW * 8)


def test_other_codecs_stay_what_they_are(tiny_model: IntegerModel) -> None:
    for codec in ("xz", "zstd", "meta-token"):
        packed = llmzip.compress(
            TEXT * 3, model=tiny_model, codec=codec, solid=True, block_size=1024
        )
        info = llmzip.list_frames(io.BytesIO(packed))[0]
        assert (set(info.codecs), info.solid) == ({codec}, False)
    with pytest.raises(ValueError, match="blocks can have"):
        llmzip.compress(TEXT, codec="ldm")


def test_a_megabyte_of_one_line_asks_no_model() -> None:
    lines = b"".join(
        random.Random(7).choices([TEXT[100 * i : 100 * i + 100] for i in range(3)], k=10_000)
    )
    assert len(llmzip.compress(lines[:100] * 10_000, model="/nowhere")) < 200


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_the_second_copy_of_a_tree_costs_next_to_nothing(
    tmp_path: pathlib.Path, english: bytes
) -> None:
    """Over blocks, through the command line."""
    sizes = {}
    for names in (["first"], ["first", "second"]):
        path = tmp_path / f"{len(names)}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name, i in itertools.product(names, range(8)):
                entry = tarfile.TarInfo(f"{name}/{i}.txt")
                entry.size = 2000
                archive.addfile(entry, io.BytesIO(english[2000 * i :]))
        arguments = ["-1", "--solid", "--block-size", "8192", str(path)]
        assert CliRunner().invoke(command, arguments, prog_name="llmzip").exit_code == 0
        packed = pathlib.Path(f"{path}.llmz")
        sizes[len(names)] = packed.stat().st_size
        result = CliRunner().invoke(
            command, ["-d", "-o", f"{path}.out", str(packed)], prog_name="llmzip"
        )
        assert (result.exit_code, pathlib.Path(f"{path}.out").read_bytes()) == (
            0,
            path.read_bytes(),
        )
    assert sizes[2] < 1.05 * sizes[1]  # eight headers, some 20 bytes each, and four blocks


def test_the_window_is_a_power_of_two() -> None:
    assert WINDOW & (WINDOW - 1) == 0
