"""Blocks end to end on a GPU: bytes a second of compressing and decompressing, and where the host's
time goes.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import pathlib
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.sections import Report, Results
from llmzip import levels
from llmzip.engine.base import Engine
from llmzip.engine.torch_engine import TorchEngine
from llmzip.model.tokenizer import Tokens
from llmzip.predictor import correction, lockstep
from llmzip.predictor.stream_layout import StreamLayout

_BYTES_PER_TOKEN = 4.3  # of English, where there is no text
SMALL_BYTES = 40_000
"""Of the text that the CPU codes, too."""


def source_text(size: int) -> bytes:
    """Python's own library, which every machine has: its files in order of their names."""
    library = pathlib.Path(sysconfig.get_paths()["stdlib"])
    found, total = [], 0
    for path in sorted(library.rglob("*.py")):
        if "site-packages" not in path.parts and total < size:
            found.append(path.read_bytes())
            total += len(found[-1])
    return b"".join(found)[:size]


class Clock:
    """Seconds that threads spend in functions, calls inside of them included."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self.calls: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def on(self, *methods: tuple[Any, str]) -> Iterator[None]:
        """While it lasts, these methods of these classes are timed."""
        before = [(owner, name, getattr(owner, name)) for owner, name in methods]
        for owner, name, method in before:
            setattr(owner, name, self._timed(f"{owner.__name__}.{name}", method))
        try:
            yield
        finally:
            for owner, name, method in before:
                setattr(owner, name, method)

    def _timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **more: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*given, **more)
            finally:
                with self._lock:
                    self.seconds[name] += time.perf_counter() - start
                    self.calls[name] += 1

        return timed


def timed_methods(engine: TorchEngine) -> list[tuple[Any, str]]:
    """What a step's time goes into."""
    from llmzip.coding.range_coder import RangeDecoders, RangeEncoder
    from llmzip.engine.native_mixer import _NativeMixers

    session: Any = type(engine.session(1, 64, 1))
    vectors = np.zeros((1, engine.model.spec.d_model), np.int8)
    tables: Any = type(engine.distributions(vectors, np.ones(1, np.float32)))
    methods: list[tuple[Any, str]] = [
        (session, "advance"),
        (tables, "__init__"),
        (tables, "weights_of"),
        (tables, "replace"),
        (tables, "bucket_frequencies"),
        (tables, "token_frequencies"),
        (_NativeMixers, "recall"),
        (_NativeMixers, "mix"),
        (_NativeMixers, "learn"),
        (correction.Corrections, "correct"),
        (correction.Corrections, "weights"),
        (correction.Corrections, "learn"),
        (RangeEncoder, "encode"),
        (RangeDecoders, "decode"),
    ]
    return methods


def say_times(report: Report, clock: Clock, tokens: int, figures: Results) -> None:
    """Microseconds a token in each method, over all threads."""
    each = {
        name: s / tokens * 1e6
        for name, s in sorted(clock.seconds.items(), key=lambda item: -item[1])
    }
    report.say("  us a token: " + ", ".join(f"{name} {us:.2f}" for name, us in each.items()))
    figures["us_per_token"] = each


def token_blocks(
    engine: Engine, blocks: int, streams: int, steps: int, window: int
) -> list[lockstep.TokenBlock]:
    """Blocks of random tokens with the frequencies of words (Zipf), and their mixers."""
    rng = np.random.default_rng(0)
    spec = engine.model.spec
    found = []
    for _ in range(blocks):
        ids = (rng.zipf(1.2, streams * steps) % (spec.vocab - 1) + 1).astype(np.int32)
        ids[ids == spec.escape_token] = (spec.escape_token + 1) % spec.vocab
        layout = StreamLayout(len(ids), streams, window, 0, 16)
        found.append(lockstep.TokenBlock(Tokens(ids, b""), layout, engine.mixer(16)))
    return found


@contextlib.contextmanager
def with_batches(engine: TorchEngine, rows: int, lanes: int) -> Iterator[None]:
    """The engine takes so many rows in a batch, in so many lanes."""
    before = engine.batches
    engine.batches = dataclasses.replace(before, rows=rows, lanes=lanes)
    try:
        yield
    finally:
        engine.batches = before


def code_tokens(
    report: Report,
    engine: TorchEngine,
    rows: int,
    lanes: int,
    steps: int,
    window: int,
    figures: Results,
) -> None:
    """Tokens a second of coding random tokens in blocks of 128 streams, both ways."""
    clock = Clock()
    streams = min(128, rows)
    with with_batches(engine, rows, lanes):
        blocks = token_blocks(engine, rows // streams, streams, steps, window)
        start = time.perf_counter()
        coded = lockstep.encode_blocks(engine, blocks)
        encoding = time.perf_counter() - start
        fresh = [
            lockstep.CodedBlock(data, block.layout, engine.mixer(16))
            for data, block in zip(coded, blocks, strict=True)
        ]
        with clock.on(*timed_methods(engine)):
            start = time.perf_counter()
            found = lockstep.decode_blocks(engine, fresh)
            decoding = time.perf_counter() - start
    same = all(
        isinstance(tokens, Tokens) and np.array_equal(tokens.ids, block.tokens.ids)
        for tokens, block in zip(found, blocks, strict=True)
    )
    tokens = rows * steps
    label = f"{rows} rows in {lanes} lanes, {steps} steps, window {window}"
    report.say(
        f"{label}: {'the same tokens' if same else 'OTHER TOKENS'}; encoding "
        f"{tokens / encoding:,.0f} tokens/s, decoding {tokens / decoding:,.0f} tokens/s "
        f"= {tokens * _BYTES_PER_TOKEN / decoding / 1e6:.2f} MB/s at {_BYTES_PER_TOKEN} bytes"
    )
    report.wrong |= not same
    figures[label] = entry = {
        "encode_tokens_per_s": tokens / encoding,
        "decode_tokens_per_s": tokens / decoding,
        "decode_ms_per_step": decoding / steps * 1e3,
    }
    say_times(report, clock, tokens, entry)


def code_files(
    report: Report,
    engine: TorchEngine,
    settings: list[tuple[int, int]],
    text: bytes,
    level: int,
    block_size: int,
    figures: Results,
) -> None:
    """Bytes a second of whole files on the device, for each (rows, lanes); a small part is coded by
    the CPU, too.
    """
    import llmzip
    from llmzip import engine_loader
    from llmzip.runtime import Runtime

    device = Runtime(engine="torch", device=str(engine.device))
    build = engine_loader._build

    # The engine whose kernels have been compared serves instead of another.
    def built(model: Any, name: Any, place: str, threads: Any, jobs: Any) -> Engine:
        return build(model, name, place, threads, jobs) if place == "cpu" else engine

    vars(engine_loader)["_build"] = built
    try:
        files = set()
        longest = 0.0
        tokens = len(engine.model.tokenizer.encode(text).ids)
        for rows, lanes in settings:
            if report.left < longest + 10:
                report.say(f"no time for {rows} rows in {lanes} lanes")
                continue
            begun = time.perf_counter()
            label = f"{len(text)} bytes, level {level}, {rows} rows in {lanes} lanes"
            with with_batches(engine, rows, lanes):
                options: dict[str, Any] = {"model": engine.model, "runtime": device}
                start = time.perf_counter()
                packed = llmzip.compress(text, level, block_size=block_size, **options)
                compressing = time.perf_counter() - start
                clock = Clock()
                with clock.on(*timed_methods(engine)):
                    start = time.perf_counter()
                    same = llmzip.decompress(packed, **options) == text
                    decompressing = time.perf_counter() - start
            files.add(packed)
            longest = max(longest, time.perf_counter() - begun)
            report.say(
                f"{label}: {'restored' if same else 'NOT RESTORED'}, {len(packed)} bytes; "
                f"compressing {len(text) / compressing / 1e6:.3f} MB/s, "
                f"decompressing {len(text) / decompressing / 1e6:.3f} MB/s"
            )
            report.wrong |= not same
            figures[label] = entry = {
                "bytes": len(packed),
                "compress_MB/s": len(text) / compressing / 1e6,
                "decompress_MB/s": len(text) / decompressing / 1e6,
            }
            say_times(report, clock, tokens, entry)
        small = text[:SMALL_BYTES]
        here, there = (
            llmzip.compress(
                small, level, block_size=levels.MIN_BLOCK_SIZE * 8, model=engine.model, runtime=how
            )
            for how in (Runtime(), device)
        )
        crossed = llmzip.decompress(here, model=engine.model, runtime=device) == small
        equal = here == there and crossed and len(files) == 1
        report.say(
            f"{len(small)} bytes in blocks of {levels.MIN_BLOCK_SIZE * 8} on both sides, the CPU's "
            f"restored on the device; files of all settings: {'equal' if equal else 'DIFFERENT'}"
        )
        report.wrong |= not equal
        figures["equal to the CPU's"] = equal
    finally:
        vars(engine_loader)["_build"] = build
        engine_loader._loaded = None
