"""Exceptions in the middle of a call, and what calls after them do: the right thing, or a clear
error.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import pathlib
import random
import signal
import time
import types
from collections.abc import Callable

import pytest

import llmzip
from llmzip.blocks.decoder import BlockDecoder
from llmzip.container.seek_table import SeekTable
from llmzip.model.integer_model import IntegerModel
from llmzip.predictor import speculation
from tests.conftest import blocks_of
from tests.interrupting import interrupted_at, lines_of

POINTS = 40
"""How many interruptions a test tries."""


BLOCK = 100
ONE = llmzip.Runtime(jobs=1)
"""Blocks side by side would be other threads' lines, and as many as the machine has processors for.
"""


small_blocks = blocks_of(BLOCK)  # so that many interruptions take little time


@pytest.fixture(autouse=True)
def steady_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many drafts pay depends on the time, and with them how many lines a call has."""
    clock = types.SimpleNamespace(perf_counter=itertools.count(1).__next__)
    monkeypatch.setattr(speculation, "time", clock)


@pytest.fixture(scope="module")
def text(english: bytes) -> bytes:
    return english[: 5 * BLOCK // 2]


@pytest.fixture(scope="module")
def packed(tiny_model: IntegerModel, text: bytes, small_blocks: None) -> bytes:
    return llmzip.compress(text, 1, model=tiny_model, block_size=BLOCK)


def points(begin: Callable[[], Callable[[], object]]) -> list[int]:
    """The first and last lines of the work that `begin` begins, and some in between."""
    begin()()  # what is loaded once is loaded
    lines = lines_of(begin())
    between = random.Random(3).sample(range(1, lines + 1), POINTS - 20)
    return sorted({*range(1, 11), *between, *range(lines - 9, lines + 1)})


def test_an_interrupted_compressor_refuses_to_go_on(tiny_model: IntegerModel, text: bytes) -> None:
    def compressor() -> llmzip.LLMZipCompressor:
        return llmzip.LLMZipCompressor(1, model=tiny_model, block_size=BLOCK, runtime=ONE)

    for line in points(lambda: functools.partial(compressor().compress, text)):
        begun = compressor()
        assert interrupted_at(line, functools.partial(begun.compress, text))
        try:
            assert llmzip.decompress(begun.flush()) == b""  # the call had not begun
            assert line < 15  # arguments are looked at first
        except ValueError as error:
            assert "interrupted" in str(error)
            with pytest.raises(ValueError, match="interrupted"):
                begun.compress(text)


def test_progress_that_fails_or_calls_back_is_an_interruption(
    tiny_model: IntegerModel, text: bytes
) -> None:
    def calls_back(done_bytes: int, done_tokens: int) -> None:
        compressor.flush()

    compressor = llmzip.LLMZipCompressor(
        1, model=tiny_model, block_size=BLOCK, runtime=ONE, progress=calls_back
    )
    for _ in range(2):
        with pytest.raises(ValueError, match="interrupted"):
            compressor.compress(text)


@pytest.mark.parametrize("solid", [False, True])
def test_an_interrupted_decompressor_goes_on_or_says_that_it_cannot(
    tiny_model: IntegerModel, text: bytes, solid: bool
) -> None:
    packed = llmzip.compress(text, 1, model=tiny_model, block_size=BLOCK, solid=solid)
    refused = 0
    for line in points(
        lambda: functools.partial(
            llmzip.LLMZipDecompressor(model=tiny_model, runtime=ONE).decompress, packed
        )
    ):
        begun = llmzip.LLMZipDecompressor(model=tiny_model, runtime=ONE)
        assert interrupted_at(line, functools.partial(begun.decompress, packed))
        try:
            assert begun.decompress(packed if begun.needs_input else b"") == text
            assert begun.eof
        except ValueError as error:
            assert "interrupted" in str(error)
            assert not isinstance(error, llmzip.LLMZipError)
            refused += 1
    assert solid or refused < POINTS / 2  # between blocks


def test_a_block_counts_when_it_is_decoded(
    tiny_model: IntegerModel, text: bytes, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in each block by its progress, once."""
    failed: set[int] = set()

    def fail_once(done_bytes: int, done_tokens: int) -> None:
        if done_bytes // BLOCK not in failed:
            failed.add(done_bytes // BLOCK)
            raise KeyboardInterrupt

    decompressor = llmzip.LLMZipDecompressor(
        model=tiny_model, progress=fail_once, max_output=len(text)
    )
    out, piece = b"", packed
    while not decompressor.eof:
        with contextlib.suppress(KeyboardInterrupt):
            out += decompressor.decompress(piece)
        piece = b""
    assert out == text
    assert len(failed) == 3


# A signal may ring in a finalizer.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_signals_at_any_time(tiny_model: IntegerModel, text: bytes, packed: bytes) -> None:
    def ring(*_: object) -> None:
        raise KeyboardInterrupt

    start = time.perf_counter()
    assert llmzip.decompress(packed, model=tiny_model) == text
    took = time.perf_counter() - start
    generator = random.Random(4)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        for _ in range(20):
            decompressor = llmzip.LLMZipDecompressor(model=tiny_model)
            decompressor.decompress(packed[:1])
            out = None
            try:
                signal.setitimer(signal.ITIMER_REAL, generator.uniform(1e-5, took))
                out = decompressor.decompress(packed[1:])
            except KeyboardInterrupt:
                pass
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            if out is None and not decompressor.needs_input:
                with contextlib.suppress(ValueError):
                    out = decompressor.decompress(b"")
                    assert out == text
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_file_whose_writing_was_interrupted_does_not_seem_whole(
    tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"

    def opened() -> llmzip.LLMZipFile:
        return llmzip.LLMZipFile(
            path, "w", level=1, model=tiny_model, block_size=BLOCK, runtime=ONE
        )

    for line in points(lambda: functools.partial(opened().write, text)):
        file = opened()
        assert interrupted_at(line, functools.partial(file.write, text))
        try:
            file.write(b"more")
        except ValueError as error:
            assert "interrupted" in str(error)
            with pytest.raises(ValueError, match="interrupted"):
                file.close()
            assert file.closed
            with pytest.raises(llmzip.TruncatedError):
                llmzip.decompress(path.read_bytes(), model=tiny_model)
        else:  # the call had not begun, or had done all
            file.close()
            assert llmzip.decompress(path.read_bytes(), model=tiny_model) in (
                b"more",
                text + b"more",
            )


class FullDisk(io.BytesIO):
    """Takes nothing after a while."""

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        if self.tell():
            raise OSError(28, "No space left on device")
        return super().write(data)


def test_a_sink_that_fails_makes_no_whole_file(tiny_model: IntegerModel, text: bytes) -> None:
    sink = FullDisk()
    file = llmzip.LLMZipFile(sink, "w", level=1, model=tiny_model, block_size=BLOCK, runtime=ONE)
    file.write(text[: BLOCK + 1])
    with pytest.raises(OSError, match="No space"):
        file.write(text[BLOCK + 1 :])
    with pytest.raises(ValueError, match="interrupted"):
        file.close()


def test_an_exception_in_a_text_file_leaves_no_complete_file(
    tiny_model: IntegerModel, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"
    with (
        pytest.raises(RuntimeError, match="stop"),
        llmzip.open(path, "wt", model=tiny_model) as file,
    ):
        file.write("half a text")
        raise RuntimeError("stop")
    with pytest.raises(llmzip.TruncatedError):
        llmzip.decompress(path.read_bytes(), model=tiny_model)


@pytest.mark.parametrize("sought", [False, True])
@pytest.mark.parametrize("solid", [False, True])
def test_reading_goes_on_where_the_file_says_it_stands(
    tiny_model: IntegerModel, text: bytes, solid: bool, sought: bool
) -> None:
    packed = llmzip.compress(text, 1, model=tiny_model, block_size=BLOCK, solid=solid)

    def opened() -> llmzip.LLMZipFile:
        file = llmzip.LLMZipFile(io.BytesIO(packed), model=tiny_model)
        if sought:
            file.seek(BLOCK + 10)
        return file

    for line in points(lambda: functools.partial(opened().read, 50)):
        file = opened()
        assert interrupted_at(line, functools.partial(file.read, 50))
        place = file.tell()
        try:
            assert file.read() == text[place:]
        except ValueError as error:
            assert "interrupted" in str(error)
            assert not sought
            file.seek(1)
            assert file.read(20) == text[1:21]


@pytest.mark.parametrize("solid", [False, True])
def test_damage_is_the_same_error_every_time(
    tiny_model: IntegerModel, text: bytes, solid: bool
) -> None:
    packed = llmzip.compress(text, 1, model=tiny_model, block_size=BLOCK, solid=solid)
    damaged = bytearray(packed)
    damaged[SeekTable(io.BytesIO(packed), 0).blocks[1].offset + 9] ^= 1
    file = llmzip.LLMZipFile(io.BytesIO(damaged), model=tiny_model)
    for size in (-1, 10, 1, -1):
        with pytest.raises(llmzip.IntegrityError, match="block at byte"):
            file.read(size)
        assert file.tell() == BLOCK
    assert file.seek(BLOCK - 24) == BLOCK - 24
    assert file.read(24) == text[BLOCK - 24 : BLOCK]
    with pytest.raises(llmzip.IntegrityError):
        file.read(1)
    assert file.tell() == BLOCK
    decompressor = llmzip.LLMZipDecompressor(model=tiny_model)
    for piece in (damaged, b"", b"more"):
        with pytest.raises(llmzip.IntegrityError, match="block at byte"):
            decompressor.decompress(piece)


def test_damage_inside_a_sound_block_is_the_same_error_every_time(
    tiny_model: IntegerModel, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = llmzip.compress(text, 1, model=tiny_model, block_size=BLOCK, solid=True)
    real = BlockDecoder._content
    decoded = []

    def damaged(self: BlockDecoder, block: object) -> bytes:
        decoded.append(block)
        if len(decoded) > 1:
            raise llmzip.IntegrityError("a block decodes to 3 bytes instead of 4")
        return real(self, block)  # type: ignore[arg-type]

    monkeypatch.setattr(BlockDecoder, "_content", damaged)
    file = llmzip.LLMZipFile(io.BytesIO(packed), model=tiny_model)
    for _ in range(3):
        with pytest.raises(llmzip.IntegrityError, match="decodes to 3"):
            file.read()
