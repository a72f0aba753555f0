"""Codec objects keep nothing of a call, so threads may share one."""

from __future__ import annotations

import concurrent.futures
import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from llmzip.codecs.registry import get_codec
from llmzip.engine.native_engine import native_is_available
from llmzip.runtime import Runtime
from tests.conftest import tiny
from tests.golden import BINARY, TEXT

THREADS = 6
PIECES = [TEXT[i * 37 : i * 37 + 80 + 11 * i] for i in range(24)] + [
    BINARY[i : i + 200] for i in range(8)
]

NATIVE, TORCH = Runtime(engine="native", threads=1), Runtime(engine="torch", threads=1)

CODECS: list[tuple[str, dict[str, Any]]] = [
    ("llm", {"level": 1, "runtime": NATIVE}),
    ("llm", {"level": 1, "runtime": TORCH}),
    ("ldm", {"inner": "llm", "level": 1, "runtime": NATIVE, "min_match": 32}),
    ("rank", {"level": 1, "runtime": NATIVE}),
    ("equal-info", {"runtime": NATIVE}),
    ("meta-token", {"runtime": Runtime(threads=1)}),
    ("ldm", {"inner": "xz"}),
    ("xz", {}),
    ("zstd", {}),
    ("bzip2", {}),
]


@pytest.fixture(autouse=True)
def busy() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(("name", "parameters"), CODECS)
def test_threads_share_one_codec(name: str, parameters: dict[str, Any]) -> None:
    runtime = parameters.get("runtime")
    if runtime == TORCH:
        pytest.importorskip("torch")
    if runtime == NATIVE and not native_is_available():
        pytest.skip("the C core is not built")
    codec = get_codec(name, **({**parameters, "model": tiny()} if runtime else parameters))
    pieces = PIECES[::16] if runtime == TORCH else PIECES[::4] if runtime else PIECES
    before = dict(vars(codec.payload_codec))
    expected = [codec.encode(piece) for piece in pieces]
    assert vars(codec.payload_codec) == before
    together = threading.Barrier(THREADS)

    def all_pieces(first: int) -> None:
        together.wait()
        for i in range(len(pieces)):
            k = (first * len(pieces) // THREADS + i) % len(pieces)
            coded = codec.encode(pieces[k])
            assert coded == expected[k]
            assert codec.decode(coded) == pieces[k]

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(functools.partial(all_pieces, first)) for first in range(THREADS)]:
            done.result()
