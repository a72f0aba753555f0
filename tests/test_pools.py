"""Blocks that a pool codes: the bytes, the contents and the errors are those of this process alone.

Whatever the workers do, and in whatever order: the executors here are threads, and one that does
the last piece first. test_ray.py has the cluster.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import pathlib
import pickle
import random
import sys
import types
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

import llmzip
from llmzip import levels
from llmzip.blocks.decode_job import DecodeJob
from llmzip.blocks.encode_job import EncodeJob
from llmzip.blocks.options import CompressionOptions
from llmzip.container.frame_reader import read_frames
from llmzip.errors import LimitError, LLMZipError, ModelMismatchError, ModelNotFoundError
from llmzip.evaluation.options import Options, Text
from llmzip.evaluation.rows import Result, Row
from llmzip.evaluation.run import evaluate
from llmzip.integrations.blocks import decode_block, encode_block
from llmzip.integrations.executors import ExecutorPool
from llmzip.integrations.ray import RayPool
from llmzip.integrations.storage import compress_url, decompress_url
from llmzip.runtime import Runtime
from llmzip.scoring.load import load_scorer
from tests import golden
from tests.conftest import TINY_DIRECTORY, tiny
from tests.test_limits import words

HERE = Runtime(threads=1, jobs=1)
TEXT = words(4500)
NOISE = random.Random(1).randbytes(140_000)
NUMBERS = random.Random(2).randbytes(700).hex().encode()

pytestmark = pytest.mark.usefixtures("cache_with_tiny_model")


class LastFirst(Executor):
    """Does what it was given last first, and only when somebody needs something."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], functools.partial[Any]]] = []
        self.begun = 0

    def submit(self, work: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        executor, future = self, Future[Any]()

        def result(timeout: float | None = None) -> Any:
            while executor.waiting:
                other, call = executor.waiting.pop()
                if other.set_running_or_notify_cancel():
                    executor.begun += 1
                    try:
                        other.set_result(call())
                    except Exception as error:
                        other.set_exception(error)
            return Future.result(future, timeout)

        future.result = result  # type: ignore[method-assign]
        self.waiting.append((future, functools.partial(work, *args, **kwargs)))
        return future


@pytest.fixture(params=["threads", "last first"])
def pool(request: pytest.FixtureRequest) -> Iterator[ExecutorPool]:
    executor = LastFirst() if request.param == "last first" else ThreadPoolExecutor(3)
    with executor:
        yield ExecutorPool(executor, 4, HERE)


def pooled(pool: ExecutorPool) -> Runtime:
    return Runtime(threads=1, jobs=1, pool=pool)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (TEXT, {"block_size": 1024}),
        (TEXT, {"block_size": 1024, "dictionary": golden.TEXT}),
        (TEXT, {"block_size": 1024, "codec": "xz"}),
        (TEXT, {"block_size": 1024, "solid": True}),
        (TEXT[:900] + NOISE + TEXT + NOISE[::-1] + TEXT[500:], {"block_size": 100_000}),
        (TEXT, {"block_size": 1024, "mixing": False, "codec": "llm"}),
        (b"", {}),
    ],
    ids=["text", "dictionary", "xz", "solid", "text and noise", "forced", "empty"],
)
def test_the_bytes_are_the_same(data: bytes, options: dict[str, Any], pool: ExecutorPool) -> None:
    here = llmzip.compress(data, 1, runtime=HERE, **options)
    assert llmzip.compress(data, 1, runtime=pooled(pool), **options) == here
    known = {"dictionary": options["dictionary"]} if "dictionary" in options else {}
    told: list[tuple[int, int]] = []
    expected: list[tuple[int, int]] = []
    for runtime, seen in ((pooled(pool), told), (HERE, expected)):
        note = functools.partial(lambda seen, *done: seen.append(done), seen)
        assert llmzip.decompress(here, runtime=runtime, progress=note, **known) == data
    assert told[-1:] == expected[-1:]
    assert told == sorted(told)


def test_lines_of_blocks(pool: ExecutorPool) -> None:
    options = {"block_size": 2048, "block_lines": 3}
    text = b"".join(b"line %d of some\n" % number for number in range(20))
    file = llmzip.compress(text, 1, runtime=pooled(pool), **options)
    assert file == llmzip.compress(text, 1, runtime=HERE, **options)
    with pytest.raises(LLMZipError, match="do not fit into a block"):
        llmzip.compress(text * 99, 1, runtime=pooled(pool), block_size=1024, block_lines=999)


def test_blocks_that_hold_less_than_was_presumed(
    pool: ExecutorPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hex digits have more tokens than such a block may hold: it ends before its data does."""
    few = dataclasses.replace(levels.LEVELS[1], max_streams=1)
    monkeypatch.setitem(levels.LEVELS, 1, few)
    options = {"block_size": 1400, "codec": "llm"}
    here = llmzip.compress(NUMBERS, 1, runtime=HERE, **options)
    sizes = [block.size for frame in read_frames(io.BytesIO(here)) for block in frame]
    assert max(sizes) < 1400
    submitted = []
    submit = pool.submit

    def noted(*work: Any) -> Any:
        submitted.append(work)
        return submit(*work)

    monkeypatch.setattr(pool, "submit", noted)
    assert llmzip.compress(NUMBERS, 1, runtime=pooled(pool), **options) == here
    # Only what was under way at the first surprise is done for nothing.
    assert len(submitted) <= len(sizes) + pool.pieces


def test_errors_are_those_of_this_process(pool: ExecutorPool) -> None:
    file = llmzip.compress(TEXT, 1, block_size=1024, runtime=HERE)

    def error(data: bytes, runtime: Runtime, **limits: Any) -> tuple[type, str]:
        with pytest.raises(LLMZipError) as caught:
            llmzip.decompress(data, runtime=runtime, **limits)
        return caught.type, str(caught.value)

    damaged = bytearray(file)
    damaged[len(file) // 2] ^= 1
    for data, limits in (
        (bytes(damaged), {}),
        (file[:-9], {}),
        (file, {"max_output": 2100}),
        (file, {"max_memory": 1 << 22}),
    ):
        assert error(data, pooled(pool), **limits) == error(data, HERE, **limits)


def test_no_more_blocks_are_under_way_than_the_pool_takes(english: bytes) -> None:
    executor = LastFirst()
    most = []
    pool = ExecutorPool(executor, 3, HERE)
    submit = pool.submit

    def noted(*work: Any) -> Any:
        future = submit(*work)
        most.append(len(executor.waiting))
        return future

    pool.submit = noted  # type: ignore[method-assign]
    packed = llmzip.compress(english[:9000], 1, block_size=1024, codec="xz", runtime=pooled(pool))
    assert max(most) == 3
    most.clear()
    assert llmzip.decompress(packed, runtime=pooled(pool)) == english[:9000]
    assert max(most) == 3
    assert executor.begun == 18  # nine blocks, both ways: none twice


def test_a_worker_without_the_model(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = llmzip.compress(TEXT, 1, block_size=1024, runtime=HERE)
    frame = next(read_frames(io.BytesIO(file)))
    blocks = list(frame)
    model = tiny()
    encode = EncodeJob(CompressionOptions(), b"\x01" * 32, model.vocabulary.rules, b"", False)
    decode = DecodeJob(frame.header, b"\x01" * 32, b"", None)
    for found in (*encode([TEXT, TEXT], HERE), *decode(blocks, HERE)):
        assert isinstance(found, ModelNotFoundError)
        assert "llmzip models pull" in str(found)
    other = dataclasses.replace(encode, fingerprint=model.fingerprint, rules="others")
    (wrong,) = other([TEXT], HERE)
    assert isinstance(wrong, ModelMismatchError)


def test_jobs_travel(english: bytes) -> None:
    model = tiny()
    job = EncodeJob(
        CompressionOptions(level=1, block_size=1024),
        model.fingerprint,
        model.vocabulary.rules,
        golden.TEXT,
        True,
    )
    one, other = (run([TEXT[:800]], HERE) for run in (job, pickle.loads(pickle.dumps(job))))
    assert one == other
    assert pickle.loads(pickle.dumps(one)) == one


def test_functions_of_bytes(tmp_path: pathlib.Path) -> None:
    options = CompressionOptions(level=1, block_size=1024)
    pieces = [TEXT[start : start + 1024] for start in range(0, len(TEXT), 1024)]
    frames = [encode_block(piece, options, runtime=HERE) for piece in pieces]
    assert [decode_block(frame, runtime=HERE) for frame in frames] == pieces
    assert llmzip.decompress(b"".join(frames), runtime=HERE) == TEXT
    with pytest.raises(LimitError, match="more than a block of 1,024"):
        encode_block(TEXT, options)


@pytest.mark.parametrize("wrong", [0, -1])
def test_a_pool_takes_a_piece_or_more(wrong: int) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        ExecutorPool(LastFirst(), wrong)


def test_evaluation_gives_the_same_numbers(pool: ExecutorPool) -> None:
    load = functools.partial(load_scorer, str(TINY_DIRECTORY), runtime=HERE)
    texts = [Text("a", TEXT[:700]), Text("b", TEXT[700:1300])]
    options = Options(tasks=("code_length", "file", "bpc"), context=64, level=1)
    here, there = (
        evaluate([load], texts, options, codecs=("xz:preset=9", "zstd:level=3"), pool=where)
        for where in (None, pool)
    )

    def numbers(result: Result) -> list[Row]:
        return [
            dataclasses.replace(row, seconds={}, seconds_per_megabyte=None) for row in result.rows
        ]

    assert numbers(there) == numbers(here)
    assert [row.seconds.keys() for row in there.rows] == [row.seconds.keys() for row in here.rows]


@pytest.mark.parametrize("place", ["memory://llmzip-tests", "file"])
def test_storage_by_url(place: str, pool: ExecutorPool, tmp_path: pathlib.Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    place = (tmp_path / "files").as_uri() if place == "file" else f"{place}-{tmp_path.name}"
    source, packed, back = (f"{place}/{name}" for name in ("a", "a.llmz", "b"))
    system, path = fsspec.core.url_to_fs(source)
    system.makedirs(system._parent(path), exist_ok=True)
    system.pipe_file(path, TEXT)
    options = CompressionOptions(level=1, block_size=1024)
    compress_url(source, packed, options, runtime=pooled(pool))
    file = system.cat_file(f"{path}.llmz")
    assert file == llmzip.compress(TEXT, 1, block_size=1024, runtime=HERE)
    assert decompress_url(packed, back, runtime=pooled(pool)).uncompressed_bytes == len(TEXT)
    assert fsspec.open(back).open().read() == TEXT
    system.pipe_file(f"{path}.llmz", file[:-20])
    with pytest.raises(LLMZipError):
        decompress_url(packed, f"{place}/c", runtime=pooled(pool))
    assert sorted(name.rpartition("/")[2] for name in system.ls(system._parent(path), False)) == [
        "a",
        "a.llmz",
        "b",
    ]


@pytest.mark.parametrize(("device", "wanted"), [("cuda", "a GPU"), ("cpu", "a processor")])
def test_a_cluster_without_what_is_asked_for(
    device: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpus = 4 if device == "cuda" else 0
    node = {"Alive": True, "NodeID": "a", "NodeManagerHostname": "b", "Resources": {"CPU": cpus}}
    ray = types.SimpleNamespace(
        is_initialized=lambda: True, nodes=lambda: [node], shutdown=lambda: None
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(LLMZipError, match=f"^no machine of the cluster at head:1 has {wanted}"):
        RayPool("head:1", Runtime(device=device))


def test_an_unknown_protocol() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(LLMZipError, match="steam"):
        compress_url("steam://a", "steam://b")
