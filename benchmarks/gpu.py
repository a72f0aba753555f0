"""Does a GPU compute the same bits as the CPU, and how fast?

    python -m benchmarks.gpu MODEL.safetensors [--device cuda] [--streams 1 8 32 64 128]
        [--context 1024]

First parity: head inputs, token weights and frequency tables of random tokens, in chunks and in
single steps, plain and recorded as CUDA graphs, where the window slides and where it does not; then
a text compressed on each side and restored on the other. Any difference is said, and the exit code
is 1. Then medians of a decoder's step (a token per stream and its tables) against the device's own
ceiling: the int8 products of the model's shapes alone, recorded where the steps are, or the time
that reading the weights and the cache takes at the device's rate of copying, whichever is longer.
"""

from __future__ import annotations

import argparse
import pathlib
import platform
import pydoc_data.topics
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

import llmzip
from benchmarks.ceiling import product_shapes
from benchmarks.engine import WINDOW, median_seconds
from llmzip.engine.base import Engine, HeadInput
from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine.torch_graph import Replay
from llmzip.engine.torch_session import TorchSession
from llmzip.engine_loader import EngineLoader
from llmzip.model.integer_model import IntegerModel
from llmzip.runtime import Runtime

COPIED_BYTES = 1 << 28
CASES = ((1, 16, [24]), (3, 16, [17, 1]), (9, 1024, [128, 1, 110]))
"""Parity: streams, window, and the chunks before single steps. Small windows slide, and their slots
are used again; in the large one the number of slots that a step of fixed shapes looks at changes on
the way.
"""


def described(device: torch.device) -> str:
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    if device.type != "cuda":
        return f"{platform.processor() or platform.machine()}; {versions}"
    properties = torch.cuda.get_device_properties(device)
    driver = "unknown"
    if program := shutil.which("nvidia-smi"):
        asked = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = (
            subprocess.run(asked, capture_output=True, text=True, check=False).stdout.partition(
                "\n"
            )[0]
            or driver
        )
    return (
        f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, "
        f"capability {properties.major}."
        f"{properties.minor}; driver {driver}, CUDA {torch.version.cuda}; {versions}"
    )


def random_tokens(engine: Engine, streams: int, count: int, seed: int) -> npt.NDArray[np.int32]:
    return (
        np.random.default_rng(seed)
        .integers(0, engine.model.spec.vocab, (streams, count))
        .astype(np.int32)
    )


def predicted(
    engine: Engine, head: HeadInput, tokens: npt.NDArray[np.int32]
) -> list[npt.NDArray[np.generic]]:
    """All that the tokens after a head input depend on."""
    vectors, scales = (
        np.ascontiguousarray(head.vectors[:, -1]),
        np.ascontiguousarray(head.scales[:, -1]),
    )
    tables = engine.distributions(vectors, scales)
    coded = [tables.bucket_frequencies(), tables.token_frequencies(tokens[:, -1] // 256)]
    return [
        head.vectors,
        head.scales,
        tables.top_tokens(),
        tables.totals(),
        *coded,
        engine.token_weights(vectors, scales),
    ]


def same_bits(
    reference: Engine, engine: TorchEngine, streams: int, window: int, chunks: list[int], steps: int
) -> bool:
    """Whether two engines agree on everything; the last step goes without the last stream."""
    tokens = random_tokens(engine, streams, sum(chunks) + steps, streams)
    sessions = [e.session(streams, window, max(chunks)) for e in (reference, engine)]
    ends = np.cumsum([*chunks, *[1] * steps]).tolist()
    for start, end in zip([0, *ends], ends, strict=False):
        active = max(1, streams - 1) if end == ends[-1] else streams
        part = tokens[:active, start:end]
        both = [
            predicted(e, s.advance(part), part)
            for e, s in zip((reference, engine), sessions, strict=True)
        ]
        if not all(np.array_equal(a, b) for a, b in zip(*both, strict=True)):
            return False
    return True


def parity(
    model: IntegerModel, engine: TorchEngine, size: int, steps: int
) -> Iterator[tuple[str, bool]]:
    """What was compared, and whether it was equal."""
    reference = EngineLoader(model).for_compression()
    for replays in (False, True):
        engine.replays = replays
        kind = "single steps of fixed shapes, replayed" if replays else "plain steps"
        for streams, window, chunks in CASES:
            chosen = min(window, model.spec.max_positions // 2)
            equal = same_bits(reference, engine, streams, chosen, chunks, steps)
            yield (
                f"{streams} streams, window {chosen}, chunks of {chunks}, then {steps} {kind}",
                equal,
            )
    text = "\n".join(pydoc_data.topics.topics.values()).encode()[:size]
    here, there = Runtime(), Runtime(engine="torch", device=str(engine.device))
    from_here, from_there = (
        llmzip.compress(text, 1, model=model, runtime=runtime) for runtime in (here, there)
    )
    yield (
        f"a text of {size} bytes, compressed on both sides: {len(from_here)} bytes",
        from_here == from_there,
    )
    yield (
        "the CPU's file restored on the device",
        llmzip.decompress(from_here, model=model, runtime=there) == text,
    )
    yield (
        "the device's file restored on the CPU",
        llmzip.decompress(from_there, model=model, runtime=here) == text,
    )


def bytes_per_second(device: torch.device) -> float:
    """Of a large copy, what is read and what is written."""
    source = torch.zeros(COPIED_BYTES, dtype=torch.int8, device=device)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        finish(device)

    return 2 * COPIED_BYTES / median_seconds(copy, 0.3)


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def products_seconds(engine: TorchEngine, rows: int) -> float:
    """The int8 products of a step and nothing else, in shapes that CUDA takes."""
    rows = max(32, -(-rows // 8) * 8)
    shapes = [(-(-n // 8) * 8, -(-k // 8) * 8) for n, k in product_shapes(engine.model.spec)]
    weights = [
        torch.randint(-127, 128, shape, dtype=torch.int8, device=engine.device).t()
        for shape in shapes
    ]
    inputs = {
        k: torch.randint(-127, 128, (rows, k), dtype=torch.int8, device=engine.device)
        for _, k in shapes
    }
    replay = Replay(engine.device)

    def work() -> tuple[torch.Tensor, ...]:
        for w in weights:
            torch._int_mm(inputs[w.shape[0]], w)
        return ()

    def step() -> None:
        replay("products", work)
        finish(engine.device)

    return median_seconds(step)


def step_bytes(engine: TorchEngine, streams: int, context: int) -> int:
    """What a step must read at least: the weights, and the cache of all streams."""
    spec = engine.model.spec
    weights = sum(n * k for n, k in product_shapes(spec))
    return weights + streams * context * spec.layers * spec.kv_heads * 2 * (spec.head_dim + 4)


def filled_session(engine: TorchEngine, streams: int, context: int) -> TorchSession:
    chunk = max(1, engine.batches.encode // streams)
    session = engine.session(streams, WINDOW, chunk)
    tokens = random_tokens(engine, streams, context, 0)
    for start in range(0, context, chunk):
        session.advance(tokens[:, start : start + chunk])
    return session


def decode_seconds(
    engine: TorchEngine, streams: int, context: int, steps: int
) -> tuple[float, bool]:
    """Median seconds of a step, and whether steps were recorded as a graph."""
    session = filled_session(engine, streams, context)
    tokens = random_tokens(engine, streams, steps + 2, 1)
    times = []
    for t in range(steps + 2):
        start = time.perf_counter()
        head = session.advance(tokens[:, t : t + 1])
        tables = engine.distributions(head.vectors[:, 0], head.scales[:, 0])
        tables.token_frequencies(tables.bucket_frequencies().argmax(axis=1))
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:]), session.replay.recorded  # the second one records


def encode_seconds(engine: TorchEngine, streams: int, context: int) -> float:
    """Seconds per token over the whole context, from empty to full, with all tables."""
    chunk = max(1, engine.batches.encode // streams)
    session = engine.session(streams, WINDOW, chunk)
    tokens = random_tokens(engine, streams, context, 2)
    start = time.perf_counter()
    for position in range(0, context, chunk):
        part = tokens[:, position : position + chunk]
        head = session.advance(part)
        vectors, scales, known = (
            head.vectors.reshape(part.size, -1),
            head.scales.ravel(),
            part.ravel() // 256,
        )
        for row in range(0, part.size, engine.batches.tables):
            rows = slice(row, row + engine.batches.tables)
            tables = engine.distributions(vectors[rows], scales[rows])
            tables.bucket_frequencies()
            tables.token_frequencies(known[rows])
    return (time.perf_counter() - start) / tokens.size


def peak_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def report_speed(engine: TorchEngine, streams: Sequence[int], context: int, steps: int) -> None:
    rate = bytes_per_second(engine.device)
    print(
        f"\n{type(engine).__name__}, {engine.transformer.kernel.name} products, "
        f"{engine.transformer.float_type} attention; copies at {rate / 1e9:.0f} GB/s; ms per step"
    )
    print(
        f"{'':>12} {'products':>9} {'memory':>9} {'plain':>9} {'replayed':>9} "
        f"{'tokens/s':>9} {'of ceiling':>10}"
    )
    for count in streams:
        products, memory = (
            products_seconds(engine, count),
            step_bytes(engine, count, context) / rate,
        )
        seconds = {}
        for replays in (False, True):
            engine.replays = replays
            seconds[replays], recorded = decode_seconds(engine, count, context, steps)
        best = min(seconds.values())
        columns = (products, memory, seconds[False], seconds[True])
        numbers = " ".join(f"{s * 1e3:9.2f}" for s in columns)
        note = "" if recorded else "   no graph"
        print(
            f"{f'decode {count}':>12} {numbers} {count / best:9.0f} "
            f"{max(products, memory) / best:10.0%}{note}",
            flush=True,
        )
    count = 32
    rows = engine.batches.encode // count * count
    products, seconds_each = products_seconds(engine, rows), encode_seconds(engine, count, context)
    print(
        f"{f'encode {count}':>12} {products * 1e3:9.2f} {'':>9} "
        f"{seconds_each * rows * 1e3:9.2f} {'':>9} {1 / seconds_each:9.0f} "
        f"{products / (seconds_each * rows):10.0%}   a step is {rows} tokens"
    )
    print(f"\npeak memory {peak_gib(engine.device):.2f} GiB")


def device_engine(model: IntegerModel, device: torch.device) -> TorchEngine:
    """What `--device` gives: with kernels where there is Triton."""
    engine = EngineLoader(
        model, runtime=Runtime(engine="torch", device=str(device))
    ).for_compression()
    assert isinstance(engine, TorchEngine)
    return engine


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32, 64, 128])
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument(
        "--bytes", type=int, default=4000, help="of the text that is compressed and restored"
    )
    parser.add_argument(
        "--torch", action="store_true", help="torch alone, also where there is Triton"
    )
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error(
            f"torch {torch.__version__} finds no CUDA device; --device cpu tries the script itself"
        )
    print(described(device))
    model = IntegerModel.load(options.model)
    engine = (
        TorchEngine(model, options.device)
        if options.torch or device.type == "cpu"
        else device_engine(model, device)
    )

    equal = True
    for what, same in parity(model, engine, options.bytes, options.steps):
        print(f"{'equal' if same else 'DIFFERENT':>9}  {what}", flush=True)
        equal &= same
    report_speed(
        engine, options.streams, min(options.context, model.spec.max_positions // 2), options.steps
    )
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
