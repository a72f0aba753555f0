"""Blocks side by side on parts of the processor: bytes, order, errors, threads and memory are as of
one block after the other (the rest is in test_side_by_side.py).
"""

from __future__ import annotations

import functools
import gc
import io
import pathlib
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import llmzip
from llmzip import levels
from llmzip.accounting import block_bytes
from llmzip.codecs.llm import LLMCodec
from llmzip.container.block import Block
from llmzip.container.frame_reader import FrameReader
from llmzip.container.varint import ByteReader
from llmzip.engine import host_memory, native_handle
from llmzip.engine.native_engine import NativeEngine, native_is_available, why_not_available
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LLMZipError
from llmzip.predictor import lanes
from llmzip.predictor.batch import fitting
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.runtime import Runtime
from tests import golden, measured
from tests.conftest import FORKS, tiny
from tests.test_limits import words

if not native_is_available():
    pytest.skip(f"no native engine: {why_not_available()}", allow_module_level=True)

TEXT = words(1500)
BLOCK = 200


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "MIN_BLOCK_SIZE", 50)


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many lanes there were, each time."""
    counts: list[int] = []
    run = lanes.run

    def noted(engine: object, works: list[object], *more: object) -> object:
        counts.append(len(works))
        return run(engine, works, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(lanes, "run", noted)
    yield counts


def packed(runtime: Runtime | None, data: bytes = TEXT, **options: object) -> bytes:
    options = {"level": 2, "block_size": BLOCK, "codec": "llm", **options}
    return llmzip.compress(data, model=tiny(), runtime=runtime, **options)  # type: ignore[arg-type]


def unpacked(runtime: Runtime | None, data: bytes, **options: object) -> bytes:
    return llmzip.decompress(data, model=tiny(), runtime=runtime, **options)  # type: ignore[arg-type]


@functools.cache
def expected(**options: object) -> bytes:
    """The file of one block after the other."""
    return packed(Runtime(threads=1, jobs=1), **options)


@pytest.mark.parametrize(
    ("threads", "jobs", "options"),
    [
        (1, 3, {}),
        (3, 2, {}),
        (5, 3, {}),
        (3, 9, {"mixing": False}),
        (2, 2, {"level": 9}),
        (4, 2, {"dictionary": golden.TEXT}),
    ],
)
def test_the_bytes_are_the_same(
    threads: int, jobs: int, options: dict[str, object], together: list[int]
) -> None:
    runtime = Runtime(threads=threads, jobs=jobs)
    file = expected(**options)
    needs = {name: options[name] for name in ("dictionary",) if name in options}
    together.clear()
    assert packed(runtime, **options) == file
    assert max(together) == min(threads, jobs)
    together.clear()
    assert unpacked(runtime, file, **needs) == TEXT
    assert max(together) == min(threads, jobs)


def test_solid_frames_and_single_blocks_have_all_threads(together: list[int]) -> None:
    runtime = Runtime(threads=2, jobs=2)
    solid = packed(runtime, solid=True)
    assert unpacked(runtime, solid) == TEXT
    assert solid == packed(Runtime(threads=1), solid=True)
    assert unpacked(runtime, packed(runtime, TEXT[:BLOCK])) == TEXT[:BLOCK]
    assert set(together) == {1}


def test_how_many_blocks_threads_are_for() -> None:
    for threads, jobs, blocks in (
        (1, None, 1),
        (2, None, 2),
        (3, None, 1),
        (6, None, 2),
        (7, None, 1),
        (8, None, 2),
        (16, None, 4),
        (8, 1, 1),
        (4, 3, 3),
        (4, 9, 4),
    ):
        assert NativeEngine(tiny(), threads, jobs=jobs).batches.blocks == blocks
    torch = EngineLoader(tiny(), runtime=Runtime(engine="torch", jobs=3)).for_compression()
    assert torch.batches.blocks == 3


def layouts_of(blocks: list[tuple[int, int]]) -> list[StreamLayout]:
    return [StreamLayout(tokens, streams, 256) for tokens, streams in blocks]


@pytest.mark.parametrize(
    ("jobs", "blocks", "count"),
    [
        (None, [(9600, 48), (9600, 48)], 2),
        (None, [(9600, 48), (8000, 40)], 2),
        (None, [(9600, 48), (4800, 48)], 1),  # would end in half of the time
        (None, [(9600, 48), (1600, 8)], 2),  # one lane: see below
        (2, [(9600, 48), (1600, 8)], 1),
        (4, [(9600, 48), (9600, 48), (9600, 48), (1600, 8)], 4),
        (None, [(400, 2), (100, 1)], 2),  # the same
    ],
)
def test_no_part_of_the_threads_is_idle_for_long(
    jobs: int | None, blocks: list[tuple[int, int]], count: int
) -> None:
    engine = NativeEngine(tiny(), jobs or 2, jobs=jobs)
    sized = [(layout, 1000) for layout in layouts_of(blocks)]
    assert fitting(engine, sized, False, 1 << 40) == count


def test_short_ones_go_together_however_long_each_is() -> None:
    engine = NativeEngine(tiny(), 16)
    sized = [(layout, 1000) for layout in layouts_of([(500, 1)] * 30 + [(20, 1)] * 300)]
    assert engine.batches.lanes > 1
    assert fitting(engine, sized, False, 1 << 40, few=True) == engine.batches.few_rows == 256


def test_few_rows_have_all_threads() -> None:
    engine = NativeEngine(tiny(), 2)
    assert lanes.parts_for(engine, layouts_of([(500, 20), (500, 20)])) == [[0, 1]]
    assert lanes.parts_for(engine, layouts_of([(500, 32), (500, 32)])) == [[0], [1]]
    engine = NativeEngine(tiny(), 2, jobs=2)
    assert lanes.parts_for(engine, layouts_of([(500, 1), (500, 1)])) == [[0], [1]]


def test_each_lane_has_its_part_of_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_handle, "_WEIGHTS_PER_THREAD", 1)  # the model is tiny
    engine = NativeEngine(tiny(), 5, jobs=2)
    begun = native_threads()
    groups = []
    for number in (0, 1):
        with engine.lane(number, 2):
            groups.append(engine._handle.group)
            session, mixer = engine.session(2, 64, 1), engine.mixer(8)
            assert session._group is mixer._group is engine._handle.group
    assert groups[0] is not groups[1]
    assert native_threads() - begun == (2 - 1) + (3 - 1)
    assert engine._handle.group not in groups
    mixer.start(1, np.empty(0, np.int32))  # which now computes here
    assert mixer._group is engine._handle.group
    old = [weakref.ref(group) for group in groups]
    del groups, mixer
    with engine.lane(2, 3):
        assert old[0]() is None
        assert old[1]() is not None  # the session computes with it
        del session
        assert old[1]() is None


def native_threads() -> int:
    return len(list(pathlib.Path("/proc/self/task").iterdir())) if measured.CAN_MEASURE else 0


def test_nothing_of_an_engine_is_left() -> None:
    """Without the collector of garbage: another model's weights would need the room."""
    engine = NativeEngine(tiny(), 2, jobs=2)
    with engine.lane(0, 2):
        session = engine.session(1, 64, 1)
    handle = weakref.ref(engine._handle)
    gc.disable()
    try:
        del engine
        assert handle() is not None
        session.advance(np.zeros((1, 1), np.int32))
        del session
        assert handle() is None
    finally:
        gc.enable()


class FailingError(Exception):
    pass


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_the_error_of_the_lane_that_fails_is_raised(failing: int) -> None:
    """And the others end: none goes all its steps."""
    engine = NativeEngine(tiny(), 3, jobs=3)
    steps = [0] * 3

    def work(number: int, report: Callable[[int], None]) -> None:
        for step in range(10_000):
            steps[number] = step
            if number == failing and step == 5:
                raise FailingError
            report(step)
            time.sleep(0.001)

    with pytest.raises(FailingError):
        lanes.run(engine, [functools.partial(work, number) for number in range(3)], None)
    assert max(steps) < 5000


def test_an_interruption_ends_lanes_that_are_waited_for() -> None:
    """The first lane is done; its thread is the one that a signal interrupts."""
    engine = NativeEngine(tiny(), 2, jobs=2)
    begun = threading.active_count()
    told: list[int] = []

    def work(steps: int, report: Callable[[int], None]) -> None:
        for step in range(steps):
            report(step)
            time.sleep(0.001)

    def interrupted(done: int) -> None:
        told.append(done)
        if done > 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lanes.run(
            engine, [functools.partial(work, 2), functools.partial(work, 10_000)], interrupted
        )
    assert told == sorted(told)
    assert told[-1] < 5000
    assert threading.active_count() == begun


def test_after_an_interruption_the_rest_comes() -> None:
    runtime = Runtime(threads=2, jobs=2)
    file = expected()
    calls = 0

    def interrupt_once(*done: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    decompressor = llmzip.LLMZipDecompressor(model=tiny(), runtime=runtime, progress=interrupt_once)
    with pytest.raises(KeyboardInterrupt):
        decompressor.decompress(file)
    assert decompressor.decompress(b"") == TEXT
    with llmzip.open(io.BytesIO(file), model=tiny(), runtime=runtime) as opened:
        assert opened.read(700) == TEXT[:700]
        opened.seek(1300)
        assert opened.read(150) == TEXT[1300:1450]
        opened.seek(10)
        assert opened.read() == TEXT[10:]


def test_what_is_sound_comes_before_the_error() -> None:
    file = expected()
    wrong = file[:-400] + bytes([file[-400] ^ 1]) + file[-399:]
    outcomes = []
    for jobs in (1, 2):
        out, runtime = io.BytesIO(), Runtime(threads=2, jobs=jobs)
        with pytest.raises(LLMZipError) as caught:
            llmzip.decompress_stream(io.BytesIO(wrong), out, model=tiny(), runtime=runtime)
        repaired = io.BytesIO()
        llmzip.repair_stream(io.BytesIO(wrong), repaired, model=tiny(), runtime=runtime)
        outcomes.append((str(caught.value), out.getvalue(), repaired.getvalue()))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][1]


@pytest.mark.skipif(not measured.CAN_MEASURE, reason="needs /proc/self/clear_refs")
@pytest.mark.usefixtures("cache_with_tiny_model")
def test_memory_is_that_of_the_blocks_together(tmp_path: pathlib.Path) -> None:
    path, data = tmp_path / "file", words(80_000)
    path.write_bytes(packed(None, data, level=1, block_size=40_000))
    stated = [account(block) for block in blocks_of(path.read_bytes())]

    def taken(jobs: int) -> int:
        runtime = {"threads": 2, "jobs": jobs}
        was = measured.decode(path, warm=golden.frame_path("short"), **runtime)
        assert (was.error, was.size) == ("", len(data))
        return was.grown

    alone, together = taken(1), taken(2)
    print(f"{stated} stated, {alone} taken by one, {together} by both")
    assert alone <= max(stated)
    assert 1.3 * alone < together <= sum(stated)


def blocks_of(file: bytes) -> list[Block]:
    return list(FrameReader(ByteReader(io.BytesIO(file))))


def account(block: Block) -> int:
    codec = LLMCodec(EngineLoader(tiny()).for_compression())
    return block_bytes(block.size, False, codec.decoder_bytes(block.payload, block.size))


def test_a_limit_holds_for_the_sum(together: list[int]) -> None:
    file, runtime = expected(), Runtime(threads=3, jobs=3)
    most = max(map(account, blocks_of(file)))
    for limit, count in ((5 * most // 2, 2), (3 * most // 2, 1), (9 * most, 3)):
        together.clear()
        assert unpacked(runtime, file, max_memory=limit) == TEXT
        assert max(together) == count


MEMINFO = "MemTotal: 9000 kB\nMemFree: 100 kB\nMemAvailable:    4000 kB\n"
MOUNTS = """\
30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
31 1 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
"""
GROUPS = {
    "no group": ("", {}, 4000 << 10),
    "without a limit": (
        "0::/a/b\n",
        {"a/b": {"memory.max": "max\n", "memory.current": "5000\n"}},
        4000 << 10,
    ),
    "of one above": (
        "0::/a/b\n",
        {
            "a/b": {"memory.max": "max\n", "memory.current": "900\n"},
            "a": {
                "memory.max": "9000\n",
                "memory.current": "7000\n",
                "memory.stat": "anon 5\ninactive_file 500\nactive_file 1\n",
            },
        },
        2500,
    ),
    "seen from inside": (
        "0::/docker/123\n",
        {"": {"memory.max": "10\n", "memory.current": "70\n", "memory.stat": "inactive_file 3\n"}},
        0,
    ),
    "version 1": (
        "5:cpu,cpuacct:/x\n4:memory:/x\n0::/\n",
        {
            "memory/x": {
                "memory.limit_in_bytes": "600\n",
                "memory.usage_in_bytes": "200\n",
                "memory.stat": "inactive_file 9\ntotal_inactive_file 50\n",
            },
            "memory": {
                "memory.limit_in_bytes": f"{2**63 - 4096}\n",
                "memory.usage_in_bytes": "1\n",
                "memory.stat": "total_inactive_file 0\n",
            },
        },
        450,
    ),
}


@pytest.mark.parametrize("name", GROUPS)
def test_free_memory_is_the_least_that_someone_leaves(name: str, tmp_path: pathlib.Path) -> None:
    own, folders, free = GROUPS[name]
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    (tmp_path / "proc/self/cgroup").write_text(own)
    (tmp_path / "proc/self/mountinfo").write_text(MOUNTS)
    for folder, files in folders.items():
        place = tmp_path / "sys/fs/cgroup" / folder
        place.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (place / file).write_text(content)
    assert host_memory.free_bytes(tmp_path) == free


def test_free_memory_that_nobody_tells(tmp_path: pathlib.Path) -> None:
    assert host_memory.free_bytes(tmp_path) is None


def test_blocks_wait_where_memory_is_scarce(
    monkeypatch: pytest.MonkeyPatch, together: list[int]
) -> None:
    runtime = Runtime(threads=2, jobs=2)
    file = expected()
    free = 3 * llmzip.get_frame_info(file).memory  # half of it is for blocks
    monkeypatch.setattr(host_memory, "free_bytes", lambda: free)
    assert packed(runtime) == file
    assert unpacked(runtime, file) == TEXT
    assert set(together) == {1}


def test_lanes_code_beside_each_other() -> None:
    """A step of one lane does not wait for the other lane's: both begin before either ends."""
    engine = NativeEngine(tiny(), 2, jobs=2)
    meeting = threading.Barrier(2)

    def work(report: Callable[[int], None]) -> None:
        session = engine.session(1, 64, 1)
        for step in range(50):
            meeting.wait(30)
            session.advance(np.full((1, 1), step, np.int32))
            report(step)

    lanes.run(engine, [work, work], None)


_FORKING = """
import os, time
import llmzip
from llmzip import Runtime, levels
from llmzip.codecs.zstd import ZstdCodec
from tests.conftest import tiny
from tests.test_limits import words

levels.MIN_BLOCK_SIZE = 50
text, encode = words(1500), ZstdCodec.encode_block
how = dict(level=2, model=tiny(), block_size=200, runtime=Runtime(threads=2, jobs=6))
expected = llmzip.compress(text, **how)

def slow(codec, data):
    time.sleep(0.5)
    return encode(codec, data)

ZstdCodec.encode_block = slow
compressor = llmzip.LLMZipCompressor(**how)
packed = compressor.compress(text[:700])
child = os.fork()
packed += compressor.compress(text[700:]) + compressor.flush()
assert packed == expected
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


@FORKS
def test_a_forked_process_does_not_wait_for_threads_of_its_parent() -> None:
    subprocess.run([sys.executable, "-c", _FORKING], check=True, timeout=60)
