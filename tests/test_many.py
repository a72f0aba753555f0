"""Short contents and streams that are coded side by side: bytes, order, errors and limits are as of
one after the other.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import llmzip
from llmzip import levels, many
from llmzip.engine.native_engine import NativeEngine, native_is_available, why_not_available
from llmzip.model.store import ModelStore
from llmzip.predictor import lockstep
from llmzip.runtime import Runtime
from tests.command import run_with_output
from tests.conftest import tiny
from tests.test_limits import words

if not native_is_available():
    pytest.skip(f"no native engine: {why_not_available()}", allow_module_level=True)

TEXT = words(2800)
TEXTS = [TEXT[start : start + 40 + 37 * (start % 5)] for start in range(0, 2400, 90)]
NATIVE = Runtime(engine="native", threads=1)


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many blocks went side by side, each time."""
    counts: list[int] = []

    def noted(engine: object, blocks: list[object], *more: object) -> object:
        counts.append(len(blocks))
        return lockstep.decode_blocks(engine, blocks, *more)  # type: ignore[arg-type]

    def alone(*given: object) -> object:
        counts.append(1)
        return lockstep.decode_tokens(*given)  # type: ignore[arg-type]

    monkeypatch.setattr("llmzip.codecs.llm.decode_blocks", noted)
    monkeypatch.setattr("llmzip.codecs.llm.decode_tokens", alone)
    yield counts


def packed(data: bytes, **options: object) -> bytes:
    return llmzip.compress(data, model=tiny(), codec="llm", runtime=NATIVE, **options)  # type: ignore[arg-type]


@functools.cache
def all_packed(**options: object) -> list[bytes]:
    return [packed(text, **options) for text in TEXTS]


def unpacked(streams: list[bytes], **options: object) -> list[bytes]:
    options = {"runtime": NATIVE, **options}
    return list(llmzip.decompress_many(streams, model=tiny(), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{}, {"mixing": False}, {"dictionary": TEXT[:300]}, {"level": 1}]
)
def test_contents_in_order_side_by_side(options: dict[str, object], together: list[int]) -> None:
    needs = {name: options[name] for name in ("dictionary",) if name in options}
    assert unpacked(all_packed(**options), **needs) == TEXTS
    assert sum(together) == len(TEXTS)
    assert max(together) == len(TEXTS) < NativeEngine(tiny(), 1).batches.few_rows


def test_no_more_rows_than_pay(together: list[int]) -> None:
    streams = all_packed() * 3
    assert unpacked(streams) == TEXTS * 3  # the same payload is decoded for all that have it
    assert max(together) <= NativeEngine(tiny(), 1).batches.few_rows
    assert len(together) <= 3


@pytest.mark.parametrize("runtime", [Runtime(threads=1, jobs=1), Runtime("torch", threads=1)])
def test_one_after_the_other_where_that_was_asked_for(
    runtime: Runtime, together: list[int]
) -> None:
    assert unpacked(all_packed()[:5], runtime=runtime) == TEXTS[:5]
    assert together == [1] * 5


def test_streams_of_every_kind(together: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "MIN_BLOCK_SIZE", 50)
    noise = bytes(range(256))
    texts = [TEXT[:90], b"", noise, TEXT[:700], TEXT[:400], TEXT[:90] * 2, TEXT[90:150]]
    streams = [
        packed(texts[0]),
        packed(texts[1]),
        llmzip.compress(noise, model=tiny()),
        packed(texts[3], block_size=100),
        packed(texts[4], block_size=100, solid=True),
        packed(texts[0]) * 2,
        packed(texts[6], mixing=False),
    ]
    assert unpacked(streams) == texts
    assert max(together) == 7  # blocks of one stream; those of the others


def test_what_is_wrong_comes_when_it_is_its_turn() -> None:
    streams = all_packed()[:8]
    streams[3] = streams[3][:-6] + bytes(byte ^ 0x55 for byte in streams[3][-6:])
    found = llmzip.decompress_many(streams, model=tiny(), runtime=NATIVE)
    assert [next(found) for _ in range(3)] == TEXTS[:3]
    with pytest.raises(llmzip.IntegrityError):
        next(found)
    assert list(found) == TEXTS[4:8]
    for wrong, error in ((b"junk", llmzip.FormatError), (streams[0][:9], llmzip.TruncatedError)):
        with pytest.raises(error):
            unpacked([streams[1], wrong])
    with pytest.raises(TypeError, match=r"decompress_many\(\) takes bytes"):
        unpacked([streams[1], "text"])  # type: ignore[list-item]


def test_what_came_before_an_error_of_the_source_is_not_lost() -> None:
    def source(pieces: list[bytes]) -> Iterator[bytes]:
        yield from pieces
        raise RuntimeError("of the source")

    contents = llmzip.compress_many(source(TEXTS[:3]), model=tiny(), runtime=NATIVE)
    streams = [next(contents) for _ in range(3)]
    found = llmzip.decompress_many(source(streams), model=tiny(), runtime=NATIVE)
    assert [next(found) for _ in range(3)] == TEXTS[:3]
    for iterator in (contents, found):
        with pytest.raises(RuntimeError, match="of the source"):
            next(iterator)
        assert list(iterator) == []


def test_limits_hold_for_each_and_for_all_together(together: list[int]) -> None:
    streams = all_packed()[:8]
    need = max(llmzip.get_frame_info(data).memory for data in streams)
    assert unpacked(streams, max_memory=3 * need) == TEXTS[:8]
    assert 1 < max(together) <= 7
    with pytest.raises(llmzip.LimitError):
        unpacked(streams, max_memory=need // 8)
    longest = max(map(len, TEXTS[:8]))
    assert unpacked(streams, max_output=longest) == TEXTS[:8]
    with pytest.raises(llmzip.LimitError):
        unpacked(streams, max_output=longest - 1)


def test_streams_are_read_a_group_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "GROUP_STREAMS", 4)
    read: list[int] = []

    def streams() -> Iterator[bytes]:
        for number, data in enumerate(all_packed()):
            read.append(number)
            yield data

    found = llmzip.decompress_many(streams(), model=tiny(), runtime=NATIVE)
    assert next(found) == TEXTS[0]
    assert len(read) == 5
    assert list(found) == TEXTS[1:]


def test_what_is_decoded_ahead_is_little(together: list[int]) -> None:
    """A call that is interrupted has written all but that."""
    assert many.SHORT_BYTES <= many.GROUP_BYTES <= 1 << 17
    data = all_packed()[4]
    found = llmzip.decompress_many([data] * 200, model=tiny(), runtime=NATIVE)
    assert next(found) == TEXTS[4]
    assert sum(together) <= many.GROUP_STREAMS


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of short compressed files, and one that is longer."""
    monkeypatch.chdir(tmp_path)
    for number, data in enumerate(all_packed()[:9]):
        Path(f"{number}.llmz").write_bytes(data)
    return tmp_path


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs a command with the tiny model: the exit code and what was said."""
    monkeypatch.setattr(ModelStore, "find", lambda store, prefix: tiny())

    def call(*arguments: str) -> tuple[int, str]:
        done = run_with_output(*arguments, "-T1")
        return done.returncode, done.stderr.decode()

    return call


def test_files_of_one_call(
    files: Path, call: Callable[..., tuple[int, str]], together: list[int]
) -> None:
    names = sorted(path.name for path in files.iterdir())
    assert call("-t", *names) == (0, "")
    assert together == [9]
    together.clear()
    Path("4").write_bytes(b"stays")
    damaged = bytearray(Path("2.llmz").read_bytes())
    damaged[-1] ^= 1
    Path("2.llmz").write_bytes(damaged)
    code, said = call("-d", "--rm", *names)
    assert code == 1
    assert [line.split(":")[1].strip() for line in said.splitlines()] == ["2.llmz", "4"]
    assert together[0] == 8  # all but the one whose output is there
    for number in range(9):
        done = number not in (2, 4)
        assert Path(f"{number}.llmz").exists() is not done
        assert not done or Path(f"{number}").read_bytes() == TEXTS[number]
    assert Path("4").read_bytes() == b"stays"
    assert not Path("2").exists()


def test_long_files_between_short_ones(
    files: Path,
    call: Callable[..., tuple[int, str]],
    together: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(many, "SHORT_BYTES", len(all_packed()[4]) - 1)
    code, said = call("-d", "-v", "-c", *(f"{number}.llmz" for number in range(9)))
    assert code == 0, said
    assert sum(together) == 9
    assert max(together) > 1


@pytest.fixture
def encoded_together(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many blocks were encoded side by side, each time."""
    counts: list[int] = []

    def noted(engine: object, blocks: list[object], *more: object) -> object:
        counts.append(len(blocks))
        return lockstep.encode_blocks(engine, blocks, *more)  # type: ignore[arg-type]

    monkeypatch.setattr("llmzip.codecs.llm.encode_blocks", noted)
    yield counts


LANES = Runtime(engine="native", threads=4, jobs=4)
CONTENTS = [*TEXTS[:9], b"", bytes(range(256)) * 3, TEXTS[3], TEXT, TEXT[:2000], b"x"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"codec": "llm"},
        {"codec": "llm", "mixing": False, "level": 1},
        {"codec": "zstd"},
        {"dictionary": TEXT[:300]},
        {"solid": True},
        {"block_lines": 2},
        {"block_size": 70},
    ],
    ids=str,
)
@pytest.mark.parametrize("runtime", [NATIVE, LANES], ids=["alone", "lanes"])
def test_streams_are_those_of_single_calls(
    options: dict[str, object], runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "MIN_BLOCK_SIZE", 50)
    monkeypatch.setattr(many, "SHORT_BYTES", 2000)
    given: dict[str, object] = {"model": tiny(), "runtime": runtime, **options}
    found = list(llmzip.compress_many(CONTENTS, **given))  # type: ignore[arg-type]
    assert found == [llmzip.compress(data, **given) for data in CONTENTS]  # type: ignore[arg-type]


def test_a_block_equals_a_short_content_in_a_frame_without_the_dictionary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the short one refers to the dictionary: no decoder could resolve that here."""
    monkeypatch.setattr(levels, "MIN_BLOCK_SIZE", 50)
    short, noise = TEXT[100:500], random.Random(1).randbytes(400)
    given: dict[str, object] = {
        "model": tiny(),
        "runtime": NATIVE,
        "dictionary": TEXT[:1000],
        "block_size": 400,
    }
    contents = [short, TEXT[100:300], noise + short, short + noise + short]
    found = list(llmzip.compress_many(contents, **given))  # type: ignore[arg-type]
    assert found == [llmzip.compress(data, **given) for data in contents]  # type: ignore[arg-type]
    assert unpacked(found, dictionary=TEXT[:1000]) == contents


def test_what_needs_no_model_does_not_miss_that_of_others(tmp_path: Path) -> None:
    noise = [random.Random(seed).randbytes(90) for seed in (1, 2)]
    found = llmzip.compress_many([noise[0], TEXTS[0], noise[1]], model=str(tmp_path / "none"))
    assert llmzip.decompress(next(found)) == noise[0]
    with pytest.raises(llmzip.LLMZipError, match="no model"):
        next(found)


def test_a_buffer_may_be_used_again() -> None:
    """What is read ahead is what it was when it was read."""

    def in_one_buffer(pieces: list[bytes]) -> Iterator[bytearray]:
        buffer = bytearray()
        for data in pieces:
            buffer[:] = data
            yield buffer

    found = llmzip.compress_many(
        in_one_buffer(TEXTS[:5]), model=tiny(), codec="llm", runtime=NATIVE
    )
    assert list(found) == all_packed()[:5]
    streams = in_one_buffer(all_packed()[:5])
    assert list(llmzip.decompress_many(streams, model=tiny(), runtime=NATIVE)) == TEXTS[:5]


def test_contents_side_by_side_where_that_pays(encoded_together: list[int]) -> None:
    streams = llmzip.compress_many(TEXTS[:8], model=tiny(), codec="llm", runtime=LANES)
    assert list(streams) == all_packed()[:8]
    assert encoded_together == [4, 4]
    encoded_together.clear()
    streams = llmzip.compress_many(TEXTS[:8], model=tiny(), codec="llm", runtime=NATIVE)
    assert list(streams) == all_packed()[:8]
    assert encoded_together == [1] * 8


def test_contents_are_read_a_group_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "GROUP_CONTENT_BYTES", sum(map(len, TEXTS[:3])))
    read: list[int] = []

    def contents() -> Iterator[bytes]:
        for number, data in enumerate(TEXTS[:8]):
            read.append(number)
            yield data

    found = llmzip.compress_many(contents(), model=tiny(), codec="llm", runtime=NATIVE)
    assert next(found) == all_packed()[0]
    assert len(read) == 4
    assert list(found) == all_packed()[1:8]
    with pytest.raises(TypeError, match=r"compress_many\(\) takes bytes"):
        list(llmzip.compress_many([TEXTS[0], "text"], model=tiny()))  # type: ignore[list-item]
    with pytest.raises(ValueError, match="level"):
        llmzip.compress_many([], 10)


def test_files_of_one_call_are_encoded_together(
    tmp_path: Path,
    cache_with_tiny_model: Path,
    encoded_together: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a device, of which there is none here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("llmzip.cli.short_files.encodes_ahead", lambda arguments: True)
    monkeypatch.setattr(many, "SHORT_BYTES", 500)
    contents = [*TEXTS[:6], TEXT[:900], TEXTS[7]]
    names = [f"{number}" for number in range(len(contents))]
    for name, data in zip(names, contents, strict=True):
        Path(name).write_bytes(data)
    Path("2.llmz").write_bytes(b"stays")
    done = run_with_output("-T4", "-j4", "--codec", "llm", *names)
    assert done.returncode == 1
    assert b"2.llmz" in done.stderr
    assert Path("2.llmz").read_bytes() == b"stays"
    assert max(encoded_together) > 1
    assert sum(encoded_together) == len(contents) - 1
    for name, data in zip(names, contents, strict=True):
        if name != "2":
            assert Path(f"{name}.llmz").read_bytes() == packed(data)
