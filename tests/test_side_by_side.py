"""Blocks side by side: the bytes, errors, limits and order of one block after the other."""

from __future__ import annotations

import dataclasses
import functools
import io
import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import llmzip
from llmzip import levels
from llmzip.container.block import Block
from llmzip.container.frame_reader import FrameReader
from llmzip.container.frame_writer import FrameWriter
from llmzip.container.header import FrameHeader
from llmzip.container.varint import ByteReader
from llmzip.engine.base import Engine
from llmzip.engine.native_engine import NativeEngine, native_is_available, why_not_available
from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LimitError, LLMZipError
from llmzip.model.tokenizer import Tokens
from llmzip.predictor import lanes, lockstep
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.runtime import Runtime
from tests.conftest import tiny

if not native_is_available():
    pytest.skip(f"no native engine: {why_not_available()}", allow_module_level=True)

TORCH = Runtime(engine="torch", threads=1)
LINES = b"".join(
    b"%d: the request of user %d was refused\n" % (i * i % 89, i * i % 97) for i in range(60)
)
BLOCK = 200


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "MIN_BLOCK_SIZE", 50)


@pytest.fixture(params=["torch", "native"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return Runtime(engine=request.param, threads=1)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many blocks went side by side, each time."""
    counts: list[int] = []

    def counting(work: Callable[..., object]) -> Callable[..., object]:
        def noted(engine: Engine, blocks: list[object], *more: object) -> object:
            counts.append(len(blocks))
            return work(engine, blocks, *more)

        return noted

    for name in ("encode_blocks", "decode_blocks"):
        monkeypatch.setattr(f"llmzip.codecs.llm.{name}", counting(getattr(lockstep, name)))
    yield counts


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Callable[[Runtime, int], None]:
    """Makes the engine take so many rows in a step."""

    def take(runtime: Runtime, count: int) -> None:
        engine = EngineLoader(tiny(), runtime=runtime).for_compression()
        changed = dataclasses.replace(engine.batches, rows=count, blocks=9, threads=3)
        monkeypatch.setattr(engine, "batches", changed)

    return take


def packed(data: bytes, runtime: Runtime = TORCH, **options: object) -> bytes:
    options = {"level": 1, "block_size": BLOCK, "codec": "llm", **options}
    return llmzip.compress(data, model=tiny(), runtime=runtime, **options)  # type: ignore[arg-type]


def unpacked(data: bytes, runtime: Runtime = TORCH, **options: object) -> bytes:
    return llmzip.decompress(data, model=tiny(), runtime=runtime, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("codec", ["llm", None])
def test_the_bytes_are_the_same(
    count: int,
    codec: str | None,
    runtime: Runtime,
    rows: Callable[[Runtime, int], None],
    counted: list[int],
) -> None:
    """Blocks of unequal length: the last one is short, and tokens are not of one length."""
    expected = packed(LINES[:1530], runtime, codec=codec)
    alone = len(counted)
    rows(runtime, count)
    counted.clear()
    assert packed(LINES[:1530], runtime, codec=codec) == expected
    assert max(counted) == count
    assert sum(counted) == 8 or codec is None  # small blocks may do without the model
    counted.clear()
    assert unpacked(expected, runtime) == LINES[:1530]
    assert alone == 8 or codec is None
    assert codec is None or max(counted, default=1) == count


def test_texts_and_other_data_in_turns(
    rows: Callable[[Runtime, int], None], counted: list[int]
) -> None:
    noise = bytes(range(256)) * 2
    data = LINES[:900] + noise + LINES[900:1500] + noise + LINES[1500:1700]
    expected = packed(data, codec=None, block_size=300)
    rows(TORCH, 4)
    assert packed(data, codec=None, block_size=300) == expected
    assert unpacked(expected) == data


@pytest.mark.parametrize(
    "options", [{"solid": True}, {"mixing": False}, {"dictionary": LINES[:90]}]
)
def test_other_kinds_of_files(
    options: dict[str, object], rows: Callable[[Runtime, int], None], counted: list[int]
) -> None:
    dictionary = {"dictionary": options["dictionary"]} if "dictionary" in options else {}
    expected = packed(LINES[:1500], **options)
    rows(TORCH, 5)
    counted.clear()
    assert packed(LINES[:1500], **options) == expected
    assert unpacked(expected, **dictionary) == LINES[:1500]
    assert (max(counted) > 1) == ("solid" not in options)


def test_blocks_that_see_unequally_far_do_not_go_together(
    rows: Callable[[Runtime, int], None], counted: list[int]
) -> None:
    one, other = packed(LINES[:700], level=1), packed(LINES[:700], level=2, block_size=700)
    rows(TORCH, 50)
    assert unpacked(one + other) == 2 * LINES[:700]


def parts(file: bytes) -> tuple[FrameHeader, list[Block]]:
    reader = FrameReader(ByteReader(io.BytesIO(file)))
    return reader.header, list(reader)


def with_wrong_symbols(file: bytes, content: bytes, number: int) -> bytes:
    """The file, but one block holds what nobody has coded, with right checks."""
    header, blocks = parts(file)
    payload = blocks[number].payload
    blocks[number] = dataclasses.replace(
        blocks[number], payload=payload[:6] + b"\xff" * (len(payload) - 6)
    )
    writer = FrameWriter(header)
    out, done = writer.begin(), 0
    for block in blocks:
        out += writer.add(block, content[done : done + block.size])
        done += block.size
    return out + writer.end()


def outcome(file: bytes) -> tuple[str, str, bytes]:
    """The error, and what came before it."""
    out = io.BytesIO()
    with pytest.raises(LLMZipError) as caught:
        llmzip.decompress_stream(io.BytesIO(file), out, model=tiny(), runtime=TORCH)
    return type(caught.value).__name__, str(caught.value), out.getvalue()


@pytest.mark.parametrize("kind", ["wrong symbols", "another check", "cut short"])
def test_a_damaged_block_harms_none_before_it(
    kind: str, rows: Callable[[Runtime, int], None], counted: list[int]
) -> None:
    text = LINES[:1530]
    file = packed(text)
    wrong = with_wrong_symbols(file, text, 3)
    if kind == "another check":
        fourth = file.index(parts(file)[1][3].payload)
        wrong = file[: fourth + 20] + bytes([file[fourth + 20] ^ 1]) + file[fourth + 21 :]
    elif kind == "cut short":
        wrong = file[: file.index(parts(file)[1][3].payload) + 20]
    expected = outcome(wrong)
    assert expected[2] == text[:600]
    for count in (2, 7):
        rows(TORCH, count)
        assert outcome(wrong) == expected
        with llmzip.open(io.BytesIO(wrong), model=tiny(), runtime=TORCH) as opened:
            assert opened.read(500) == text[:500]
            with pytest.raises(LLMZipError, match=re.escape(expected[1])):
                opened.read()
        decompressor = llmzip.LLMZipDecompressor(model=tiny(), runtime=TORCH)
        got = decompressor.decompress(wrong, 600)
        assert got == text[:600]
        if kind == "cut short":
            assert decompressor.decompress(b"") == b""
            assert decompressor.needs_input
        else:
            with pytest.raises(LLMZipError, match=re.escape(expected[1])):
                decompressor.decompress(b"")
    assert max(counted) >= 3


def test_what_is_sound_is_repaired(rows: Callable[[Runtime, int], None]) -> None:
    text = LINES[:1530]
    wrong = with_wrong_symbols(packed(text), text, 3)
    rows(TORCH, 7)
    out = io.BytesIO()
    report = llmzip.repair_stream(io.BytesIO(wrong), out, model=tiny(), runtime=TORCH)
    assert out.getvalue() == text[:600] + bytes(200) + text[800:]
    assert [hole.size for hole in report.holes] == [200]


def test_limits_of_memory_decide_how_many_go_together(
    rows: Callable[[Runtime, int], None], counted: list[int]
) -> None:
    text = LINES[:1530]
    file = packed(text)
    rows(TORCH, 7)
    need = parts(file)[0].memory
    for limit, most in ((need, 1), (8 * need, 7)):
        counted.clear()
        assert unpacked(file, max_memory=limit) == text
        assert max(counted, default=1) == most
    with pytest.raises(LimitError):
        unpacked(file, max_memory=need // 4)
    counted.clear()
    assert "exceeds the limit of 650 bytes" in outcome_of_limit(file, 650)
    assert sum(counted) <= 4


def outcome_of_limit(file: bytes, limit: int) -> str:
    with pytest.raises(LimitError) as caught:
        unpacked(file, max_output=limit)
    return str(caught.value)


def test_too_little_memory_for_all_is_enough_for_half(
    rows: Callable[[Runtime, int], None],
    counted: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = packed(LINES[:1530])
    rows(TORCH, 8)
    engine = EngineLoader(tiny(), runtime=TORCH).for_compression()
    session = engine.session

    def scarce(streams: int, window: int, chunk: int) -> object:
        if streams > 2:
            raise MemoryError
        return session(streams, window, chunk)

    monkeypatch.setattr(engine, "session", scarce)
    counted.clear()
    assert unpacked(file) == LINES[:1530]
    assert packed(LINES[:1530]) == file
    assert counted == 2 * [8, 4, 2, 2, 4, 2, 2]


def test_files_that_are_read_here_and_there(rows: Callable[[Runtime, int], None]) -> None:
    text = LINES[:1530]
    file = packed(text)
    rows(TORCH, 4)
    with llmzip.open(io.BytesIO(file), model=tiny(), runtime=TORCH) as opened:
        assert opened.read(10) == text[:10]
        for place in (1490, 0, 610, 200):
            opened.seek(place)
            assert opened.read(250) == text[place : place + 250]


class Pipe(io.RawIOBase):
    """Gives its blocks one at a time, and no more before the last one's content has come out."""

    def __init__(self, file: bytes, out: io.BytesIO) -> None:
        blocks = parts(file)[1]
        self._ends = [file.index(block.payload) + len(block.payload) for block in blocks]
        self._file, self._out, self._blocks = file, out, blocks
        self._place = 0

    def read(self, size: int = -1, /) -> bytes:
        begun = sum(end < self._place for end in self._ends)
        # A check of a block stands behind its payload: it is read before the content is written.
        assert len(self._out.getvalue()) >= sum(b.size for b in self._blocks[: max(begun - 1, 0)])
        piece = self._file[self._place : self._place + size]
        self._place += len(piece)
        return piece


def test_a_pipe_is_not_read_ahead(rows: Callable[[Runtime, int], None]) -> None:
    file = packed(LINES[:1530])
    rows(TORCH, 8)
    out = io.BytesIO()
    llmzip.decompress_stream(Pipe(file, out), out, model=tiny(), runtime=TORCH)  # type: ignore[arg-type]
    assert out.getvalue() == LINES[:1530]


def test_pieces_come_out_as_soon_as_a_flush_asks(rows: Callable[[Runtime, int], None]) -> None:
    rows(TORCH, 6)
    compressor = llmzip.LLMZipCompressor(
        1, model=tiny(), runtime=TORCH, block_size=BLOCK, codec="llm"
    )
    decompressor = llmzip.LLMZipDecompressor(model=tiny(), runtime=TORCH)
    assert compressor.compress(LINES[:900]) == b""  # four blocks wait for company
    assert decompressor.decompress(compressor.flush(compressor.FLUSH_BLOCK)) == LINES[:900]
    more = compressor.compress(LINES[900:2300])
    assert decompressor.decompress(more) == LINES[900:2100]
    assert decompressor.decompress(compressor.flush()) == LINES[2100:2300]
    assert decompressor.eof


def test_progress_grows_and_ends_with_all(rows: Callable[[Runtime, int], None]) -> None:
    text = LINES[:1530]
    tokens = len(tiny().tokenizer.encode(text[:200]).ids)
    told: list[tuple[int, int]] = []
    for count in (1, 3, 8):
        rows(TORCH, count)
        told.clear()
        file = packed(text, progress=lambda *done: told.append(done))
        assert told == sorted(told)
        assert told[-1][0] == len(text)
        final = told[-1]
        assert final[1] > tokens
        told.clear()
        unpacked(file, progress=lambda *done: told.append(done))
        assert told == sorted(told)
        assert told[-1] == final


def token_blocks(engine: Engine) -> list[lockstep.TokenBlock]:
    """Blocks of unequal streams, lengths and mixers, one without a mixer."""
    found = []
    for i, (size, streams, bits) in enumerate([(700, 3, 9), (1100, 7, 0), (3, 1, 8), (900, 5, 10)]):
        tokens = tiny().tokenizer.encode(LINES[100 * i :][:size])
        layout = StreamLayout(len(tokens.ids), streams, 192, 0, bits)
        mixer = engine.mixer(bits) if bits else None
        found.append(lockstep.TokenBlock(tokens, layout, mixer))
    return found


def in_both_ways(engine: Engine) -> list[bytes]:
    """The blocks coded, after they have come back."""
    blocks = token_blocks(engine)
    coded = lockstep.encode_blocks(engine, blocks)
    again = [
        lockstep.CodedBlock(data, block.layout, fresh.mixer)
        for data, block, fresh in zip(coded, blocks, token_blocks(engine), strict=True)
    ]
    for block, tokens in zip(blocks, lockstep.decode_blocks(engine, again), strict=True):
        assert isinstance(tokens, Tokens)
        assert tokens.ids.tolist() == block.tokens.ids.tolist()
        assert tokens.literals == block.tokens.literals
    return coded


@pytest.mark.parametrize("kind", ["native", "torch", "triton"])
@pytest.mark.parametrize(("count", "idle"), [(1, 0.0), (2, 0.0), (3, 0.0), (1, 0.5), (2, 0.3)])
def test_lanes_give_the_same_bytes(
    kind: str, count: int, idle: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the engine with kernels the same on a CPU, where torch replaces each."""
    expected = in_both_ways(NativeEngine(tiny(), 1))
    engine: Engine = NativeEngine(tiny(), 1) if kind == "native" else TorchEngine(tiny(), threads=1)
    if kind == "triton":
        pytest.importorskip("triton")
        from llmzip.engine.triton.engine import TritonEngine
        from llmzip.engine.triton.reference import TorchOperations

        operations = TorchOperations(TorchEngine(tiny(), threads=1).transformer)
        engine = TritonEngine(tiny(), "cpu", operations=operations, threads=1)
    engine.batches = dataclasses.replace(
        engine.batches, rows=50, threads=2, lanes=count, lane_rows=2, idle=idle
    )
    assert in_both_ways(engine) == expected
    alone = [lockstep.encode_blocks(engine, [block])[0] for block in token_blocks(engine)]
    assert alone == expected


class FailingError(Exception):
    pass


@pytest.mark.parametrize("lane", [0, 1])
def test_a_lane_that_fails_ends_the_others(lane: int, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = NativeEngine(tiny(), 1)
    engine.batches = dataclasses.replace(engine.batches, rows=50, lanes=2, lane_rows=2)
    begun = len(threading.enumerate())
    steps = [0, 0]

    def work(number: int, report: Callable[[int], None]) -> None:
        for step in range(1_000_000):
            steps[number] = step
            if number == lane and min(steps) > 3:
                raise FailingError
            report(step)
            time.sleep(0.001)

    with pytest.raises(FailingError):
        lanes.run(engine, [functools.partial(work, number) for number in (0, 1)], None)
    assert len(threading.enumerate()) == begun
    assert max(steps) < 10_000
    with pytest.raises(FailingError):
        lockstep.encode_blocks(engine, token_blocks(engine), progress=fail)


def fail(done: int) -> None:
    raise FailingError
