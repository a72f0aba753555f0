"""Samples, speeds, estimates, and the level that is chosen by them."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import pathlib
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmzip
from llmzip import LimitError, levels
from llmzip.blocks.options import CompressionOptions
from llmzip.choosing import kept_speed
from llmzip.choosing.choose import choose
from llmzip.choosing.estimate import LevelEstimator, Work
from llmzip.choosing.kept_speed import speed_of
from llmzip.choosing.sample import take_sample
from llmzip.choosing.speed import Speed
from llmzip.cli.durations import format_duration, parse_duration
from llmzip.engine_loader import EngineLoader
from llmzip.model.integer_model import IntegerModel
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.runtime import DEFAULT_RUNTIME
from tests.command import folder, process, run, tree  # noqa: F401
from tests.conftest import TINY_DIRECTORY
from tests.test_pace import SPEC

SPEED = Speed(1e-3, 1e-6, ((1, 0.01), (10, 0.02), (100, 0.2)), 1e-5)

# ---- samples -------------------------------------------------------------------------------------

BYTES = st.one_of(st.binary(), st.text(alphabet="aé€𝄞\n").map(str.encode))


@given(BYTES, st.integers(1, 200), st.integers(1, 50), st.integers(0, 10))
def test_pieces_lie_in_the_file_one_behind_the_other(
    data: bytes, size: int, piece: int, before: int
) -> None:
    file = io.BytesIO(b"x" * before + data)
    file.seek(before)
    sample = take_sample(file, size, piece)
    assert file.tell() == before
    assert sample.total == len(data)
    assert len(sample.data) <= size
    assert sample.is_whole or len(data) > size
    at = 0
    for part in sample.pieces:
        at = data.index(part, at) + len(part)


@given(st.text(alphabet="aé€𝄞", max_size=400), st.integers(8, 200), st.integers(8, 50))
def test_characters_stay_whole(text: str, size: int, piece: int) -> None:
    for part in take_sample(io.BytesIO(text.encode()), size, piece).pieces:
        assert part.decode() in text


def test_lines_stay_whole() -> None:
    lines = b"".join(b"line %d\n" % number for number in range(10_000))
    sample = take_sample(io.BytesIO(lines), 4096, 512)
    assert len(sample.pieces) == 8
    assert 0.8 * 4096 < len(sample.data) <= 4096
    assert set(sample.data.splitlines(True)) <= set(lines.splitlines(True))
    first, *_, last = sample.data.split()[1::2]
    assert int(first) == 0 and int(last) > 9_900  # from the begin to the end


def test_what_is_no_text_is_told_apart() -> None:
    text, noise = b"To be, or not to be.\n" * 2000, bytes(range(256)) * 300
    sample = take_sample(io.BytesIO(text + noise), 1 << 14, 1 << 10)
    assert sample.text_share == pytest.approx(len(text) / len(text + noise), abs=0.1)


# ---- speeds and estimates ------------------------------------------------------------------------


def test_a_step_lies_between_those_that_were_measured() -> None:
    for streams, seconds in ((1, 0.01), (4, 0.01 + 0.01 / 3), (100, 0.2), (190, 0.38)):
        assert Speed.decoding(
            dataclasses.replace(SPEED, decoded_position=0.0), StreamLayout(streams, streams, 64)
        ) == pytest.approx(seconds)


def test_later_tokens_take_longer_up_to_the_window() -> None:
    def seconds(tokens: int) -> float:
        return SPEED.decoding(StreamLayout(tokens, 1, 256))

    steps = [seconds(n + 1) - seconds(n) for n in (10, 100, 200, 300, 400)]
    assert steps[0] < steps[1] < steps[2] < steps[3]
    assert steps[3] == pytest.approx(steps[4])


def test_an_engine_is_measured_once_a_day(
    cache_with_tiny_model: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EngineLoader().for_compression()
    measured = speed_of(engine, DEFAULT_RUNTIME)
    assert measured.encoded_token > 0
    assert all(seconds > 0 for _, seconds in measured.decoded_steps)
    assert measured.decoded_position >= 0 and measured.encoded_position >= 0
    assert speed_of(engine, DEFAULT_RUNTIME) == measured
    (kept,) = (cache_with_tiny_model / "speeds").iterdir()
    sound = json.loads(kept.read_text())
    wrong: list[dict[str, object]] = [
        {"steps": sound["steps"][:number]} | other
        for number, other in ((0, {}), (1, {}), (4, {"waited": 2}), (4, {"waited": math.nan}))
    ]
    wrong += [{"steps": [*sound["steps"], sound["steps"][0]]}]
    wrong += [{"steps": [[streams, math.nan] for streams, _ in sound["steps"]]}]
    wrong += [{"encoded_token": 0.0}, {"encoded_position": -1.0}, {"decoded_position": math.inf}]
    for damaged in ("", "[]", '{"steps": [[1, 2]]}', *(json.dumps(sound | one) for one in wrong)):
        kept.write_text(damaged)
        again = speed_of(engine, DEFAULT_RUNTIME)
        assert kept.read_text() != damaged
        assert json.loads(kept.read_text())["encoded_token"] == again.encoded_token
    tomorrow = time.time() + 90_000
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    before = kept.stat().st_mtime_ns
    speed_of(engine, DEFAULT_RUNTIME)
    assert kept.stat().st_mtime_ns > before


def test_what_was_measured_on_a_busy_machine_is_soon_measured_again(
    cache_with_tiny_model: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = dataclasses.replace(SPEED, encoded_token=1.0, decoded_position=1e-6)
    told = iter([(SPEED, 0.4), (slow, 0.3), (slow, 0.0)])
    now, clock, waits = time.time(), [0.0], [(0, 0)]

    def measure(engine: object) -> Speed:
        speed, waited = next(told)
        ran, before = waits[0]
        waits[0] = ran + 1000, before + round(1000 * waited / (1 - waited))
        return speed

    monkeypatch.setattr(kept_speed, "measure_speed", measure)
    monkeypatch.setattr(kept_speed, "_waits", lambda: waits[0])
    monkeypatch.setattr(time, "time", lambda: now + clock[0])
    engine = EngineLoader().for_compression()

    def speed(after: float) -> Speed:
        clock[0] += after
        found = speed_of(engine, DEFAULT_RUNTIME)
        (kept,) = (cache_with_tiny_model / "speeds").iterdir()
        if kept.stat().st_mtime > now - 1:  # written at this moment of the real clock
            os.utime(kept, (now - 10, now - 10))
            clock[0] = 0.0
        return found

    assert speed(0) == SPEED
    assert speed(200) == SPEED  # for some minutes it counts
    quickest = dataclasses.replace(SPEED, decoded_position=1e-6)
    assert speed(400) == quickest  # of two that were disturbed, number by number
    assert speed(400) == slow  # what was not disturbed counts alone
    assert speed(80_000) == slow  # and for a day


def test_a_thread_that_works_has_waited_for_less_than_all_its_time() -> None:
    before = kept_speed._waits()
    sum(range(10**6))
    assert 0 <= kept_speed._share_waited(before, kept_speed._waits()) < 1


def test_a_cache_that_cannot_be_written_is_done_without(
    cache_with_tiny_model: pathlib.Path,
) -> None:
    engine = EngineLoader().for_compression()
    (cache_with_tiny_model / "speeds").write_text("in the way")
    assert speed_of(engine, DEFAULT_RUNTIME).encoded_token > 0


OPTIONS = [
    CompressionOptions(),
    CompressionOptions(mixing=False),
    CompressionOptions(solid=True),
    CompressionOptions(block_size=3000),
    CompressionOptions(block_lines=20),
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: str(options)[-60:])
@pytest.mark.parametrize("size", [1, 700, 4000])
def test_files_state_no_more_memory_than_was_said(
    tiny_model: IntegerModel, english: bytes, options: CompressionOptions, size: int
) -> None:
    data = english[:size]
    dictionary = english[20_000:21_000] if size == 700 else None
    loader = EngineLoader.of(tiny_model, dictionary)
    engine = loader.for_compression()
    work = Work.of(take_sample(io.BytesIO(data), size, size), engine)
    prepared = loader.prepared_dictionary(engine)
    estimator = LevelEstimator(work, engine, SPEED, options, prepared)
    for level in (1, 9):
        given = dataclasses.replace(options, level=level)
        made = llmzip.LLMZipCompressor.with_options(given, model=tiny_model, dictionary=dictionary)
        packed = made.compress(data) + made.flush()
        estimate = estimator.estimate(level)
        assert llmzip.get_frame_info(packed).memory <= estimate.memory
        assert data == llmzip.decompress(
            packed, model=tiny_model, dictionary=dictionary, max_memory=estimate.memory
        )


def test_of_one_block_the_memory_is_exact(tiny_model: IntegerModel, english: bytes) -> None:
    loader = EngineLoader.of(tiny_model)
    for size in (500, 5000):
        chosen = choose(io.BytesIO(english[:size]), loader, target_memory=1 << 40)
        packed = llmzip.compress(english[:size], chosen.level, model=tiny_model)
        assert llmzip.get_frame_info(packed).memory == chosen.memory


def test_estimates_know_blocks_and_streams(tiny_model: IntegerModel) -> None:
    engine = EngineLoader.of(tiny_model).for_compression()
    work = Work(10_000, 10_000, 0.25, 50.0, None)
    estimator = LevelEstimator(work, engine, SPEED, CompressionOptions(block_size=4096))
    for level in levels.LEVELS:
        counts = {layout.tokens: n for layout, n in estimator.layouts(level)}
        assert counts == {1024: 2, round((10_000 - 2 * 4096) / 4): 1}
    estimator = LevelEstimator(work, engine, SPEED, CompressionOptions(block_lines=40))
    assert {layout.tokens: n for layout, n in estimator.layouts(6)} == {500: 5}
    slower = LevelEstimator(dataclasses.replace(work, text_bytes=5000), engine, SPEED, OPTIONS[0])
    twice = LevelEstimator(work, engine, SPEED, OPTIONS[0])
    assert slower.estimate(6).seconds < twice.estimate(6).seconds


# ---- the choice ----------------------------------------------------------------------------------


def test_the_highest_level_in_time_and_memory(
    cache_with_tiny_model: pathlib.Path, english: bytes
) -> None:
    free = llmzip.choose_level(english, target_time=1e9)
    assert (free.level, free.in_time) == (9, True)
    assert free.seconds > 0
    hurried = llmzip.choose_level(english, target_time=1e-9)
    assert not hurried.in_time
    assert hurried.seconds <= free.seconds
    exact = llmzip.choose_level(english, target_time=hurried.seconds)
    assert exact.in_time and exact.seconds <= hurried.seconds
    small = llmzip.choose_level(io.BytesIO(english), target_memory=free.memory - 1)
    assert small.memory < free.memory
    assert small.level < 9
    with pytest.raises(LimitError, match=r"no level is decoded in 1,000 bytes.*block size"):
        llmzip.choose_level(english, target_memory=1000)


@pytest.mark.parametrize(
    "target", [{"target_time": 0.0}, {"target_memory": 0}, {"target_time": -1}]
)
def test_targets_are_above_nothing(target: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="it is above 0"):
        llmzip.choose_level(b"x", **target)


@pytest.mark.parametrize("source", ["text", 5, None, io.StringIO("text")])
def test_sources_are_bytes_or_files(source: object) -> None:
    with pytest.raises(TypeError, match=r"choose_level\(\) takes"):
        llmzip.choose_level(source, target_time=1.0)


def test_binary_data_needs_no_model(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path))
    monkeypatch.setenv("LLMZIP_MODEL", "no/such")
    chosen = llmzip.choose_level(bytes(range(256)) * 50, target_time=1.0)
    assert chosen.level == llmzip.DEFAULT_LEVEL
    assert chosen.seconds == 0


NOISE = random.Random(0).randbytes(70_000)  # segments enough that a block ends before them
HARD = {
    "letters of which none says anything of the next": bytes(97 + byte % 16 for byte in NOISE),
    "nothing but x": b"x" * 70_000,
    "noise": NOISE,
}


@pytest.mark.parametrize("name", HARD)
def test_what_is_no_language_needs_no_model(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path))
    monkeypatch.setenv("LLMZIP_MODEL", "no/such")
    data = HARD[name]
    chosen = llmzip.choose_level(data, target_time=1.0, target_memory=1 << 23)
    assert chosen.seconds == 0
    assert chosen.memory == llmzip.get_frame_info(llmzip.compress(data)).memory
    assert take_sample(io.BytesIO(data), 1 << 15, 1 << 12).text == b""


@pytest.mark.parametrize("solid", [False, True])
def test_without_a_model_the_memory_is_exact(solid: bool) -> None:
    one, two = HARD["noise"], HARD["noise"] + HARD["nothing but x"]
    for data in (one, two):  # what looks like text begins another block, though it is none
        stated = llmzip.get_frame_info(llmzip.compress(data, solid=solid)).memory
        assert llmzip.choose_level(data, target_memory=1 << 40, solid=solid).memory == stated
    packed = llmzip.compress(one[:9000], solid=solid, block_size=2048)
    said = llmzip.choose_level(one[:9000], target_memory=1 << 40, solid=solid, block_size=2048)
    assert said.memory == llmzip.get_frame_info(packed).memory


def test_a_block_of_text_in_a_file_that_is_none(tiny_model: IntegerModel, english: bytes) -> None:
    data = NOISE[:8192] + english[:1024] + NOISE[:8192]
    options = {"model": tiny_model, "block_size": 1024}
    said = llmzip.choose_level(data, target_memory=1 << 40, **options)  # type: ignore[arg-type]
    packed = llmzip.compress(data, said.level, **options)  # type: ignore[arg-type]
    frames = llmzip.list_frames(io.BytesIO(packed))
    assert any("llm" in frame.codecs for frame in frames)
    assert max(frame.memory for frame in frames) <= said.memory


def test_text_before_noise_needs_the_model(tiny_model: IntegerModel, english: bytes) -> None:
    data = english[:40_000] + NOISE
    sample = take_sample(io.BytesIO(data), len(data), len(data))
    assert english.startswith(sample.text) and len(sample.text) > 30_000
    chosen = llmzip.choose_level(data, target_time=1e9, model=tiny_model)
    assert chosen.seconds > 0
    assert chosen.memory > 1 << 23


def test_a_codec_that_is_asked_for_codes_what_is_no_text(
    folder: pathlib.Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LLMZIP_MODEL", str(TINY_DIRECTORY))
    data = bytes(random.Random(0).choices(range(8), k=3000))
    pathlib.Path("binary").write_bytes(data)
    free = int(llmzip.choose_level(data, target_memory=1 << 40).memory)
    assert run("--codec=llm", "--target-memory", str(free), "binary").exit_code == 1
    assert run("--codec=llm", "--target-memory=1G", "binary").exit_code == 0
    stated = llmzip.get_frame_info(pathlib.Path("binary.llmz").read_bytes()).memory
    assert run("-f", "--codec=llm", f"--target-memory={stated}", "binary").exit_code == 0


def test_a_file_may_stand_behind_its_end(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"To be")
    with path.open("rb") as file:
        file.seek(100)
        assert llmzip.choose_level(file, target_time=1.0).seconds == 0
        assert file.tell() == 100


@pytest.mark.parametrize(
    "target", [{"target_time": "1min"}, {"target_memory": "1M"}, {"target_memory": 1e6}]
)
def test_targets_are_numbers(target: dict[str, float]) -> None:
    with pytest.raises(TypeError, match=r"target_(time|memory) must be an? (number|integer)"):
        llmzip.choose_level(b"x", **target)


# ---- the command line ----------------------------------------------------------------------------


@pytest.fixture
def text(folder: pathlib.Path, english: bytes, monkeypatch: pytest.MonkeyPatch) -> bytes:  # noqa: F811
    """A text in the folder, and the tiny model."""
    monkeypatch.setenv("LLMZIP_MODEL", str(TINY_DIRECTORY))
    data = english[:20_000]
    pathlib.Path("text").write_bytes(data)
    return data


def listed_levels(name: str) -> str:
    return run("-lv", name).stdout.rpartition("level: ")[2].strip()


def test_the_file_is_that_of_the_level(text: bytes) -> None:
    said = run("-v", "--target-time", "1h", "text").stderr
    assert "llmzip: text: level 9: about " in said
    chosen = pathlib.Path("text.llmz").read_bytes()
    assert chosen == llmzip.compress(text, 9)
    assert "9" in listed_levels("text.llmz")
    files = {level: llmzip.compress(text, level) for level in levels.LEVELS}
    needed = {level: llmzip.get_frame_info(file).memory for level, file in files.items()}
    least = min(needed.values())
    assert run("-f", "--target-memory", str(least), "text").output == ""
    level = max(level for level, memory in needed.items() if memory == least)
    assert pathlib.Path("text.llmz").read_bytes() == files[level]
    assert run("-f", "--target-memory", str(least - 1), "text").exit_code == 1


def test_where_no_level_is_quick_enough_it_is_the_quickest(text: bytes) -> None:
    result = run("--target-time=0.000001", "text")
    assert result.exit_code == 0
    assert "text: no level is that quick; the quickest, level " in result.stderr
    assert run("-qf", "--target-time=0.000001", "text").stderr == ""


def test_where_no_level_is_small_enough_nothing_is_written(text: bytes) -> None:
    before = tree()
    result = run("--target-memory=1K", "text")
    assert (result.exit_code, tree()) == (1, before)
    assert "text: no level is decoded in 1,024 bytes of memory" in result.stderr


def test_targets_from_the_environment(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMZIP_LEVEL", "2")
    monkeypatch.setenv("LLMZIP_TARGET_TIME", "1h")
    assert "level 9" in run("-v", "text").stderr
    monkeypatch.setenv("LLMZIP_TARGET_MEMORY", "lots")
    assert "LLMZIP_TARGET_MEMORY: 'lots' is not a size" in run("-f", "text").stderr
    assert run("-qf1", "text").exit_code == 0  # a level that is given wins
    assert pathlib.Path("text.llmz").read_bytes() == llmzip.compress(text, 1)
    assert run("-t", "text.llmz").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("-5 --target-time 1s text", "a level excludes --target-time and --target-memory"),
        ("--level 5 --target-memory 1G text", "a level excludes"),
        ("--target-time 1s --resume text", "--resume needs a level"),
        ("--target-time 0 text", "is not a duration"),
        ("--target-time soon text", "'soon' is not a duration"),
        ("--target-memory 1KB text", "is not a size"),
    ],
)
def test_what_excludes_a_target(text: bytes, arguments: str, said: str) -> None:
    result = run(*arguments.split())
    assert result.exit_code == 2
    assert said in result.stderr


def test_the_length_of_a_pipe_is_unknown(text: bytes) -> None:
    piped = process("--target-time", "1s", "-c", input=text)
    assert piped.returncode == 1
    assert b"stdin: --target-time needs to know how long the input is" in piped.stderr
    piped = process("--target-memory", "1G", "-c", input=text)
    assert piped.returncode == 0
    assert llmzip.get_frame_info(piped.stdout).memory <= 1 << 30


def test_a_codec_without_levels_needs_no_choice(text: bytes) -> None:
    assert run("--target-time=1s", "--codec=xz", "-v", "text").stderr.count("level") == 0


@given(st.integers(1, 300_000), st.integers(1, 9))
@settings(deadline=None)
def test_levels_are_known_by_streams_and_windows(tokens: int, level: int) -> None:
    def layout(number: int) -> StreamLayout:
        return StreamLayout.for_level(levels.LEVELS[number], tokens, SPEC)

    made = layout(level)
    found = levels.levels_of(tokens, made.streams, made.window)
    assert level in found
    assert all(layout(number) == made for number in found)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5min", 90), ("1.5 m", 90), ("2h", 7200), ("2H", 7200)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.004, "0.00 s"),
        (0.5, "0.50 s"),
        (5.25, "5.2 s"),
        (59.6, "60 s"),
        (150, "2.5 min"),
        (7000, "117 min"),
        (9000, "2.5 h"),
        (90_000, "25 h"),
    ],
)
def test_formatted_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
